"""Rebuild the network that a record names, without trusting the record."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from medleak.custom.factories import NotAllowed, resolve, sealed
from medleak.filters.allowed import NETWORKS, matches

_LIBRARIES = ("monai.networks.nets.", "torchvision.models.")
ALLOWED_PREFIXES = (*NETWORKS, *_LIBRARIES)
"""Which model factories are called: a record may be a stranger's. While one runs, it can neither
reach a network nor start a process. Of libraries, classes of networks and the functions that
torchvision registers as their builders: others (``get_pretrained_…``) fetch weights."""

_MONAI_BUILDERS = frozenset(f"resnet{depth}" for depth in (10, 18, 34, 50, 101, 152, 200))

_RUNNING = ("running_mean", "running_var", "num_batches_tracked")


def build_network(
    path: str, args: Mapping[str, Any], *, allowed_prefixes: Sequence[str] = (), seed: int = 0
) -> nn.Module:
    """Call the model factory ``path`` with ``args``; nothing is downloaded, no random state moves.

    Arguments that would fetch or read weights (``weights*``, ``pretrained*``) are switched off,
    whether ``args`` or the factory's own defaults ask for them.

    Args:
        path: Dotted name of an ``nn.Module`` class or of a function that returns one.
        args: Keyword arguments from the record's manifest.
        allowed_prefixes: Granted by the caller beside ``ALLOWED_PREFIXES``.
        seed: Of random weights, where the factory draws any from torch's generator.

    Raises:
        ValueError: The name lies outside the allowed prefixes, does not exist, is not a factory of
            networks, or refuses ``args``.
    """
    granted = [q for p in allowed_prefixes for q in ((p,) if p.endswith(".") else (p, f"{p}."))]
    factory = _resolve(path, (*ALLOWED_PREFIXES, *granted))
    kwargs = {**args, **_without_weights(factory, args)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            with sealed():
                network = factory(**kwargs)
        except PermissionError as error:
            raise ValueError(f"The record's model {path!r} is refused: {error}") from None
        except (TypeError, ValueError, KeyError, RuntimeError) as error:
            raise ValueError(
                f"The record's model {path!r} refused its arguments {dict(args)}: {error}. The "
                "record was written with another version of the model, or was changed; use the "
                "version in its manifest."
            ) from error
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"The record's model {path!r} returned a {type(network).__name__}, not a network: "
            "there is nothing to invert. Name the class or function that makes the network."
        )
    return network


def load_global_state(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load ``state`` into ``network``, in place; only running BN statistics may be missing.

    Raises:
        ValueError: A tensor is missing, unknown or of another shape: a record of another model.
    """
    own = network.state_dict()
    missing = [k for k in own if k not in state and not k.endswith(_RUNNING)]
    unknown = [k for k in state if k not in own]
    shapes = [k for k in own if k in state and own[k].shape != state[k].shape]
    for what, names in (("lacks", missing), ("has unknown", unknown), ("misshapes", shapes)):
        if names:
            raise ValueError(
                f"The record's global model {what} {len(names)} tensors, first {names[0]!r}: it "
                "belongs to another network than its manifest names, so no attack on it would mean "
                "anything. Compare manifest.json with the job that wrote the record."
            )
    network.load_state_dict(dict(state), strict=False)


def _resolve(path: str, prefixes: Sequence[str]) -> Callable[..., Any]:
    try:
        factory = resolve(path, prefixes)
        if path.startswith(_LIBRARIES) and not matches(path, _granted(prefixes)):
            _require_builder(path, factory)
        return factory
    except NotAllowed:
        raise ValueError(
            f"The record names the model {path!r}, which is outside {', '.join(prefixes)}: "
            "building it would run code that the record's writer chose. If you trust it, grant "
            "its prefix explicitly."
        ) from None
    except ImportError as error:
        raise ValueError(
            f"The record's model {path!r} cannot be imported ({error}): install the package and "
            "version that its manifest names."
        ) from error
    except TypeError:
        raise ValueError(
            f"The record's model {path!r} is no network class or factory of an allowed module: it "
            "is not called. Name the class or function that makes the network."
        ) from None


def _granted(prefixes: Sequence[str]) -> tuple[str, ...]:
    """What the caller grants beside `ALLOWED_PREFIXES`."""
    return tuple(p for p in prefixes if p not in ALLOWED_PREFIXES)


def _require_builder(path: str, factory: Callable[..., Any]) -> None:
    """Raise NotAllowed for a library's function that is no plain builder of a network."""
    if inspect.isclass(factory):
        return
    from torchvision.models import list_models

    name = path.rpartition(".")[2]
    if name not in _MONAI_BUILDERS and name not in list_models():
        raise NotAllowed(path)


def _without_weights(factory: Callable[..., Any], args: Mapping[str, Any]) -> dict[str, Any]:
    names = {*args, *inspect.signature(factory).parameters}
    return {n: None for n in names if n.startswith("weights")} | {
        n: False for n in names if n.startswith("pretrained")
    }

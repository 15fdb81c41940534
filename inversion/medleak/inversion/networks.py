"""Rebuild the network that a record names, without trusting the record."""

import copy
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
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
        except ImportError as error:
            raise ValueError(
                f"The record's model {path!r} needs a package that is not installed "
                f"({str(error).splitlines()[0]}): nothing was examined. Install it; MONAI's "
                "transformers come with medleak[transformers]."
            ) from error
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
    if missing and not unknown and not shapes:
        raise ValueError(
            f"The record holds {len([k for k in own if k in state])} of the network's {len(own)} "
            "tensors, and "
            f"not {missing[0]!r}: sites sent a part of it, such as adapters or a head. Give the "
            "weights that they have all alike by --base FILE; or it is another network's record: "
            "then name the right one by --model."
        )
    for what, names in (("lacks", missing), ("has unknown", unknown), ("misshapes", shapes)):
        if names:
            raise ValueError(
                f"The record's global model {what} {len(names)} tensors, first {names[0]!r}: it "
                "belongs to another network than its manifest names, so no attack on it would mean "
                "anything. Compare manifest.json with the job that wrote the record."
            )
    network.load_state_dict(dict(state), strict=False)


def own_code(records: Path, allowed_prefixes: Sequence[str]) -> Path | None:
    """The folder of the job's own code beside ``records``, if it holds a module that is allowed.

    NVFlare keeps it in the server's run directory, as ``app_*/custom``. It holds code of whoever
    wrote the job: only what ``allowed_prefixes`` names is looked for.
    """
    modules = {prefix.partition(".")[0] for prefix in allowed_prefixes} - {"medleak", ""}
    run = records.absolute().parent
    for folder in (*sorted(run.glob("app_*/custom")), run / "custom"):
        if any((folder / f"{m}.py").is_file() or (folder / m).is_dir() for m in modules):
            return folder
    return None


def make_importable(records: Path, allowed_prefixes: Sequence[str]) -> None:
    """Let the job's own code beside ``records`` be imported, after everything that is installed."""
    folder = own_code(records, allowed_prefixes)
    if folder is not None and str(folder) not in sys.path:
        sys.path.append(str(folder))


_FAST: Mapping[int, torch.memory_format] = {4: torch.channels_last, 5: torch.channels_last_3d}
# At batch 1 and one thread PyTorch's convolution in the default layout takes a slow path: 42 ms
# against 27 ms for a ResNet-18 at 64 px, forward and backward.


def layout_of(network: nn.Module, example: Tensor) -> torch.memory_format:
    """The fastest memory layout of inputs like ``example`` that ``network`` can take.

    A network that calls ``view`` on its features takes the default one only.
    """
    fast = _FAST.get(example.ndim, torch.contiguous_format)
    trial = copy.deepcopy(network)  # a pass moves buffers
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            trial.to(memory_format=fast)(example.contiguous(memory_format=fast))  # pyright: ignore[reportCallIssue]
    except (RuntimeError, ValueError):  # the attack's own pass says what is wrong, if it is another
        return torch.contiguous_format
    return fast


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
            f"its prefix explicitly: --allow-model {path}"
        ) from None
    except ImportError as error:
        raise ValueError(
            f"The record's model {path!r} cannot be imported ({error}): install the package and "
            "version that its manifest names, or put the folder that holds it on the path "
            "(PYTHONPATH=FOLDER medleak …); a job's own custom/ beside the record is looked into."
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

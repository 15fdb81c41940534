"""A job's network, and the weights that a federation starts from."""

import importlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import torch
from torch import Tensor, nn

from medleak.custom import factories
from medleak.custom.data.environment import WEIGHTS_VARIABLE, path_variable
from medleak.custom.networks.weights import WeightsError, load_weights, read_state
from medleak.filters.allowed import NETWORKS_VARIABLE
from medleak.filters.imports import uncollected


class ModelError(ValueError):
    """A network that the job names and that cannot be made; the message says why."""


def build_job_network(
    path: str, args: Mapping[str, Any], seed: int = 0, *, allowed: Sequence[str] = ()
) -> nn.Module:
    """Call the factory ``path`` with ``args``: for the job's own network, not for a record's.

    One of ours (:data:`medleak.filters.allowed.NETWORKS`); one that ``allowed`` or the operator
    (``MEDLEAK_NETWORKS``, ``local/medleak.json``) names; or any, in a job that ships code and was
    let in with it. Nothing else is imported.

    Args:
        path: Dotted name of an ``nn.Module`` class or of a function that returns one.
        args: Its keyword arguments.
        seed: Of its random weights: given on if the factory takes ``seed``, else set as PyTorch's
            for the call. The global random state is not touched.
        allowed: Full names, or prefixes that end with a dot, which the caller vouches for.

    Raises:
        ModelError: It is not allowed, cannot be imported, refuses ``args``, tries to download, or
            returns no network.
    """
    factory = _factory(path, allowed)
    own = factories.brings_code()
    try:
        takes_seed = "seed" in inspect.signature(factory).parameters
        with torch.random.fork_rng(devices=[]), nullcontext() if own else factories.sealed():
            torch.manual_seed(seed)
            network = factory(**({"seed": seed} if takes_seed else {}) | dict(args))
    except PermissionError as error:
        raise ModelError(f"The job's model {path!r} is refused: {error}") from None
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"The job's model {path!r} refused the arguments {dict(args)}: {error}. Correct them "
            "with --model_args."
        ) from error
    if not isinstance(network, nn.Module):
        raise ModelError(
            f"The job's model {path!r} returned a {type(network).__name__}: it cannot be trained. "
            "Name the class or function that makes the network."
        )
    return network


def _factory(path: str, allowed: Sequence[str]) -> Callable[..., Any]:
    try:
        with uncollected():
            if factories.brings_code():
                module, _, name = path.rpartition(".")
                return getattr(importlib.import_module(module), name)
            return factories.resolve(path, (*allowed, *factories.allowed_here()))
    except factories.NotAllowed:
        raise ModelError(
            f"The job names the model {path!r}, which nobody here has allowed: making it would run "
            "code of a stranger's choice, so it was not imported. A site's operator allows a "
            "package in local/medleak.json (medleak policy --network), a server's or a "
            f"researcher in the environment ({NETWORKS_VARIABLE}=package.)."
        ) from None
    except TypeError as error:
        raise ModelError(f"The job's model is refused: {error}.") from None
    except (ImportError, AttributeError, ValueError) as error:
        raise ModelError(
            f"The job's model {path!r} cannot be imported ({error}): server, sites and auditor "
            "build it by this name. Install its package there, or correct the name."
        ) from None


def initial_network(
    model_path: str, model_args: dict[str, Any], weights: str = "auto", seed: int = 0
) -> nn.Module:
    """The network that a federation starts from; for the server's model persistor.

    Args:
        model_path, model_args: See :func:`build_job_network`. (NVFlare would build an argument of
            the form ``{"path", "args"}`` itself.)
        weights: ``random``; ``imagenet`` (torchvision's ResNet-18, needs a network connection
            once); the path of a file (see
            :func:`medleak.custom.networks.weights.load_weights`); ``auto``: the file in
            ``MEDLEAK_WEIGHTS`` if that is set, else random.
        seed: Of everything random here.

    Raises:
        ModelError: See :func:`build_job_network`.
        WeightsError: The weights do not fit, cannot be read safely, or not be downloaded.
    """
    network = build_job_network(model_path, model_args, seed)
    if weights == "auto":
        weights = str(path_variable(WEIGHTS_VARIABLE) or "random")
    if weights == "imagenet":
        return load_weights(network, _imagenet(), source="ImageNet weights of ResNet-18")
    if weights != "random":
        return load_weights(network, read_state(Path(weights).expanduser()), source=weights)
    return network


def format_args(args: Mapping[str, Any]) -> str:
    """``args`` as words ``key=value``, values JSON: NVFlare splits and expands what it passes on.

    Quotes, spaces and braces are written as in a URL (%22).
    """
    return " ".join(
        f"{key}={quote(json.dumps(value, separators=(',', ':')), safe='[],.:-')}"
        for key, value in args.items()
    )


def parse_args(words: Sequence[str]) -> dict[str, Any]:
    """The arguments that :func:`format_args` wrote.

    Raises:
        ModelError: A word is not of this form.
    """
    args = {}
    for word in words:
        key, equals, text = word.partition("=")
        try:
            args[key] = json.loads(unquote(text))
        except ValueError:
            equals = ""
        if not (key.isidentifier() and equals):
            raise ModelError(
                f"{word!r} is no argument of a model: write name=value, the value as JSON."
            )
    return args


def _imagenet() -> dict[str, Tensor]:
    from torchvision.models import ResNet18_Weights

    try:
        return dict(ResNet18_Weights.DEFAULT.get_state_dict(progress=False, check_hash=True))
    except OSError as error:  # URLError is one
        raise WeightsError(
            f"ImageNet weights cannot be downloaded ({error}). Download resnet18 from torchvision "
            f"elsewhere and name the file in {WEIGHTS_VARIABLE}, or use weights=random."
        ) from None

"""Weights as people have them, as a network's own state: which of many usual forms a file is in.

A file may hold a state dict, or one under a usual key; its names may have a wrapper's prefix, or be
another library's for the same network. The reading under which the most tensors fit is taken, and
what it did not match is said.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS_VARIABLE = "MEDLEAK_WEIGHTS"

_log = logging.getLogger(__name__)

_KEYS = ("state_dict", "model_state_dict", "model", "network", "net", "module", "weights")
"""Under which training scripts, NVFlare (``model``) and Lightning (``state_dict``) keep weights."""

_PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "network.", "net.", "encoder.")
"""Of DataParallel, torch.compile, Lightning modules, and networks with another head."""


class WeightsError(ValueError):
    """Initial weights that cannot be had or do not fit; the message says why."""


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict of ``.safetensors``, or of a torch file without running its pickle.

    Raises:
        WeightsError: There is no such file, or it holds none that can be read safely.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(
            f"Weights {path} do not exist. Check the name (or {WEIGHTS_VARIABLE})."
        ) from None
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise WeightsError(f"{path} holds no weights that can be read safely ({error}).") from None
    except Exception as error:  # UnpicklingError and kin: what is not plain tensors is refused
        raise WeightsError(
            f"{path} holds more than tensors, and loading it could run code "
            f"({type(error).__name__}). Save its state_dict as .safetensors."
        ) from None
    return state_of(loaded, str(path))


def state_of(content: Any, source: str) -> dict[str, Tensor]:
    """The state dict that a file's ``content`` is, or holds under one usual key.

    Raises:
        WeightsError: It holds none, or several.
    """
    if _is_state(content):
        return dict(content)
    if not isinstance(content, Mapping):
        raise WeightsError(f"{source} holds no state_dict (name to tensor).")
    found = [k for k in _KEYS if _is_state(content.get(k))]
    if not found:
        keys = ", ".join(str(k)[:40] for k in list(content)[:8])
        raise WeightsError(
            f"{source} holds no state_dict (name to tensor): its keys are {keys}. Save the "
            "network's state_dict() alone, or under 'state_dict'."
        )
    if len(found) > 1:
        raise WeightsError(
            f"{source} holds several state dicts, under {', '.join(map(repr, found))}: which one "
            "is meant is not known. Save one of them alone."
        )
    return dict(content[found[0]])


def unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` without the prefix of DataParallel or torch.compile, where all names have it."""
    for prefix in _PREFIXES[:2] * 2:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return dict(state)


def _is_state(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())
    )


def load_weights(
    network: nn.Module, state: Mapping[str, Tensor], source: str = "the given weights"
) -> nn.Module:
    """Copy ``state`` into ``network``, by its own names or another usual form of them.

    A head (the last layer) of another size is left out, and counters of batch norm may be missing;
    everything else must be there and fit. What was matched, and what was not, is logged.

    Raises:
        WeightsError: A tensor of the body is missing, has another shape, or holds NaN or inf.
    """
    own = network.state_dict()
    reading = max(_readings(state), key=lambda r: len(r.usable(own)))
    usable = reading.usable(own)
    head = next(reversed(own)).rpartition(".")[0] + "."
    may_miss = [n for n in own if n.startswith(head) or n.endswith("num_batches_tracked")]
    if missing := [n for n in own if n not in usable and n not in may_miss]:
        raise WeightsError(_misfit(source, reading, own, missing))
    if bad := [n for n, v in usable.items() if not torch.isfinite(v).all()]:
        raise WeightsError(
            f"{source} hold NaN or inf in {bad[0]!r} ({len(bad)} tensors in all): no training goes "
            "on from there. Take weights from before it diverged."
        )
    network.load_state_dict({**own, **usable})
    _say(source, reading, own, usable)
    return network


@dataclass(frozen=True, slots=True)
class _Reading:
    """A state under other names, and what was done to them, in words."""

    how: str
    state: Mapping[str, Tensor]

    def usable(self, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What fits ``own`` by name and shape."""
        return {n: v for n, v in self.state.items() if n in own and v.shape == own[n].shape}


def _readings(state: Mapping[str, Tensor]) -> Iterator[_Reading]:
    """``state`` in every form that it might be meant in, as it is first."""
    for how, stripped in _without_prefixes(dict(state)):
        yield _Reading(how, stripped)
        for what, rename in _LIBRARIES:
            named = " ".join(filter(None, (how, what)))
            yield _Reading(named, {rename(name): value for name, value in stripped.items()})


def _without_prefixes(state: dict[str, Tensor]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """``state``, and without one, two and three wrappers; names that lack them are kept."""
    taken: list[str] = []
    yield "", state
    for _ in range(3):
        prefix = next((p for p in _PREFIXES if any(n.startswith(p) for n in state)), None)
        if prefix is None:
            return
        shorter = {name.removeprefix(prefix): value for name, value in state.items()}
        if len(shorter) < len(state):  # two names would become one
            return
        taken.append(prefix)
        state = shorter
        yield f"without {' and '.join(map(repr, taken))}", state


def _into_features(name: str) -> str:
    """torchvision's or timm's ResNet, as MONAI's TorchVisionFCModel has it."""
    return name if name.startswith("fc.") else f"features.{name}"


def _into_layers(name: str) -> str:
    """torchvision's or timm's DenseNet, old and new, as MONAI's has it."""
    name = re.sub(r"(denselayer\d+)\.(norm|conv)\.?([12])\.", r"\1.layers.\2\3.", name)
    return re.sub(r"^classifier\.", "class_layers.out.", name)


_LIBRARIES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("by torchvision's names of a ResNet", _into_features),
    ("by torchvision's names of a DenseNet", _into_layers),
)


def _misfit(source: str, reading: _Reading, own: Mapping[str, Tensor], missing: list[str]) -> str:
    name = missing[0]
    there = reading.state.get(name)
    what = "is missing" if there is None else f"has shape {tuple(there.shape)}"
    how = f" (read {reading.how})" if reading.how else ""
    names = ", ".join(map(repr, list(reading.state)[:2]))
    return (
        f"{source} do not fit the network{how}: {name!r} {what}, needed {tuple(own[name].shape)} "
        f"({len(missing)} of {len(own)} tensors in all); they have {names} and so on. Give weights "
        "of the job's network, or weights=random."
    )


def _say(
    source: str, reading: _Reading, own: Mapping[str, Tensor], usable: Mapping[str, Tensor]
) -> None:
    how = f", read {reading.how}" if reading.how else ""
    parts = [f"{source}: {len(usable)} of the network's {len(own)} tensors taken{how}"]
    kept = [n for n in own if n not in usable]
    unused = [n for n in reading.state if n not in usable]
    for words, names in (
        ("not in the file or of another size, kept as they were", kept),
        ("in the file and not used", unused),
    ):
        if names:
            more = f" and {len(names) - 4} more" if len(names) > 4 else ""
            parts.append(f"{words}: {', '.join(names[:4])}{more}")
    _log.info("%s.", "; ".join(parts))

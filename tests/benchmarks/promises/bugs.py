"""What may be wrong with a mechanism whose ledger says that nothing is: each while a block runs."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch

from medleak.custom.training import dp_sgd
from medleak.filters.defences import additive
from medleak.filters.defences.clipped_gaussian import ClippedGaussian
from medleak.filters.noise import NoiseSource, add_gaussian

Patch = tuple[Any, str, Any]


def _less_noise(share: float) -> Callable[..., Any]:
    def less(value: Any, scale: float, source: NoiseSource, **more: Any) -> Any:
        return add_gaussian(value, scale * share, source, **more)

    return less


def _again(value: Any, scale: float, source: NoiseSource, **more: Any) -> Any:
    return add_gaussian(value, scale, NoiseSource(bytes(32)), **more)


def _without_clip(clip: Callable[[Any], None]) -> Callable[[Any], None]:
    def skipped(self: Any) -> None:
        kept, self.max_grad_norm = self.max_grad_norm, 1e6
        clip(self)
        self.max_grad_norm = kept

    return skipped


def _always(n: int, rate: float, source: NoiseSource) -> torch.Tensor:
    return torch.arange(n)


def _bare(protect: Callable[..., Any]) -> Callable[..., Any]:
    def statistics(update: Mapping[str, Any], step: Any, **more: Any) -> dict[str, Any]:
        kept = {n: v for n, v in update.items() if n.endswith(("running_mean", "running_var"))}
        return protect(update, step, **more) | kept

    return statistics


def _noise(share: float) -> Patch:
    return ClippedGaussian, "add", staticmethod(_less_noise(share))


_CLIP = "clip_and_accumulate"
TRAINING: Mapping[str, Patch | None] = {
    "as it says": None,
    "half of the noise": (dp_sgd, "add_gaussian", _less_noise(0.5)),
    "a tenth of the noise": (dp_sgd, "add_gaussian", _less_noise(0.1)),
    "clip skipped": (
        dp_sgd._Optimizer,
        _CLIP,
        _without_clip(dp_sgd._Optimizer.clip_and_accumulate),
    ),
    "sampling not Poisson": (dp_sgd, "_poisson", _always),
    "noise used again": (dp_sgd, "add_gaussian", _again),
}
"""Of DP-SGD."""

FILTER: Mapping[str, Patch | None] = {
    "as it says": None,
    "half of the noise": _noise(0.5),
    "clip skipped": (additive, "clipping_factor", lambda norm, bound: 1.0),
    "noise used again": (NoiseSource, "secure", staticmethod(lambda: NoiseSource(bytes(32)))),
    "statistics bare": (additive, "protect_entries", _bare(additive.protect_entries)),
    "δ ignored": None,
}
"""Of clip + noise; that δ is ignored is a bug of the claim."""


@contextmanager
def planted(patch: Patch | None) -> Iterator[None]:
    """With the bug in it."""
    if patch is None:
        yield
        return
    with mock.patch.object(*patch):
        yield

"""What an attack returns, and how it tells of its progress."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

Ending = Literal["finished", "plateau", "budget", "interrupted"]


@dataclass(frozen=True, slots=True)
class Progress:
    """State of a running attack: iteration (from 1) of total, its loss, CPU seconds so far.

    ``images`` [N, C, H, W] are the candidates of the iteration, not clamped, on the attack's
    device and not to be changed; None where the attack does not show them.
    """

    iteration: int
    total: int
    loss: float
    seconds: float
    images: Tensor | None = None


ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Reconstruction:
    """Images that an attack found, and by its own measures how well they explain the update.

    Attributes:
        images: [N, C, H, W] or, volumes, [N, C, H, W, D] float32 on the CPU, in [0, 1]. Their
            order means nothing.
        labels: [N] int64 class per image, or None where the attack did not look for labels.
        losses: Final value of every loss term by name, of the returned images.
        start_losses: The same terms of the image that the attack started from; empty where it does
            not tell.
        history: [iterations] total loss in the order of the iterations, all attempts.
        iterations: Optimiser steps, all attempts.
        seconds: CPU seconds of the process (wall seconds on a GPU), all attempts.
        attempts: Runs from new starts, those that ended in NaN included.
        stuck: By its own loss the attack knows that it failed: not evidence of safety.
        ending: What ended the attack.
    """

    images: Tensor
    labels: Tensor | None
    losses: Mapping[str, float]
    history: Tensor
    iterations: int
    seconds: float
    attempts: int = 1
    stuck: bool = False
    ending: Ending = "finished"
    start_losses: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Reject what a metric would silently turn into a wrong number."""
        if self.images.ndim not in (4, 5) or self.images.dtype != torch.float32:
            raise ValueError(
                f"images must be [N, C, H, W] or [N, C, H, W, D] float32, got "
                f"{tuple(self.images.shape)} {self.images.dtype}: metrics compare them with the "
                "truth pixel by pixel."
            )
        low, high = float(self.images.min()), float(self.images.max())
        if not (low >= 0 and high <= 1):
            raise ValueError(
                f"images must be finite and in [0, 1], got [{low}, {high}]: clamp them, and return "
                "the start image where the optimisation diverged."
            )
        if self.labels is not None and self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"labels must be [{len(self.images)}], one per image, got "
                f"{tuple(self.labels.shape)}."
            )

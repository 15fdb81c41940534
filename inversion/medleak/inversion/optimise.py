"""The loop of the forward-only attacks: Adam on a pyramid, schedules, time budget, interrupts."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medleak.inversion.losses import outside_box, total_variation
from medleak.inversion.pyramid import Pyramid
from medleak.inversion.reconstruction import Ending, Progress, ProgressCallback
from medleak.inversion.stopwatch import Stopwatch

Objective = Callable[[Tensor, float], Tensor]
"""(images [N, C, H, W], progress in [0, 1)) -> scalar loss, without image priors."""


class DivergedError(ArithmeticError):
    """The loss became NaN or infinite; the caller restarts from elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Descent:
    """Adam with cosine decay on an image pyramid, under total variation.

    Attributes:
        iterations: Steps of Adam.
        lr: First learning rate, in pixel units.
        levels: Layers of the pyramid, each of half the side of the next.
        finest: Side of the last layer as a share of the image's.
        variation: Weight of total variation at the start and at the end, per 64 pixels of side:
            scaled with the image's side, so that edges cost the same at any resolution.
        box: Weight of the penalty outside of [0, 1].
    """

    iterations: int
    lr: float
    levels: int
    variation: tuple[float, float]
    finest: float = 1.0
    box: float = 0.0

    def __post_init__(self) -> None:
        """Reject what cannot run."""
        if self.iterations < 1 or not self.lr > 0:
            raise ValueError(
                f"iterations and lr must be positive, got {self.iterations} and {self.lr}: the "
                "images would stay the start."
            )


class Meter:
    """Counts what all stages and attempts of one attack use, reports it, and knows the budget."""

    def __init__(
        self,
        device: torch.device,
        *,
        total: int,
        seconds: float | None,
        progress: ProgressCallback | None,
    ) -> None:
        """Start the clock; ``total`` iterations are planned, ``seconds`` is None for no limit."""
        self._watch, self._budget = Stopwatch(device), seconds
        self._progress, self._total = progress, total
        self.history: list[float] = []

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self._watch.seconds

    @property
    def left(self) -> float:
        """Seconds of the budget that are left; infinite without one."""
        return math.inf if self._budget is None else max(self._budget - self.seconds, 0.0)

    def count(self, loss: float) -> None:
        """Note an iteration and report it."""
        self.history.append(loss)
        if self._progress is not None:
            total = max(self._total, len(self.history))
            self._progress(Progress(len(self.history), total, loss, self.seconds))


def descend(
    descent: Descent, objective: Objective, start: Tensor, meter: Meter, share: float = 1.0
) -> tuple[Tensor, Ending]:
    """Minimise ``objective`` from ``start`` [N, C, H, W]; return images, not clamped, and ending.

    Schedules follow the iterations, or ``share`` of the time that ``meter`` has left if that
    runs out first: less time gives a coarser image, not a truncated descent.

    Raises:
        DivergedError: The loss is not finite.
    """
    pyramid = Pyramid(start, descent.levels, descent.finest)
    optimizer = torch.optim.Adam(pyramid.layers, lr=descent.lr)
    begin, budget = meter.seconds, max(share * meter.left, 1e-9)
    scale = math.sqrt(start[0, 0].numel()) / 64
    try:
        for iteration in range(descent.iterations):
            done = max(iteration / descent.iterations, (meter.seconds - begin) / budget)
            if done >= 1:
                return pyramid.images().detach(), "budget"
            cosine = 0.5 * (1 + math.cos(math.pi * done))
            optimizer.param_groups[0]["lr"] = descent.lr * max(cosine, 1e-3)
            first, last = descent.variation
            images = pyramid.images()
            loss = objective(images, done)
            loss = loss + scale * (last + (first - last) * cosine) * total_variation(images)
            if descent.box:
                loss = loss + descent.box * outside_box(images)
            _step(pyramid.layers, loss, optimizer)
            meter.count(loss.item())
            if not math.isfinite(meter.history[-1]):
                raise DivergedError(f"The loss is {meter.history[-1]} at iteration {iteration}.")
    except KeyboardInterrupt:
        return pyramid.images().detach(), "interrupted"
    return pyramid.images().detach(), "finished"


def _step(layers: Sequence[Tensor], loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
    for layer, gradient in zip(layers, torch.autograd.grad(loss, list(layers)), strict=True):
        layer.grad = gradient
    optimizer.step()

"""The loops of the forward-only attacks: Adam and L-BFGS on a pyramid, time budget, interrupts."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medleak.inversion.losses import outside_box, smooth_variation, total_variation
from medleak.inversion.pyramid import Pyramid
from medleak.inversion.reconstruction import Ending, Progress, ProgressCallback
from medleak.inversion.stopwatch import Stopwatch

Objective = Callable[[Tensor, float], Tensor]
"""(images [N, C, H, W], progress in [0, 1)) -> scalar loss, without image priors."""


_CHUNK = 20  # iterations of L-BFGS between two looks at the clock
_PLATEAU = 1e-5  # of the loss: a chunk that gains less is the last


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
        decay: Gain from one layer of the pyramid to the next finer.
    """

    iterations: int
    lr: float
    levels: int
    variation: tuple[float, float]
    finest: float = 1.0
    box: float = 0.0
    decay: float = 0.75

    def __post_init__(self) -> None:
        """Reject what cannot run."""
        if self.iterations < 1 or not self.lr > 0:
            raise ValueError(
                f"iterations and lr must be positive, got {self.iterations} and {self.lr}: the "
                "images would stay the start."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class QuasiNewton:
    """L-BFGS (strong Wolfe) on an image pyramid, which is its preconditioner.

    For smooth objectives whose minimum is near: it then needs a fifth of Adam's iterations, and
    ends far closer. Three layers that lose 0.4 of the gain each gave 0.99 where five at 0.75
    gave 0.97 and plain pixels 0.89 (SSIM, docs/attacks.md).

    Attributes:
        iterations: Of L-BFGS; about as many evaluations.
        variation: Weight of smoothed total variation, per 64 pixels of side.
        box: Weight of the penalty outside of [0, 1].
        levels, decay: Of the pyramid.
        history: Steps that the curvature is learnt from.
    """

    iterations: int
    variation: float = 0.03
    box: float = 0.0
    levels: int = 3
    decay: float = 0.6
    history: int = 30

    def __post_init__(self) -> None:
        """Reject what cannot run."""
        if self.iterations < 1:
            raise ValueError(
                f"iterations must be positive, got {self.iterations}: the images would stay the "
                "start."
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

    def count(self, loss: float, images: Tensor) -> None:
        """Note an iteration and report it, with the images that it evaluated."""
        self.history.append(loss)
        if self._progress is not None:
            done = len(self.history)
            total = max(self._total, done)
            self._progress(Progress(done, total, loss, self.seconds, images.detach()))


def descend(
    descent: Descent | QuasiNewton,
    objective: Objective,
    start: Tensor,
    meter: Meter,
    share: float = 1.0,
) -> tuple[Tensor, Ending]:
    """Minimise ``objective`` from ``start`` [N, C, H, W]; return images, not clamped, and ending.

    Adam's schedules follow the iterations, or ``share`` of the time that ``meter`` has left if
    that runs out first: less time gives a coarser image, not a truncated descent. L-BFGS stops
    when that time is over.

    Raises:
        DivergedError: The loss is not finite.
    """
    if isinstance(descent, QuasiNewton):
        return _lbfgs(descent, objective, start, meter, share)
    return _adam(descent, objective, start, meter, share)


def _adam(
    descent: Descent, objective: Objective, start: Tensor, meter: Meter, share: float
) -> tuple[Tensor, Ending]:
    pyramid = Pyramid(start, descent.levels, descent.finest, descent.decay)
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
            _differentiate(pyramid.layers, loss)
            optimizer.step()
            _count(meter, loss, images)
    except KeyboardInterrupt:
        return pyramid.images().detach(), "interrupted"
    return pyramid.images().detach(), "finished"


def _lbfgs(
    descent: QuasiNewton, objective: Objective, start: Tensor, meter: Meter, share: float
) -> tuple[Tensor, Ending]:
    pyramid = Pyramid(start, descent.levels, decay=descent.decay)
    deadline = meter.seconds + share * meter.left
    scale = math.sqrt(start[0, 0].numel()) / 64
    optimizer = torch.optim.LBFGS(
        pyramid.layers,
        max_iter=_CHUNK,
        max_eval=2 * _CHUNK,
        history_size=descent.history,
        tolerance_grad=0,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def evaluate() -> Tensor:
        images = pyramid.images()
        loss = objective(images, 0.0) + descent.variation * scale * smooth_variation(images)
        if descent.box:
            loss = loss + descent.box * outside_box(images)
        _differentiate(pyramid.layers, loss)
        _count(meter, loss, images)
        return loss.detach()

    last = math.inf
    try:
        for _ in range(-(-descent.iterations // _CHUNK)):
            if meter.seconds >= deadline:
                return pyramid.images().detach(), "budget"
            reached = float(optimizer.step(evaluate))  # the loss that the chunk began with
            if reached >= (1 - _PLATEAU) * last:
                break
            last = reached
    except KeyboardInterrupt:
        return pyramid.images().detach(), "interrupted"
    return pyramid.images().detach(), "finished"


def _count(meter: Meter, loss: Tensor, images: Tensor) -> None:
    meter.count(loss.item(), images)
    if not math.isfinite(meter.history[-1]):
        raise DivergedError(f"The loss is {meter.history[-1]} at iteration {len(meter.history)}.")


def _differentiate(layers: Sequence[Tensor], loss: Tensor) -> None:
    for layer, gradient in zip(layers, torch.autograd.grad(loss, list(layers)), strict=True):
        layer.grad = gradient

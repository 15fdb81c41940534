"""The loops of the forward-only attacks: Adam and L-BFGS on a pyramid, time budget, interrupts."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from medleak.inversion.descent.coordinates import Pyramid
from medleak.inversion.descent.device import captured
from medleak.inversion.descent.limited_memory import LimitedMemory
from medleak.inversion.descent.meter import DivergedError, Meter
from medleak.inversion.losses import outside_box, smooth_variation, total_variation
from medleak.inversion.reconstruction import Ending

PyramidObjective = Callable[[Tensor, float | Tensor], Tensor]
"""(images [N, C, *size], progress in [0, 1)) -> scalar loss, without image priors.

It is captured on a GPU (`captured`): no branch on values, no other input that changes.
"""


_CHUNK = 20  # iterations of L-BFGS between two looks at the clock
_PLATEAU = 1e-5  # of the loss: a chunk that gains less is the last


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
    gave 0.97 and plain pixels 0.89 (SSIM, docs/measurements/attacks.md).

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


def descend(
    descent: Descent | QuasiNewton,
    objective: PyramidObjective,
    start: Tensor,
    meter: Meter,
    share: float = 1.0,
) -> tuple[Tensor, Ending]:
    """Minimise ``objective`` from ``start`` [N, C, *size]; return images, not clamped, and ending.

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
    descent: Descent, objective: PyramidObjective, start: Tensor, meter: Meter, share: float
) -> tuple[Tensor, Ending]:
    pyramid = Pyramid(start, descent.levels, descent.finest, descent.decay)
    optimizer = torch.optim.Adam(pyramid.layers, lr=descent.lr)
    begin, budget = meter.seconds, max(share * meter.left, 1e-9)
    scale = _side(start) / 64
    schedule = torch.zeros(2, device=start.device)  # progress, weight of total variation

    def evaluated() -> tuple[Tensor, ...]:
        images = pyramid.images()
        loss = objective(images, schedule[0]) + schedule[1] * total_variation(images)
        if descent.box:
            loss = loss + descent.box * outside_box(images)
        return loss.detach(), images.detach(), *torch.autograd.grad(loss, pyramid.layers)

    try:
        evaluate = captured(evaluated, start.device)
        for iteration in range(descent.iterations):
            done = max(iteration / descent.iterations, (meter.seconds - begin) / budget)
            if done >= 1:
                return pyramid.images().detach(), "budget"
            cosine = 0.5 * (1 + math.cos(math.pi * done))
            optimizer.param_groups[0]["lr"] = descent.lr * max(cosine, 1e-3)
            first, last = descent.variation
            schedule.copy_(torch.tensor([done, scale * (last + (first - last) * cosine)]))
            loss, images, *gradients = evaluate()
            for layer, gradient in zip(pyramid.layers, gradients, strict=True):
                layer.grad = gradient
            optimizer.step()
            _count(meter, loss, images)
    except KeyboardInterrupt:
        return pyramid.images().detach(), "interrupted"
    return pyramid.images().detach(), "finished"


def _lbfgs(
    descent: QuasiNewton, objective: PyramidObjective, start: Tensor, meter: Meter, share: float
) -> tuple[Tensor, Ending]:
    pyramid = Pyramid(start, descent.levels, decay=descent.decay)
    deadline = meter.seconds + share * meter.left
    scale = _side(start) / 64

    def evaluated() -> tuple[Tensor, ...]:
        images = pyramid.images()
        loss = objective(images, 0.0) + descent.variation * scale * smooth_variation(images)
        if descent.box:
            loss = loss + descent.box * outside_box(images)
        gradients = torch.autograd.grad(loss, pyramid.layers)
        return loss.detach(), images.detach(), torch.cat([g.flatten() for g in gradients])

    def evaluate(point: Tensor) -> tuple[float, Tensor]:
        pyramid.point = point
        loss, images, gradient = replayed()
        return _count(meter, loss, images), gradient

    ending: Ending = "finished"
    best, last = pyramid.point, math.inf
    try:
        replayed = captured(evaluated, start.device)
        search = LimitedMemory(evaluate, best, history=descent.history)
        for iteration in range(descent.iterations):
            if iteration % _CHUNK == 0:
                if meter.seconds >= deadline:
                    ending = "budget"
                    break
                if search.loss >= (1 - _PLATEAU) * last:
                    break
                last = search.loss
            if not search.step():
                break
            best = search.point
    except KeyboardInterrupt:
        ending = "interrupted"
    pyramid.point = best
    return pyramid.images().detach(), ending


def _side(images: Tensor) -> float:
    """Of an image, geometric mean over its axes."""
    return math.prod(images.shape[2:]) ** (1 / (images.dim() - 2))


def _count(meter: Meter, loss: Tensor, images: Tensor) -> float:
    value = loss.item()
    meter.count(value, images)
    if not math.isfinite(value):
        raise DivergedError(f"The loss is {value} at iteration {len(meter.history)}.")
    return value

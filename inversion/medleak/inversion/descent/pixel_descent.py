"""The loop of attacks that match updates: Adam on pixels (and labels), restarts by own loss."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from medleak.inversion.descent.device import full_precision
from medleak.inversion.descent.meter import DivergedError, Meter
from medleak.inversion.reconstruction import Ending, Reconstruction

LossTerms = Mapping[str, Tensor]
"""Weighted loss terms by name; what is minimised is their sum."""
PixelObjective = Callable[[Tensor, Sequence[Tensor], float], LossTerms]
"""(images [N, C, H, W], other unknowns, progress in [0, 1)) -> terms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelSettings:
    """What attacks by Adam on pixels have in common.

    Attributes:
        iterations: Of one attempt.
        lr: First learning rate, in units of [0, 1].
        decay: ``cosine`` to zero; ``steps``: times 0.1 after 3/8, 5/8 and 7/8 of the iterations.
        attempts: Starts at most; another one follows where one ends above ``solved`` or in NaN.
        solved: Value of the update's distance up to which an attempt counts as a success.
        seconds: Budget of all attempts; the schedules shrink to it. None for none.
    """

    iterations: int = 1000
    lr: float = 0.05
    decay: Literal["cosine", "steps"] = "cosine"
    attempts: int = 1
    solved: float = 0.1
    seconds: float | None = None

    def __post_init__(self) -> None:
        """Reject settings that cannot run."""
        for name in ("iterations", "attempts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("lr", "solved"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")
        if self.decay not in ("cosine", "steps"):
            raise ValueError(f"decay must be cosine or steps, got {self.decay!r}.")
        if self.seconds is not None and not self.seconds > 0:
            raise ValueError(f"seconds must be positive or None, got {self.seconds}.")


def require_weights(settings: object, *names: str) -> None:
    """Refuse negative or non-finite weights among the fields ``names`` of ``settings``."""
    for name in names:
        value = getattr(settings, name)
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be at least 0 and finite, got {value}.")


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """Where one descent ended; ``start_terms`` are the terms of the images that it started from."""

    images: Tensor
    others: Sequence[Tensor]
    terms: Mapping[str, float]
    ending: Ending
    start_terms: Mapping[str, float] = field(default_factory=dict)


@full_precision()
def descend_pixels(
    settings: PixelSettings,
    objective: PixelObjective,
    start: tuple[Tensor, Sequence[Tensor]],
    meter: Meter,
    *,
    signed: bool = False,
) -> Attempt:
    """Minimise the sum of the terms; images are kept in [0, 1] after every step.

    Args:
        settings: See there.
        objective: What to minimise.
        start: Images [N, C, H, W] and other unknowns.
        meter: Counts iterations, and knows the time that is left.
        signed: Adam sees the signs of the gradient alone.

    Raises:
        DivergedError: The loss is not finite.
    """
    images = start[0].detach().clone().clamp(0, 1).requires_grad_()
    others = [o.detach().clone().requires_grad_() for o in start[1]]
    unknowns = [images, *others]
    optimizer = torch.optim.Adam(unknowns, lr=settings.lr)
    begin, budget = meter.seconds, max(meter.left, 1e-9)
    terms: LossTerms = {}
    first: LossTerms = {}
    ending: Ending = "finished"
    try:
        for iteration in range(settings.iterations):
            spent = (meter.seconds - begin) / budget
            done = max(iteration / settings.iterations, spent)
            if done >= 1 and terms:
                ending = "budget"
                break
            optimizer.param_groups[0]["lr"] = settings.lr * _decay(settings.decay, done)
            terms = objective(images, others, done)
            first = first or terms
            loss = torch.stack(list(terms.values())).sum()
            gradients = torch.autograd.grad(loss, unknowns, allow_unused=True)
            for unknown, gradient in zip(unknowns, gradients, strict=True):
                unknown.grad = gradient.sign() if signed and gradient is not None else gradient
            optimizer.step()
            images.data.clamp_(0, 1)
            meter.count(float(loss.detach()), images.detach().clone())
            if not math.isfinite(meter.history[-1]):
                raise DivergedError(f"The loss is {meter.history[-1]} at iteration {iteration}.")
    except KeyboardInterrupt:
        ending = "interrupted"
    values, start_values = ({n: float(t.detach()) for n, t in of.items()} for of in (terms, first))
    return Attempt(images.detach(), [o.detach() for o in others], values, ending, start_values)


def best_attempt(
    settings: PixelSettings,
    once: Callable[[int], Attempt],
    distance: Callable[[Attempt], float],
    labels: Callable[[Attempt], Tensor | None],
    fallback: Tensor,
    meter: Meter,
) -> Reconstruction:
    """Run up to ``settings.attempts`` attempts and keep the one nearest to the update.

    Args:
        settings: See there.
        once: Number of an attempt, from 0 -> its end; may raise DivergedError.
        distance: Of an attempt's update to the observed one, by its ``terms``; compared with
            ``solved``. Of its ``start_terms`` it is the start's.
        labels: [N] of an attempt's images.
        fallback: Images [N, C, H, W] to return where every attempt diverged.
        meter: What the attempts counted with.
    """
    best: Attempt | None = None
    score, made = math.inf, 0
    for number in range(settings.attempts):
        made += 1
        try:
            attempt = once(number)
        except DivergedError:
            continue
        reached = distance(attempt)
        if best is None or reached < score:
            best, score = attempt, reached
        if attempt.ending != "finished" or score <= settings.solved:
            break
    if best is None:
        best = Attempt(fallback.clamp(0, 1), (), {"distance": math.inf}, "finished")
    else:
        best = replace(best, terms={**best.terms, "distance": score})
    # Of the terms, the distance alone says how well an image explains the update: weights of the
    # others change on the way, and a smooth start is no sign of anything.
    start = distance(replace(best, terms=best.start_terms)) if best.start_terms else None
    return Reconstruction(
        images=best.images.float().cpu(),
        labels=None if score == math.inf else labels(best),
        losses=best.terms,
        start_losses={} if start is None else {"distance": start},
        history=torch.tensor(meter.history),
        iterations=len(meter.history),
        seconds=meter.seconds,
        attempts=made,
        stuck=not score <= settings.solved,
        ending=best.ending,
    )


def _decay(kind: str, done: float) -> float:
    if kind == "cosine":
        return max(0.5 * (1 + math.cos(math.pi * done)), 1e-3)
    return 0.1 ** sum(done >= at for at in (3 / 8, 5 / 8, 7 / 8))

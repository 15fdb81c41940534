"""L-BFGS from several starts, the best by its own loss kept: the search of DLG, iDLG and CPL."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from medleak.inversion.descent.coordinates import Spectral
from medleak.inversion.descent.meter import Stopwatch
from medleak.inversion.losses import MATCHES, StepMatch
from medleak.inversion.reconstruction import (
    Ending,
    Progress,
    ProgressCallback,
    Reconstruction,
)

RestartObjective = Callable[[Tensor, Sequence[Tensor]], Tensor]
"""(images [N, C, H, W] float64, other unknowns) -> scalar."""

_CHUNK = 20  # iterations between two looks at the loss and the clock
_PATIENCE = 8  # chunks without progress that end an attempt
_AT_FLOOR = 1.5  # times the expected distance: no start explains the update better
_HOPELESS = 0.05  # distance above which an image is none, whatever rounding has left
_PROGRESS = 0.97  # factor that counts as progress within that patience


@dataclass(frozen=True, slots=True, kw_only=True)
class LBFGSSettings:
    """What DLG, iDLG and CPL have in common: L-BFGS runs on a gradient distance.

    The published form is ``match="squared", coordinates="pixels", line_search=False``. It fails
    where the gradient is small, and so on most images of a network that is sure of the label.

    Attributes:
        iterations: Of L-BFGS in one attempt.
        attempts: Starts to try at most; the first one that solves the problem ends the search.
        match: Distance of gradients; ``weighted`` trusts each entry as far as the client's
            rounding lets it be known.
        coordinates: ``spectral`` looks for smooth changes of the start first; ``pixels``.
        line_search: Strong Wolfe; without it every step has length 1, as published.
        tolerance: Distance at which an attempt has arrived.
        solved: Distance up to which an attempt counts as a success (or the distance that
            rounding leaves, if that is larger): above, another is made, and the result is marked
            stuck if none is better.
        seconds: Budget of all attempts, None for none.
    """

    iterations: int = 1000
    attempts: int = 3
    match: StepMatch = "weighted"
    coordinates: Literal["spectral", "pixels"] = "spectral"
    line_search: bool = True
    tolerance: float = 2e-6
    solved: float = 1e-3
    seconds: float | None = None

    def __post_init__(self) -> None:
        """Reject settings that cannot run."""
        for name in ("iterations", "attempts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("tolerance", "solved"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")
        if self.match not in ("weighted", *MATCHES):
            raise ValueError(
                f"match must be weighted or one of {', '.join(MATCHES)}, got {self.match!r}."
            )
        if self.coordinates not in ("spectral", "pixels"):
            raise ValueError(f"coordinates must be spectral or pixels, got {self.coordinates!r}.")
        if self.seconds is not None and not self.seconds > 0:
            raise ValueError(f"seconds must be positive or None, got {self.seconds}.")


@dataclass(slots=True, eq=False)
class Search:
    """The best that was found so far, and what it took."""

    images: Tensor
    others: Sequence[Tensor]
    loss: float
    history: list[float]
    attempts: int
    seconds: float
    ending: Ending
    solved: float

    def reconstruction(self, labels: Tensor) -> Reconstruction:
        """As a result, images clamped to [0, 1]; ``labels`` [N] of those images."""
        finite = self.images.nan_to_num(0.5).clamp(0, 1)
        return Reconstruction(
            images=finite.float().cpu(),
            labels=labels.cpu(),
            losses={"gradient": self.loss},
            start_losses={"gradient": self.history[0]} if self.history else {},
            history=torch.tensor(self.history),
            iterations=len(self.history),
            seconds=self.seconds,
            attempts=self.attempts,
            stuck=not self.loss <= min(self.solved, _HOPELESS),
            ending=self.ending,
        )


def search(
    settings: LBFGSSettings,
    objective: RestartObjective,
    starts: Callable[[int], tuple[Tensor, Sequence[Tensor]]],
    *,
    device: torch.device,
    floor: float = 0.0,
    on_progress: ProgressCallback | None = None,
) -> Search:
    """Minimise ``objective`` over images and other unknowns.

    Args:
        settings: See there; ``match`` is the caller's to use in ``objective``.
        objective: To minimise; its values are what ``tolerance`` and ``solved`` speak of.
        starts: Number of an attempt, from 0 -> images [N, C, H, W] and other unknowns.
        device: Where the work is done, for the clock.
        floor: Value of ``objective`` that the true images have, because of rounding.
        on_progress: Called after every few iterations.

    Returns:
        The best point of all attempts; a start if nothing finite was found (loss inf).
        Interrupted from the keyboard, the best point so far.
    """
    watch = Stopwatch(device, settings.seconds)
    images, others = starts(0)
    solved = max(settings.solved, _AT_FLOOR * floor)
    best = Search(images, others, float("inf"), [], 0, 0.0, "finished", solved)
    try:
        for attempt in range(settings.attempts):
            best.attempts += 1
            _attempt(
                settings,
                objective,
                starts(attempt) if attempt else (images, others),
                best,
                watch,
                on_progress,
            )
            if best.loss <= solved or best.ending == "budget":
                break
    except KeyboardInterrupt:
        best.ending = "interrupted"
    best.seconds = watch.seconds
    return best


def _attempt(
    settings: LBFGSSettings,
    objective: RestartObjective,
    start: tuple[Tensor, Sequence[Tensor]],
    best: Search,
    watch: Stopwatch,
    on_progress: ProgressCallback | None,
) -> None:
    images = start[0].double()
    spectral = Spectral(images) if settings.coordinates == "spectral" else None
    u = (spectral.zeros() if spectral else images.clone()).requires_grad_()
    others = [o.double().clone().requires_grad_() for o in start[1]]
    unknowns = [u, *others]
    optimizer = torch.optim.LBFGS(
        unknowns,
        max_iter=_CHUNK,
        max_eval=2 * _CHUNK,
        history_size=50,
        tolerance_grad=0,
        tolerance_change=0,
        line_search_fn="strong_wolfe" if settings.line_search else None,
    )
    reached: list[float] = []

    def evaluate() -> Tensor:
        found = spectral.images(u) if spectral else u
        loss = objective(found, others)
        for unknown, gradient in zip(unknowns, torch.autograd.grad(loss, unknowns), strict=True):
            unknown.grad = gradient.contiguous()  # L-BFGS takes views
        value = float(loss.detach())
        best.history.append(value)
        if value < best.loss:  # False for NaN
            best.loss, best.images = value, found.detach().clone()
            best.others = [o.detach().clone() for o in others]
        return loss.detach()

    chunks = -(-settings.iterations // _CHUNK)
    for chunk in range(chunks):
        first = len(best.history)
        optimizer.step(evaluate)
        values = best.history[first:]
        reached.append(min(v for v in [*values, float("inf")] if v == v))
        if on_progress:
            done = (best.attempts - 1) * chunks + chunk + 1
            total = settings.attempts * chunks
            shown = best.images.float()
            on_progress(Progress(done * _CHUNK, total * _CHUNK, best.loss, watch.seconds, shown))
        if not all(v == v for v in values) or min(reached) <= settings.tolerance:
            best.ending = "finished"
            return
        if watch.over:
            best.ending = "budget"
            return
        if chunk >= _PATIENCE and min(reached) > _PROGRESS * min(reached[:-_PATIENCE]):
            best.ending = "plateau"
            return
    best.ending = "finished"

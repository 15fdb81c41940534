"""What a model that was sent would make of the site's own images: limits on a rehearsed step.

The other checks look at weights; this one asks what counts, on the images themselves: how many of a
batch the step's gradient gives away, whether one image drowns the others, and whether the loss of a
class is of another order than guessing. The rehearsal itself needs torch and the images, and so is
a function named as ``"module:function"`` (ours: ``medleak.inversion.rehearsal.measure:measure``),
run by `medleak.filters.apart.process`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medleak.filters import checks
from medleak.filters.apart.process import Named, answer_of
from medleak.filters.sentinel.result import Result, nothing_there
from medleak.filters.update import Update, UpdateError

MEASURE = "medleak.inversion.rehearsal.measure:measure"
_NAMED = Named(
    it="The rehearsal of the task", names="The rehearsal", quicker="rehearse fewer batches"
)
GIVEN_AWAY, DOMINANCE, CLASS_LOSS = 0.0, 10.0, 20.0
_COUNTS, _SIZES = ("images", "layers", "given_away"), ("dominance", "class_loss")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a step may tell; see docs/measurements/sentinel.md for what honest ones do.

    Attributes:
        given_away: Share of a batch's images that the gradient of one layer may give away by
            division (0: none).
        dominance: How many times larger one image's part of a layer's gradient may be than all
            other images' together (arXiv:2306.03013).
        class_loss: Mean loss of one class, in units of what guessing costs.
    """

    given_away: float = GIVEN_AWAY
    dominance: float = DOMINANCE
    class_loss: float = CLASS_LOSS

    def __post_init__(self) -> None:
        """Refuse what is no limit."""
        if isinstance(self.given_away, bool) or not 0 <= self.given_away < 1:
            raise ValueError(f"given_away is a share of a batch below 1, got {self.given_away!r}.")
        checks.require_positive("dominance", self.dominance, "some image has the largest part.")
        checks.require_positive("class_loss", self.class_loss, "losses are positive.")


def rehearse(
    measure: str,
    state: Update,
    args: Mapping[str, Any],
    *,
    time_limit: float,
    allowed: Sequence[str] = (),
) -> Mapping[str, Any]:
    """Run ``measure`` on ``state`` in a child process, for at most ``time_limit`` seconds.

    Returns:
        ``images`` of a batch; ``layers``: how many could be read by division; ``given_away`` and
        ``given_away_at`` (a layer), ``dominance`` and ``dominance_at``, ``class_loss`` and
        ``class``: of all batches, the worst.

    Raises:
        UpdateError: It took too long, failed, or answered with something else. The task must then
            be refused.
    """
    raw = answer_of(
        *(measure, [state], args), time_limit=time_limit, allowed=(MEASURE, *allowed), named=_NAMED
    )
    found = raw if isinstance(raw, dict) else {}
    counts, sizes = ([found.get(k, "") for k in names] for names in (_COUNTS, _SIZES))
    whole = all(type(v) is int for v in counts)
    numbers = all(type(v) in (int, float) and not v < 0 for v in [*counts, *sizes])
    if not (whole and numbers):
        raise UpdateError(
            f"The rehearsal answered {raw!r}; it must give {', '.join(_COUNTS)} as whole numbers, "
            f"and {' and '.join(_SIZES)}, none of them below 0."
        )
    if found["images"] < 2:
        raise UpdateError("The rehearsal was of less than two images, so nothing is known.")
    return found


def judge(found: Mapping[str, Any], limits: Limits) -> list[Result]:
    """The three checks of what `rehearse` answered; NaN is beyond any limit."""
    if found["layers"] or found["given_away"]:
        share = found["given_away"] / found["images"]
        words = "share of a batch that it gives away by division"
        read = _judged("given_away", share, limits.given_away, found.get("given_away_at"), words)
    else:
        read = nothing_there("given_away", "no layer of enough rows sees an image whole")
    words = "one image's part of the gradient over that of all others"
    drowned = _judged(
        *("dominance", found["dominance"], limits.dominance, found.get("dominance_at"), words)
    )
    words = "loss of this class over that of guessing"
    lost = _judged(
        "class_loss", found["class_loss"], limits.class_loss, f"class {found.get('class')}", words
    )
    return [read, drowned, lost]


def _judged(check: str, value: float, limit: float, where: object, words: str) -> Result:
    odd = not value <= limit
    return Result(
        check=check,
        status="odd" if odd else "fine",
        words=f"{where}: {words} (at most {limit:g} may be)" if odd else words,
        where=str(where),
        statistic=float(value) if math.isfinite(value) else math.inf,
        limit=float(limit),
    )

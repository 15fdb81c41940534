"""What one check of a model that was sent ends in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Status = Literal["fine", "odd", "not examined", "nothing there"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The most striking statistic of a check, and its limit.

    ``not examined``: there was nothing to compare with; that is not ``fine``. ``nothing there``:
    the network has no part that the check is about. ``where`` names the entry of the model that was
    most striking.
    """

    check: str
    status: Status
    words: str
    where: str = ""
    statistic: float | None = None
    limit: float | None = None

    @property
    def excess(self) -> float:
        """Statistic over limit; 0 without them."""
        return self.statistic / self.limit if self.statistic is not None and self.limit else 0.0


def not_examined(check: str, why: str) -> Result:
    """Nothing is known by this check."""
    return Result(check=check, status="not examined", words=why)


def nothing_there(check: str, why: str) -> Result:
    """The network has no such part."""
    return Result(check=check, status="nothing there", words=why)


def against_earlier(
    check: str,
    now: Mapping[str, float],
    earlier: Mapping[str, tuple[float, float]],
    limit: float,
    words: str,
) -> Result:
    """By how much the statistics ``now`` leave the bands (least, largest) of earlier rounds.

    Layers that no band is known of are not examined; where that is all of them, nothing was.
    """
    found = {
        n: max(v - earlier[n][1], earlier[n][0] - v, 0.0) for n, v in now.items() if n in earlier
    }
    if not found:
        return not_examined(check, "no layer is known from an earlier round")
    return judged(check, found, limit, words, "")


def judged(check: str, found: dict[str, float], limit: float, words: str, nothing: str) -> Result:
    """The largest of ``found`` (entry to statistic) against ``limit``; NaN is above any limit."""
    if not found:
        return nothing_there(check, nothing)
    where = max(found, key=lambda n: float("inf") if found[n] != found[n] else found[n])
    value = float(found[where])
    odd = not value <= limit
    said = f"{where}: {words} ({value:.4g}, at most {limit:.4g} is usual)" if odd else words
    return Result(
        check=check,
        status="odd" if odd else "fine",
        words=said,
        where=where,
        statistic=value,
        limit=limit,
    )

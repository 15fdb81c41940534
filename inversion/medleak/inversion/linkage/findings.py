"""Whose an update is, and what it tells of the site: each a number, its p-value and a verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from medleak.custom.intervals import wilson
from medleak.inversion.linkage.permutation import correlation, distances, least_p, p_value

Floats = NDArray[np.float64]
Kind = Literal["told", "not told", "not known"]
SURE = 0.01
"""p from which something is told."""

DOUBTFUL = 0.2
"""p up to which it is not said not to be told."""

_FEWEST_FOR_INTERVAL = 5

WHOSE = "whose an update is"
"""``what`` of `whose`."""

RULE = (
    "told: p is at most 0.01 against sites dealt out anew. not told: p is above 0.2, and could "
    "have been 0.01. not known: all else; few sites cannot have a small p. Not told is of this "
    "comparison alone: another one may tell."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One thing that updates may tell.

    Attributes:
        what: Of a sentence.
        value: See ``measure``. ``chance``: what it is by chance.
        measure: What ``value`` is.
        p: Against chance, by permutation; ``least``: the smallest that there could have been.
        lower95, upper95: Of ``value``, with other sites; None where there are too few.
    """

    what: str
    value: float
    chance: float
    measure: str
    p: float
    least: float
    lower95: float | None = None
    upper95: float | None = None

    @property
    def kind(self) -> Kind:
        """By `RULE`."""
        if self.p <= SURE:
            return "told"
        return "not told" if self.p > DOUBTFUL and self.least <= SURE else "not known"

    def as_json(self) -> dict[str, Any]:
        """For a file: all fields, and what follows from them."""
        return {"kind": self.kind, "verdict": str(self), **asdict(self)}

    def __str__(self) -> str:
        """In words."""
        few = ""
        if self.kind != "told" and self.least > SURE:
            few = f"; with so few sites p is at least {self.least:.2g}"
        within = ""
        if self.lower95 is not None and self.upper95 is not None:
            within = f" [{self.lower95:.2f}, {self.upper95:.2f}]"
        return (
            f"{self.what}: {self.kind} ({self.measure} {self.value:.2f}{within}, by chance "
            f"{self.chance:.2f}, p = {self.p:.2g}{few})"
        )


def whose(rounds: Sequence[tuple[Floats, Sequence[int]]], sites: int, *, k: int = 1) -> Told:
    """Whether an update without a name can be given to its site, by those of other rounds.

    Each update goes to the site of the ``k`` nearest updates of the other rounds (cosine).

    Args:
        rounds: Of each, features [N, D] and the number of the site of each.
        sites: How many there are.
        k: Neighbours.

    Raises:
        ValueError: There are fewer than two rounds, or sites.
    """
    if len(rounds) < 2 or sites < 2:
        raise ValueError(
            f"{len(rounds)} round(s) of {sites} site(s): whose an update is can be asked where at "
            "least two sites sent in at least two rounds."
        )
    points = np.concatenate([x for x, _ in rounds])
    owner = np.concatenate([np.asarray(of) for _, of in rounds])
    when = np.concatenate([[number] * len(of) for number, (_, of) in enumerate(rounds)])
    unit = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-30)
    alike = unit @ unit.T
    alike[when[:, None] == when[None]] = -np.inf
    neighbours = np.argsort(-alike, axis=1, kind="stable")[:, :k]

    def share(orders: Sequence[Sequence[int]]) -> float:
        given = np.array([orders[r][o] for r, o in zip(when, owner, strict=True)])
        votes = np.stack([np.bincount(v, minlength=sites) for v in given[neighbours]])
        return float((votes.argmax(1) == given).mean())

    rng = np.random.default_rng(0)
    truth = share([range(sites)] * len(rounds))
    lower, upper = wilson(truth, len(set(owner.tolist())))
    dealt = [share([rng.permutation(sites).tolist() for _ in rounds]) for _ in range(999)]
    p = (1 + sum(value >= truth - 1e-12 for value in dealt)) / 1000
    return Told(
        what=WHOSE,
        value=truth,
        chance=float(np.mean(dealt)),
        measure="share given to their site",
        p=p,
        least=max(0.001, least_p(sites) ** (len(rounds) - 1)),
        lower95=lower,
        upper95=upper,
    )


def attribute(name: str, points: Floats, shares: Floats) -> Told:
    """Whether sites that differ in an attribute have updates that differ, and as much.

    Args:
        name: Of the attribute.
        points: [S, D] of each site.
        shares: [S, C], such as the shares of its classes.

    Raises:
        ValueError: There are fewer than three sites, or all are alike.
    """
    if len(points) < 3:
        raise ValueError(f"{len(points)} site(s) have {name}: at least three can be compared.")
    if np.ptp(shares, axis=0).max() == 0:
        raise ValueError(f"All sites have the same {name}: there is nothing to tell.")
    seen, true = distances(points), distances(shares)

    def told(order: Sequence[int]) -> float:
        return correlation(seen, true[np.ix_(list(order), list(order))])

    lower, upper = _jackknife(seen, true)
    return Told(
        what=f"{name} of a site",
        value=told(range(len(points))),
        chance=0.0,
        measure="correlation of distances",
        p=p_value(told, len(points)),
        least=least_p(len(points)),
        lower95=lower,
        upper95=upper,
    )


def _jackknife(seen: Floats, true: Floats) -> tuple[float | None, float | None]:
    """95 % interval of a correlation of distances, by leaving out one site after the other.

    Pairs share sites, so it is sites that are left out. None of fewer than five.

    Source: Efron & Tibshirani 1993, ch. 11; Student's t with n - 1 degrees of freedom.
    """
    n = len(seen)
    if n < _FEWEST_FOR_INTERVAL:
        return None, None
    without = [np.delete(np.arange(n), k) for k in range(n)]
    values = np.array([correlation(seen[np.ix_(s, s)], true[np.ix_(s, s)]) for s in without])
    half = float(np.sqrt((n - 1) * values.var()) * t.ppf(0.975, n - 1))
    value = correlation(seen, true)
    return max(-1.0, value - half), min(1.0, value + half)


def shares_of(counts: Mapping[str, Mapping[int, int]], sites: Sequence[str]) -> Floats:
    """[S, C] shares of the classes among the images of each site."""
    classes = sorted({c for of in counts.values() for c in of})
    table = np.array([[counts[site].get(c, 0) for c in classes] for site in sites], np.float64)
    return table / table.sum(1, keepdims=True)

"""Bounds from scores of two neighbours, beside the ε that is claimed for what was looked at."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medleak.filters.privacy import accounting
from medleak.filters.privacy.accounting import Event, Guarantee
from medleak.inversion.dp_audit import estimates
from medleak.inversion.dp_audit.curve import with_scaled_noise_by_errors

Floats = NDArray[np.float64]
Kind = Literal["refuted", "not refuted", "out of reach", "heuristic"]
_FOR_THRESHOLD = 0.25  # of the scores: they choose the cut, the others are counted
_ROUNDS = {"repetition": 2}
Claim = Callable[[Sequence[Event], float], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What one look at the releases says.

    Attributes:
        what: Was looked at.
        claimed: ε of the ledger for it; None: a heuristic, which claims nothing.
        clopper_pearson: Lower bound that holds for any mechanism.
        gaussian: Lower bound if the mechanism is Gaussian, as is claimed, with noise of any scale;
            of steps of a sampled Gaussian, if it is such steps. None where neither is claimed.
        most: The larger bound if so many releases had been told apart without an error: what could
            be shown at all.
    """

    what: str
    claimed: float | None
    clopper_pearson: float
    gaussian: float | None
    most: float

    @property
    def epsilon(self) -> float:
        """The larger bound."""
        return max(self.clopper_pearson, self.gaussian or 0.0)

    @property
    def refuted(self) -> bool:
        """Whether what is claimed is less than what was seen."""
        return self.claimed is not None and self.epsilon > self.claimed

    @property
    def out_of_reach(self) -> bool:
        """Whether so few releases could not refute what is claimed, whatever the filter did."""
        return self.claimed is not None and self.most <= self.claimed


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """The outcome for one chain of filters.

    Attributes:
        bounds: One a look.
        delta: Of all ε.
        confidence: With which no bound exceeds the true ε, all looks together.
        releases: Of each neighbour.
        unit: Whose data the claim hides; None: no claim. ``relation``: of the neighbours.
    """

    bounds: tuple[Bound, ...]
    delta: float
    confidence: float
    releases: int
    unit: str | None
    relation: str

    @property
    def kind(self) -> Kind:
        """``not refuted`` is no proof: a better attack might see more.

        ``out of reach``: one of the claims could not have been refuted, so that it was not tried.
        """
        if any(b.refuted for b in self.bounds):
            return "refuted"
        if self.unit is None:
            return "heuristic"
        return "out of reach" if any(b.out_of_reach for b in self.bounds) else "not refuted"

    def __str__(self) -> str:
        """In words."""
        one = [b for b in self.bounds if b.what not in _ROUNDS]
        best = max(one, key=lambda b: b.epsilon)
        said = (
            f"ε is at least {best.epsilon:.3g} at δ = {self.delta:g} ({self.confidence:.0%} "
            f"confidence, {self.releases} releases of each of two updates, by {best.what})"
        )
        if self.unit is None:
            return f"no ε is claimed (heuristic); {said}"
        bad = [b for b in self.bounds if b.refuted]
        if bad:
            worst = max(bad, key=lambda b: b.epsilon - (b.claimed or 0.0))
            return (
                f"REFUTED: the ledger claims ε = {worst.claimed:.3g} for {worst.what}, and it is "
                f"at least {worst.epsilon:.3g} at δ = {self.delta:g} ({self.confidence:.0%} "
                "confidence): something is not as declared"
            )
        if far := [b for b in self.bounds if b.out_of_reach]:
            return (
                f"not known: the ledger claims ε = {far[0].claimed:.3g} for {far[0].what}, and "
                f"{self.releases} releases of each of two updates could not show more than "
                f"{far[0].most:.3g} at δ = {self.delta:g} ({self.confidence:.0%} confidence), "
                "whatever left. Make more, or claim less"
            )
        return f"not refuted: the ledger claims ε = {best.claimed:.3g} a release; {said}"

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return {
            "verdict": str(self),
            "kind": self.kind,
            "delta": self.delta,
            "confidence": self.confidence,
            "releases": self.releases,
            "unit": self.unit,
            "relation": self.relation,
            "bounds": [
                {
                    "what": b.what,
                    "claimed": b.claimed,
                    "clopper_pearson": b.clopper_pearson,
                    "gaussian": b.gaussian,
                    "most": b.most,
                    "refuted": b.refuted,
                    "out_of_reach": b.out_of_reach,
                }
                for b in self.bounds
            ],
        }


def judge(
    scores: Mapping[str, tuple[Floats, Floats]],
    guarantee: Guarantee | None,
    *,
    relation: str,
    delta: float,
    confidence: float = 0.95,
    claim: Claim | None = None,
) -> Tried:
    """Bounds of ε from ``scores``, and whether they refute ``guarantee``.

    Args:
        scores: By what was looked at, scores of the first neighbour and of the second; larger for
            the first. ``repetition`` is of two releases in a row, which cost twice.
        guarantee: Claimed of one release.
        relation: Of the neighbours.
        delta: δ in (0, 1).
        confidence: Of all bounds together (Bonferroni).
        claim: ε of events at δ; None: the ledger's accounting.

    Raises:
        ValueError: There are too few scores, or one is no number.
    """
    claim = claim or accounting.epsilon
    each = 1 - (1 - confidence) / len(scores)
    bounds = []
    for what, (first, second) in scores.items():
        _check(what, first, second)
        events = [] if guarantee is None else [guarantee.event] * _ROUNDS.get(what, 1)
        bounds.append(
            _bound(
                what, first, second, claim(events, delta) if events else None, events, delta, each
            )
        )
    return Tried(
        bounds=tuple(bounds),
        delta=delta,
        confidence=confidence,
        releases=max(len(first) for first, _ in scores.values()),
        unit=None if guarantee is None else guarantee.unit,
        relation=relation,
    )


def _bound(
    what: str,
    first: Floats,
    second: Floats,
    claimed: float | None,
    events: Sequence[Event],
    delta: float,
    confidence: float,
) -> Bound:
    n, m = (max(1, round(_FOR_THRESHOLD * len(s))) for s in (first, second))
    cut = estimates.threshold_of(first[:n], second[:m])
    settings = {"delta": delta, "confidence": confidence}
    told = first[n:], second[m:], cut
    apart = np.ones(len(told[0])), np.zeros(len(told[1])), 0.5
    found = {"clopper_pearson": estimates.clopper_pearson(*told, **settings), "gaussian": None}
    most = estimates.clopper_pearson(*apart, **settings)
    if events and all(e["event"] == "Gaussian" for e in events):
        found["gaussian"] = estimates.gaussian(*told, **settings)
        most = max(most, estimates.gaussian(*apart, **settings))
    elif "Gaussian" in str(events):  # steps of one, sampled or not: by their whole trade-off
        found["gaussian"], best = (
            with_scaled_noise_by_errors(events, *estimates.rates(*t, confidence), delta) or 0.0
            for t in (told, apart)
        )
        most = max(most, best)
    return Bound(what=what, claimed=claimed, most=most, **found)


def _check(what: str, first: Floats, second: Floats) -> None:
    if min(len(first), len(second)) < 40:
        raise ValueError(
            f"There are {min(len(first), len(second))} releases to look at {what}: no bound would "
            "say anything. Make at least 100."
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError(f"A score of {what} is NaN or infinite: nothing can be said of the rest.")

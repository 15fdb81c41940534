"""What a mechanism costs: from a defence to a dp-accounting event, from events to (ε, δ).

An *event* says what happened and is kept for ever; ε is computed from events, and can be computed
again, better, years later (as dp_accounting separates them). ε is always for a stated unit (whose
data is hidden: a ``client``'s or one ``record``'s), relation (exchanged for what) and δ.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from medleak.filters import checks
from medleak.filters.defences.clipped_gaussian import ClippedGaussian, Relation
from medleak.filters.defences.clipped_laplace import ClippedLaplace
from medleak.filters.defences.composition import Composition
from medleak.filters.defences.defence import Defence

if TYPE_CHECKING:  # importing dp_accounting takes a second; filters must stay light
    from dp_accounting import DpEvent

Event = dict[str, Any]
Unit = Literal["client", "record"]
SENSITIVITY: dict[Relation, int] = {"replace": 2, "zero_out": 1}  # in units of max_grad_norm
_EVENTS = ("Gaussian", "Laplace", "PoissonSampled", "SelfComposed", "Composed", "NoOp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantee:
    """What one release costs, whose data that hides, and exchanged for what.

    Relations: ``replace`` (any other data), ``zero_out`` (a zero update), ``add_or_remove``. What
    leaves ``beside`` the mechanism, exactly, is not covered: data sets that differ in it can be
    told apart for certain.
    """

    event: Event
    unit: Unit
    relation: str
    beside: tuple[str, ...] = ()


def guarantee_of(used: Defence) -> Guarantee | None:
    """The guarantee of one round under ``used``; None for a heuristic, whose ε is "none".

    In a :class:`Composition` the first mechanism with a guarantee counts; what follows it is
    post-processing, what precedes it changes only what it clips.
    """
    if isinstance(used, Composition):
        return next((g for g in map(guarantee_of, used.steps) if g is not None), None)
    if not isinstance(used, ClippedGaussian | ClippedLaplace):
        return None
    multiplier = used.noise_multiplier / SENSITIVITY[used.relation]
    kind = "Gaussian" if isinstance(used, ClippedGaussian) else "Laplace"
    event = {"event": kind, "noise_multiplier": multiplier}
    return Guarantee(event=event, unit="client", relation=used.relation)


def gaussian(noise_multiplier: float) -> Event:
    """Gaussian mechanism; ``noise_multiplier`` is standard deviation over *sensitivity*."""
    return {"event": "Gaussian", "noise_multiplier": float(noise_multiplier)}


def dp_sgd(*, noise_multiplier: float, sample_rate: float, steps: int) -> Guarantee:
    """``steps`` steps of DP-SGD with Poisson sampling: hides one record, added or removed.

    Args:
        noise_multiplier: As in Opacus, noise over max_grad_norm, > 0.
        sample_rate: Probability of a record in one batch, in (0, 1]; 1 is the whole site.
        steps: Optimiser steps of this release, >= 1.

    Raises:
        ValueError: A parameter is out of range.
    """
    checks.require_positive("noise_multiplier", noise_multiplier, "without noise, ε is infinite.")
    if isinstance(sample_rate, bool) or not 0 < sample_rate <= 1:
        raise ValueError(
            f"sample_rate must be in (0, 1], got {sample_rate!r}: it is a probability."
        )
    checks.require_whole("steps", steps, 1, 10**9, "it counts the optimiser steps.")
    step: Event = gaussian(noise_multiplier)
    if sample_rate < 1:
        step = {"event": "PoissonSampled", "sampling_probability": sample_rate, "inner": step}
    event = {"event": "SelfComposed", "count": steps, "inner": step}
    beside = (
        "sampling rate",
        "number of steps",
    )  # parameters of the mechanism: ε follows from them
    return Guarantee(event=event, unit="record", relation="add_or_remove", beside=beside)


def to_dp_event(event: Event) -> "DpEvent":
    """The ``dp_accounting.DpEvent`` that ``event`` describes.

    Raises:
        ValueError: An event of unknown kind, or with a number that no mechanism has (an ε of it
            would be too small): a newer ledger, or a damaged one.
    """
    import dp_accounting

    kind = event.get("event")
    if kind not in _EVENTS:
        raise ValueError(f"Unknown privacy event {kind!r}; known are {', '.join(_EVENTS)}.")
    if "noise_multiplier" in event:
        checks.require_positive("noise_multiplier", event["noise_multiplier"], "it is the noise.")
    if kind == "SelfComposed":
        checks.require_whole("count", event["count"], 1, 10**12, "it counts the repetitions.")
        return dp_accounting.SelfComposedDpEvent(to_dp_event(event["inner"]), event["count"])
    if kind == "Composed":
        return dp_accounting.ComposedDpEvent([to_dp_event(e) for e in event["inner"]])
    if kind == "PoissonSampled":
        rate = event["sampling_probability"]
        if isinstance(rate, bool) or not 0 < rate <= 1:
            raise ValueError(f"sampling_probability must be in (0, 1], got {rate!r}.")
        inner = to_dp_event(event["inner"])
        return dp_accounting.PoissonSampledDpEvent(event["sampling_probability"], inner)
    if kind == "NoOp":
        return dp_accounting.NoOpDpEvent()
    named = {"Gaussian": dp_accounting.GaussianDpEvent, "Laplace": dp_accounting.LaplaceDpEvent}
    return named[kind](event["noise_multiplier"])


def epsilon(events: Iterable[Event], delta: float) -> float:
    """ε of all ``events`` together at ``delta``; 0 for none.

    Gaussians alone: exact (Balle & Wang 2018, arXiv:1805.06530v2, Theorem 8, after adding their
    1/z²). Laplace alone: the smaller of the sum of ε and RDP. All else: Rényi accounting
    (dp_accounting, arXiv:2004.00010v4), an upper bound; Opacus' ``accountant="rdp"`` agrees.

    Raises:
        ValueError: ``delta`` is not in (0, 1), or an event is unknown.
    """
    checks.require_fraction("delta", delta, "it is the probability that ε does not hold.")
    flat = _flatten(events)
    kinds = {e["event"] for e, _ in flat}
    if not kinds:
        return 0.0
    if kinds == {"Gaussian"}:
        import dp_accounting

        together = sum(n / e["noise_multiplier"] ** 2 for e, n in flat)
        return float(dp_accounting.get_epsilon_gaussian(1 / math.sqrt(together), delta))
    renyi = _renyi_epsilon(flat, delta)
    if kinds == {"Laplace"}:
        return min(renyi, sum(n / e["noise_multiplier"] for e, n in flat))
    return renyi


def noise_multiplier_for(
    mechanism: Literal["gaussian", "laplace"],
    *,
    target_epsilon: float,
    target_delta: float,
    rounds: int,
    relation: Relation = "replace",
) -> float:
    """The least noise_multiplier with which ``rounds`` rounds stay within the target, to 1e-6.

    Args:
        mechanism: Of :class:`ClippedGaussian` or :class:`ClippedLaplace`.
        target_epsilon: ε > 0 after all rounds.
        target_delta: δ in (0, 1).
        rounds: Number of releases, >= 1.
        relation: As the defence's.
    """
    checks.require_choice("mechanism", mechanism, ("gaussian", "laplace"))
    checks.require_choice("relation", relation, tuple(SENSITIVITY))
    checks.require_whole("rounds", rounds, 1, 10**9, "it counts the releases.")

    def release(multiplier: float) -> Event:
        single = multiplier / SENSITIVITY[relation]
        event = {"event": mechanism.capitalize(), "noise_multiplier": single}
        return {"event": "SelfComposed", "count": rounds, "inner": event}

    return least_noise(release, target_epsilon=target_epsilon, target_delta=target_delta)


def dp_sgd_noise_for(
    *, target_epsilon: float, target_delta: float, sample_rate: float, steps: int
) -> float:
    """The least noise_multiplier, to 0.1 %, with which ``steps`` steps stay within the target.

    ``steps`` counts those of all rounds together; the rest is as for :func:`dp_sgd`.

    Raises:
        ValueError: A parameter is out of range, or no noise up to 1e6 reaches the target.
    """

    def release(multiplier: float) -> Event:
        return dp_sgd(noise_multiplier=multiplier, sample_rate=sample_rate, steps=steps).event

    return least_noise(
        release, target_epsilon=target_epsilon, target_delta=target_delta, within=1e-3
    )


def least_noise(
    release: Callable[[float], Event],
    *,
    target_epsilon: float,
    target_delta: float,
    within: float = 1e-6,
) -> float:
    """The least multiplier, up to ``within`` of itself, whose ``release`` costs no more.

    By :func:`epsilon`, the accounting of the ledger, and from above: a job planned with it ends
    within its limit, not beside it by a rounding error.

    Raises:
        ValueError: A target is out of range, or no multiplier up to 1e6 reaches it.
    """
    checks.require_positive("target_epsilon", target_epsilon, "it is the privacy loss allowed.")
    checks.require_fraction("target_delta", target_delta, "it is the probability of failure.")

    def fits(multiplier: float) -> bool:
        return epsilon([release(multiplier)], target_delta) <= target_epsilon

    low, high = 0.0, 1.0
    while not fits(high):
        low, high = high, high * 2
        if high > 1e6:
            raise ValueError(
                f"No noise reaches target_epsilon={target_epsilon:g} at δ = {target_delta:g}. "
                "Allow more, or train in fewer rounds."
            )
    while high - low > within * high:
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _flatten(events: Iterable[Event]) -> list[tuple[Event, int]]:
    counts: Counter[str] = Counter()
    leaves: dict[str, Event] = {}

    def add(event: Event, times: int) -> None:
        if event["event"] == "SelfComposed":
            add(event["inner"], times * event["count"])
        elif event["event"] == "Composed":
            for inner in event["inner"]:
                add(inner, times)
        elif event["event"] != "NoOp":
            leaves[repr(event)] = event
            counts[repr(event)] += times

    for event in events:
        to_dp_event(event)  # refuse what is unknown before counting it
        add(event, 1)
    return [(leaves[key], times) for key, times in counts.items()]


def _renyi_epsilon(flat: list[tuple[Event, int]], delta: float) -> float:
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant()
    # It warns of every Rényi order that it leaves out; leaving one out only raises ε.
    logger = logging.getLogger("absl")
    level, logger.level = logger.level, logging.ERROR
    try:
        for event, times in flat:
            accountant.compose(to_dp_event(event), times)
        return float(accountant.get_epsilon(delta))
    finally:
        logger.level = level

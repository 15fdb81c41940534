"""Thousands of releases of neighbouring updates through a site's very filters, without training.

Two data sets of a client give two updates; an attacker who knows both, and sees what left, guesses
which it was. What he can see best is measured here: each release becomes a number or two, and how
well these tell the two cases apart bounds ε from below (`medleak.inversion.dp_audit`).

The pair is a mechanism's own worst case: opposite updates (``replace``), or one and none
(``zero_out``), far longer than any clipping bound, in a direction of random signs, as many of one
as of the other in each tensor: noise that several values share does not hide it. Two releases of
one filter in a row are looked at as well, with opposite updates: noise that is used twice cancels
in their difference.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from medleak.filters.doctor.canary import Canary, small
from medleak.filters.privacy import accounting
from medleak.filters.privacy.accounting import Guarantee
from medleak.filters.update import STATISTICS, Update, kinds

if TYPE_CHECKING:
    from medleak.filters.adapters.examination.kit import Chain

_NONE = 1e-6
_DELTA = 1e-5  # at which claims of one chain are ordered
_LENGTH = 100.0  # of the raw updates, over that of the doctor's canary
_PILOT = 5  # a share of one in so many: judges choose their threshold on no fewer
What = Literal["release", "statistics", "entry", "repetition"]
"""What is looked at: all of a release, its statistics alone, the one entry that tells most, or two
releases in a row."""
Along = Mapping[str, tuple[float, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Releases:
    """Scores of many releases of two neighbouring updates.

    Attributes:
        scores: By what was looked at, ([n] of the first update, [n] of the second).
        guarantee: What the chain noted for the ledger, of one release; of several, which hold side
            by side, the strictest. None: a heuristic.
        relation: Of the two updates.
    """

    scores: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
    guarantee: Guarantee | None
    relation: str


class NothingLeft(ValueError):
    """No release left, so that nothing could be looked at."""


def chain_of(text: str) -> "Chain":
    """The NVFlare filters of defences as ``medleak audit --defence`` writes them.

    Raises:
        ValueError: Unknown name or parameter, or a missing or wrong value.
    """
    from medleak.filters import adapters
    from medleak.filters.adapters.examination.kit import Chain
    from medleak.filters.registry import DEFENCES, defence
    from medleak.filters.spec import SpecChain

    defence(text)  # says what is wrong with it
    steps = SpecChain.parse(text).steps
    made = [getattr(adapters, DEFENCES[s.name].__name__)(**s.args) for s in steps]
    return Chain(name=text, data=(adapters.GlobalModel(),), results=made)


def chains_of(kit: Path) -> "Sequence[Chain]":
    """The chains of the startup kit at ``kit``, as its client process would build them.

    Raises:
        ValueError: NVFlare cannot load its policy.
    """
    from medleak.filters.adapters.examination.kit import NotReadable, load_policy

    try:
        return load_policy(kit).chains
    except NotReadable as error:
        raise ValueError(f"{error} Nothing was examined.") from error


def releases(chain: "Chain", count: int, *, task: str = "train", seed: int = 0) -> Releases:
    """Send ``count`` releases of each of two neighbouring updates through ``chain``.

    Args:
        chain: Filters of one scope. Each release meets them as they are after the one before.
        count: Of each update, >= 2, even.
        task: Which they are for.
        seed: Of the direction in which the updates differ; the noise is the filters' own.

    Raises:
        NothingLeft: An update is withheld, with the reason.
    """
    canary = small()
    first, second, relation = _pair(chain, canary, task, seed)
    direction = {n: np.sign(v) for n, v in first.items() if v.dtype.kind == "f"}
    seen: list[list[Along]] = []
    twice: list[list[float]] = []
    noted: Guarantee | None = None
    for update, other in ((first, second), (second, first)):
        alone: list[Along] = []
        differences: list[float] = []
        for k in range(count):
            sent, noted = _send(chain, canary.state, update, task)
            alone.append(_along(sent, direction))
            if k < count // 2:
                sent, _ = _send(chain, canary.state, other, task)
                differences.append(_score(alone[-1]) - _score(_along(sent, direction)))
        seen.append(alone)
        twice.append(differences)
    groups = _groups(direction) | {"entry": [_telling(seen)]}
    scores = {
        what: _arrays([[_score(a, names) for a in of] for of in seen])
        for what, names in groups.items()
        if all(any(n in a for n in names) for of in seen for a in of)
    }
    scores["repetition"] = _arrays(twice)
    return Releases(scores=scores, guarantee=noted, relation=relation)


def _arrays(two: Sequence[Sequence[float]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.array(two[0]), np.array(two[1])


def _pair(chain: "Chain", canary: Canary, task: str, seed: int) -> tuple[Update, Update, str]:
    """Two updates that are neighbours by the relation that the chain's guarantee names."""
    _, noted = _send(chain, canary.state, canary.update, task)
    relation = noted.relation if noted is not None else "replace"
    one = noted is not None and noted.event["event"] == "Laplace"
    rng = np.random.default_rng(seed)
    size = _LENGTH * _rms(canary.update)  # of every value: none uses up more of a bound on the norm
    first: dict[str, Any] = {}
    for name, value in canary.update.items():
        value = np.asarray(value)
        if value.dtype.kind != "f":
            first[name] = value
            continue
        # As many of one sign as of the other, so that noise which values share cancels.
        signs = rng.permutation(np.resize([-1.0, 1.0], value.size)).reshape(value.shape)
        if one:  # a bound on the L1 norm is worst used up by a single value
            signs = np.zeros_like(signs)
            if not any(np.any(v) for n, v in first.items() if v.dtype.kind == "f"):
                signs.flat[0] = 1.0
        first[name] = (size * signs).astype(value.dtype)
    # Filters refuse an update that is all zero: "none" is one of a millionth.
    sign = _NONE if relation == "zero_out" else -1.0
    second = {n: v if v.dtype.kind != "f" else (sign * v).astype(v.dtype) for n, v in first.items()}
    return first, second, relation


def _rms(update: Update) -> float:
    values = [np.asarray(v, dtype=np.float64).ravel() for v in update.values()]
    return float(np.sqrt(np.mean(np.concatenate(values) ** 2)))


def _groups(direction: Update) -> dict[What, list[str]]:
    kind_of = kinds(direction)
    statistics = [n for n in direction if kind_of[n] in STATISTICS]
    found: dict[What, list[str]] = {"release": list(direction)}
    if statistics:
        found["statistics"] = statistics
    return found


def _along(sent: Mapping[str, Any], direction: Update) -> Along:
    """Of each entry that left: its sum along the difference, and how many values differ."""
    return {
        n: (
            float(np.sum(np.asarray(sent[n], dtype=np.float64) * np.asarray(signs))),
            int(np.count_nonzero(signs)),
        )
        for n, signs in direction.items()
        if n in sent
    }


def _score(along: Along, names: Sequence[str] | None = None) -> float:
    """Along the difference; noise of one scale has the deviation of one value's."""
    there = [along[n] for n in (along if names is None else names) if n in along]
    return sum(total for total, _ in there) / math.sqrt(sum(size for _, size in there) or 1)


def _telling(seen: Sequence[Sequence[Along]]) -> str:
    """The entry that tells the updates apart best, by releases that no bound is counted on.

    An entry of few values that leaves bare is lost among the noise of all others.
    """
    pilot = [of[: max(1, len(of) // _PILOT)] for of in seen]

    def apart(name: str) -> float:
        one, other = ([_score(a, [name]) for a in of] for of in pilot)
        return float((np.mean(one) - np.mean(other)) / (np.std(one) + np.std(other) + 1e-12))

    return max(seen[0][0], key=apart)


def _send(
    chain: "Chain", state: Update, update: Update, task: str
) -> tuple[Mapping[str, Any], Guarantee | None]:
    from medleak.filters.adapters.examination.trial import attempt

    outcome = attempt(chain.data, chain.results, state, update, task=task)
    if outcome.refused or outcome.sent is None:
        raise NothingLeft(
            f"An update made up to try {chain.name!r} did not leave: "
            f"{outcome.refused or outcome.kind}. Nothing was examined."
        )
    if not any(n in outcome.sent for n, v in update.items() if np.asarray(v).dtype.kind == "f"):
        raise NothingLeft(f"{chain.name!r} sent nothing of the update. Nothing was examined.")
    noted = [g for g in outcome.guarantees if g is not None]
    return outcome.sent, noted[0] if len(noted) == 1 else min(noted, key=_claimed, default=None)


def _claimed(guarantee: Guarantee) -> float:
    return accounting.epsilon([guarantee.event], _DELTA)


def each_chain(target: str) -> "Iterator[Chain]":
    """The chains that ``target`` names: those of a startup kit, or defences as text.

    Raises:
        ValueError: It is neither.
    """
    kit = Path(target)
    if (kit / "local").is_dir():
        yield from chains_of(kit)
        return
    if kit.exists():
        raise ValueError(
            f"{target!r} is neither a startup kit, which has a folder local/, nor a defence as "
            "name:key=value,…. Name a site's kit, such as …/site-1."
        )
    from medleak.filters.registry import DEFENCES

    try:
        yield chain_of(target)
    except ValueError as error:
        if {step.partition(":")[0] for step in target.split("+")} <= DEFENCES.keys():
            raise
        raise ValueError(
            f"{error} Nor is {target!r} a folder here, as a run or a site's startup kit is."
        ) from error

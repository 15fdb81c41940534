"""What the attackers got of a site under one strength, against what they get of noise alone.

What the strongest of them makes of the update must not be told from what it makes of noise alone:
the very update under the very defence, its entries shuffled (`medleak.inversion.results.replays`).
RDLV itself is no yardstick for it: an attack that is led by its prior ends at RDLV 0 give or take,
so a bound on RDLV is crossed by chance where nothing leaks.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scipy import stats

from medleak.inversion.audit.health import Health, key
from medleak.inversion.membership.files import Answer
from medleak.inversion.results.case import Case
from medleak.inversion.results.found import found_by_losses
from medleak.inversion.results.rows import Row, shortened

InformedAttack = tuple[str, str]
"""An attack and what its attacker knew, as in results.csv."""

Run = tuple[int, int]
"""A round and a seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attacked:
    """What the audit made of some cases: rows, and why a run was refused, by attacker.

    ``answers``: who was in, where that was asked.
    """

    rows: Sequence[Row]
    refused: Mapping[InformedAttack, Mapping[Run, str]] = field(default_factory=dict)
    answers: Sequence[tuple[Case, Answer]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What became of what was wanted.

    Attributes:
        update: The cases on the defended update.
        alone: Those on noise alone.
        health: Of the attacks, by their key.
        contradicted: What in the attacked updates contradicts what was said of them.
    """

    update: Attacked
    alone: Attacked
    health: Mapping[str, Health]
    contradicted: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedStrength:
    """What one strength lets through, by the attacker who gets most of it.

    Attributes:
        strength: Of the defence; `Mechanism.nothing` for none.
        rdlv_mean: Mean over images and runs.
        rdlv_upper95: Upper end of its 95 % interval, see `upper95`.
        alone_mean: Mean of RDLV that the same attacker reached on noise alone.
        excess_upper95: Upper end of the 95 % interval of the excess over it, see `excess95`.
        n: Values of RDLV behind them.
        seeds: Whose noise and starts these were.
        attack: Which attack.
        knowledge: What it knew.
        over: What the interval is over: ``patients``, or ``runs`` of one patient's images.
        above: Images whose own mean RDLV is above 0: a mean can hide them.
        images: Of so many.
        refused: Runs in which an attack found nothing left to match, counted as the prior itself
            (RDLV 0).
        fresh: Whether its seeds had no part in choosing the strength.
        found: Runs in which the attack found something by its own losses
            (`medleak.inversion.results.found`): where RDLV is at most 0 they match no listed image,
            and the strength does not protect.
    """

    strength: float
    rdlv_mean: float
    rdlv_upper95: float
    alone_mean: float
    excess_upper95: float
    n: int
    seeds: tuple[int, ...]
    attack: str
    knowledge: str
    over: str
    above: int
    images: int
    refused: int = 0
    fresh: bool = False
    found: int = 0

    def columns(self) -> Mapping[str, str]:
        """The figures for a table."""
        return {
            "RDLV": f"{self.rdlv_mean:+.3f}",
            "noise alone": f"{self.alone_mean:+.3f}",
            "excess at most (95 %)": f"{self.excess_upper95:+.3f}",
            "over": f"{self.over}, n = {self.n}",
            "above prior": f"{self.above} of {self.images}",
        }

    def at_most(self) -> str:
        """What it may still let through, for a sentence."""
        return (
            f"the mean RDLV may still be {self.excess_upper95:+.3f} above that of noise alone "
            f"({self.attack})"
        )


class NotMeasuredError(Exception):
    """What was wanted gave no figure to judge by."""


def upper95(values: Sequence[tuple[Any, Any, float]]) -> tuple[float, float, str]:
    """Mean RDLV, upper end of its two-sided 95 % interval, and what that is over.

    Student's t over the means of the patients. Where there is one patient there is no sample of
    patients: t over the runs (round and seed), which is about noise and starts alone and says
    nothing of other images. For the few clusters of a site, t is wider than a bootstrap.

    Args:
        values: (patient, run, RDLV), at least two patients or two runs of one.

    Raises:
        ValueError: There is one run of one patient: a single number has no interval.
    """
    clusters, over = _clustered(values)
    return sum(v for _, _, v in values) / len(values), _upper(list(clusters.values())), over


def excess95(
    values: Sequence[tuple[Any, Any, float]], alone: Sequence[tuple[Any, Any, float]]
) -> float:
    """Upper end of the two-sided 95 % interval of what ``values`` have more than ``alone``.

    Pairs, by patient or by run as in `upper95`, share starts and strength of noise. Who is missing
    in ``alone`` got nothing from it: the prior, RDLV 0.

    Args:
        values: (patient, run, RDLV) on the update.
        alone: Likewise on noise alone.

    Raises:
        ValueError: As `upper95`.
    """
    clusters, over = _clustered(values)
    nothing: dict[Any, list[float]] = {}
    for patient, run, value in alone:
        nothing.setdefault(patient if over == "patients" else run, []).append(value)
    means = {name: sum(v) / len(v) for name, v in nothing.items()}
    return _upper([mean - means.get(name, 0.0) for name, mean in clusters.items()])


def _clustered(values: Sequence[tuple[Any, Any, float]]) -> tuple[dict[Any, float], str]:
    """Means of what an interval is over, and what that is."""
    patients = {patient for patient, _, _ in values}
    over = "patients" if len(patients) > 1 else "runs"
    clusters: dict[Any, list[float]] = {}
    for patient, run, value in values:
        clusters.setdefault(patient if over == "patients" else run, []).append(value)
    return {name: sum(c) / len(c) for name, c in clusters.items()}, over


def _upper(means: Sequence[float]) -> float:
    n = len(means)
    if n < 2:
        raise ValueError(
            "One run on one patient has no interval: give at least two --seeds, three are better."
        )
    mean = sum(means) / n
    spread = math.sqrt(sum((m - mean) ** 2 for m in means) / (n - 1))
    return mean + float(stats.t.ppf(0.975, n - 1)) * spread / math.sqrt(n)


def probe_of(
    strength: float,
    seeds: Sequence[int],
    found: Found,
    images: Mapping[InformedAttack, Sequence[tuple[Any, Any]]] | None = None,
    fresh: bool = False,
) -> TriedStrength:
    """What ``strength`` lets through to the attacker with the highest bound.

    Args:
        strength: As it is to be called.
        seeds: Of the cases.
        found: What became of them.
        images: (patient, image) that each attacker was measured on in the undefended update; None:
            this is that update.
        fresh: Whether the seeds had no part in choosing the strength.

    Raises:
        NotMeasuredError: There is no RDLV.
        ValueError: There is one run of one patient.
    """
    probes = []
    update, alone = found.update, found.alone
    bare = images is None
    known = images_of(update.rows) if images is None else images
    for attacker in dict.fromkeys((*map(_informed_attack, update.rows), *update.refused)):
        rows = [r for r in update.rows if _informed_attack(r) == attacker and r.rdlv is not None]
        # It ran on the bare update: what it lacks now, the noise has taken.
        values = _values(update, attacker, {} if bare else known)
        if not values:
            continue
        compared = [(p, run, v) for p, run, _, v in _values(alone, attacker, known)]
        told = _told(update, attacker, values, compared)
        mean, upper, over = upper95([(patient, run, v) for patient, run, _, v in values])
        own: dict[Any, list[float]] = {}
        for _, _, image, value in values:
            own.setdefault(image, []).append(value)
        probes.append(
            TriedStrength(
                strength=strength,
                rdlv_mean=shortened(mean),
                rdlv_upper95=shortened(upper),
                alone_mean=shortened(sum(v for _, _, v in compared) / max(1, len(compared))),
                excess_upper95=shortened(excess95(told, compared)),
                n=len(values),
                seeds=tuple(seeds),
                attack=attacker[0],
                knowledge=attacker[1],
                over=over,
                above=sum(sum(v) > 0 for v in own.values()),
                images=len(own),
                refused=0 if bare else len(update.refused.get(attacker, ())),
                fresh=fresh,
                found=_found_runs(rows, found.health.get(key(*attacker))),
            )
        )
    if not probes:
        reasons = [why for whys in update.refused.values() for why in whys.values()]
        raise NotMeasuredError(
            reasons[0]
            if reasons
            else "there is no truth to compare with, or the prior has "
            "nothing in common with it, so there is no RDLV"
        )
    return max(probes, key=lambda p: (p.found > 0, p.excess_upper95))


def _told(
    update: Attacked,
    attacker: InformedAttack,
    values: Sequence[tuple[Any, Run, Any, float]],
    alone: Sequence[tuple[Any, Run, float]],
) -> list[tuple[Any, Run, float]]:
    """(patient, run, RDLV) of which a refused run is as good as noise alone: nothing was left."""
    nothing: dict[tuple[Any, Run], list[float]] = {}
    for patient, run, value in alone:
        nothing.setdefault((patient, run), []).append(value)
    refused = update.refused.get(attacker, {})
    return [
        (patient, run, value)
        if run not in refused
        else (patient, run, sum(same) / len(same) if (same := nothing.get((patient, run))) else 0.0)
        for patient, run, _, value in values
    ]


def _values(
    attacked: Attacked,
    attacker: InformedAttack,
    images: Mapping[InformedAttack, Sequence[tuple[Any, Any]]],
) -> list[tuple[Any, Run, Any, float]]:
    """(patient, run, image, RDLV) of an attacker; refused runs left ``images`` at the prior, 0."""
    rows = (r for r in attacked.rows if _informed_attack(r) == attacker and r.rdlv is not None)
    values = [(r.patient, (r.round, r.seed), r.truth_image, r.rdlv or 0.0) for r in rows]
    return values + [
        (patient, run, image, 0.0)
        for run in attacked.refused.get(attacker, ())
        for patient, image in images.get(attacker, ())
    ]


def _found_runs(rows: Sequence[Row], health: Health | None) -> int:
    """Runs whose attack explained the update as well as it did the easy case."""
    easy = None if health is None else dataclasses.asdict(health)
    return len({row.case for row in rows if found_by_losses(row, easy)})


def _informed_attack(row: Row) -> InformedAttack:
    return row.attack, row.knowledge


def images_of(rows: Sequence[Row]) -> dict[InformedAttack, list[tuple[Any, Any]]]:
    """(patient, image) that each attacker was measured on, each once."""
    found: dict[InformedAttack, dict[tuple[Any, Any], None]] = {}
    for row in rows:
        if row.rdlv is not None:
            found.setdefault(_informed_attack(row), {})[row.patient, row.truth_image] = None
    return {attacker: list(pairs) for attacker, pairs in found.items()}

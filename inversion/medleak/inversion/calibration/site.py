"""How much of a defence is enough for each site: the least strength at which nothing leaks.

Nothing leaks, here, means: under the strongest of the attackers tried (an attack and what it
knows), the upper end of the 95 % interval of the mean RDLV is not above 0 (or a stated margin).
Every probe is a handful of cases of an ordinary audit, kept in its directory, so a calibration can
be stopped, goes on where it was, and can be checked line by line in results.csv.
"""

import dataclasses
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from medleak.inversion.audit.health import Health, key
from medleak.inversion.calibration.search import Mechanism, least_protecting, stronger
from medleak.inversion.results.case import NO_DEFENCE
from medleak.inversion.results.found import found_by_losses
from medleak.inversion.results.rows import Row, shortened

FRESH = 1000
"""Seeds of a confirmation: those of the search plus so much, twice so much, …"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Cases that a site's search asks for: one strength (None: no defence), some seeds."""

    site: str
    strength: float | None
    seeds: tuple[int, ...]

    def defence(self, mechanism: Mechanism) -> str:
        """As an audit names it."""
        return NO_DEFENCE if self.strength is None else mechanism.text(self.strength)


InformedAttack = tuple[str, str]
"""An attack and what its attacker knew, as in results.csv."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the audit made of what was wanted: rows, and why cases were refused, by attacker.

    ``contradicted``: what in the attacked updates contradicts what was said of them.
    """

    rows: Sequence[Row]
    refused: Mapping[InformedAttack, Sequence[str]]
    health: Mapping[str, Health]
    contradicted: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedStrength:
    """What one strength lets through, by the attacker who gets most of it.

    Attributes:
        strength: Of the defence; `Mechanism.nothing` for none.
        rdlv_mean: Mean over images and runs.
        rdlv_upper95: Upper end of its 95 % interval, see `upper95`.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The answer for one site; without a strength, ``why`` says what stood in the way."""

    site: str
    strength: float | None
    why: str
    searched: tuple[TriedStrength, ...]


class NotMeasuredError(Exception):
    """What was wanted gave no RDLV to judge by."""


def search_site(
    site: str,
    mechanism: Mechanism,
    seeds: Sequence[int],
    *,
    tolerance: float = 1.25,
    margin: float = 0.0,
) -> Generator[Wanted, Found, Calibration]:
    """Ask for cases, be sent what came of them, and return the answer for ``site``.

    Args:
        site: Which one.
        mechanism: The defence and the range.
        seeds: At least two, of the search; a confirmation takes as many fresh ones.
        tolerance: See `medleak.inversion.calibration.search.least_protecting`.
        margin: RDLV up to which nothing counts as leaking.
    """
    searched: list[TriedStrength] = []
    found = yield Wanted(site=site, strength=None, seeds=tuple(seeds))
    try:
        bare = _probe(mechanism.nothing, seeds, found)
    except NotMeasuredError as error:
        return Calibration(site=site, strength=None, why=f"inconclusive: {error}", searched=())
    searched.append(bare)
    if why := _no_baseline(bare, found, margin):
        return Calibration(site=site, strength=None, why=why, searched=(bare,))
    images = _images(found.rows)

    def probe(strength: float, used: Sequence[int], fresh: bool) -> Generator[Wanted, Found, bool]:
        found = yield Wanted(site=site, strength=strength, seeds=tuple(used))
        searched.append(_probe(strength, used, found, images, fresh))
        return searched[-1].rdlv_upper95 <= margin and not searched[-1].found

    whole = mechanism.whole
    candidates = least_protecting(mechanism.weak, mechanism.strong, tolerance, whole=whole)
    try:
        strength = next(candidates)
        while True:
            protects = yield from probe(strength, seeds, False)
            strength = candidates.send(protects)
    except StopIteration as end:
        least: float | None = end.value
    if least is None:
        return _none_in_range(site, mechanism, searched)
    attempt = 1
    while not (yield from probe(least, [s + attempt * FRESH for s in seeds], True)):
        if least == mechanism.strong:
            return _none_in_range(site, mechanism, searched)
        least = stronger(least, mechanism.strong, tolerance, whole=whole)
        attempt += 1
    why = _confirmed(searched[-1], attempt, at_end=least == mechanism.weak)
    return Calibration(site=site, strength=least, why=why, searched=tuple(searched))


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
    patients = {patient for patient, _, _ in values}
    over = "patients" if len(patients) > 1 else "runs"
    clusters: dict[Any, list[float]] = {}
    for patient, run, value in values:
        clusters.setdefault(patient if over == "patients" else run, []).append(value)
    means = [sum(c) / len(c) for c in clusters.values()]
    n = len(means)
    if n < 2:
        raise ValueError(
            "One run on one patient has no interval: give at least two --seeds, three are better."
        )
    mean = sum(means) / n
    spread = math.sqrt(sum((m - mean) ** 2 for m in means) / (n - 1))
    half = float(stats.t.ppf(0.975, n - 1)) * spread / math.sqrt(n)
    return sum(v for _, _, v in values) / len(values), mean + half, over


def _probe(
    strength: float,
    seeds: Sequence[int],
    found: Found,
    images: Mapping[InformedAttack, Sequence[tuple[Any, Any]]] | None = None,
    fresh: bool = False,
) -> TriedStrength:
    """The attacker with the highest bound. ``images`` are those of the undefended update."""
    probes = []
    for attacker in dict.fromkeys((*map(_informed_attack, found.rows), *found.refused)):
        rows = [r for r in found.rows if _informed_attack(r) == attacker and r.rdlv is not None]
        values = [(r.patient, (r.round, r.seed), r.truth_image, r.rdlv or 0.0) for r in rows]
        refused = found.refused.get(attacker, ())
        if images is not None:  # it ran on the bare update: what it lacks now, the noise has taken
            values += [
                (patient, ("refused", k), image, 0.0)
                for k in range(len(refused))
                for patient, image in images.get(attacker, ())
            ]
        if not values:
            continue
        mean, upper, over = upper95([(patient, run, v) for patient, run, _, v in values])
        own: dict[Any, list[float]] = {}
        for _, _, image, value in values:
            own.setdefault(image, []).append(value)
        probes.append(
            TriedStrength(
                strength=strength,
                rdlv_mean=shortened(mean),
                rdlv_upper95=shortened(upper),
                n=len(values),
                seeds=tuple(seeds),
                attack=attacker[0],
                knowledge=attacker[1],
                over=over,
                above=sum(sum(v) > 0 for v in own.values()),
                images=len(own),
                refused=0 if images is None else len(refused),
                fresh=fresh,
                found=_found_runs(rows, found.health.get(key(*attacker))),
            )
        )
    if not probes:
        reasons = [why for whys in found.refused.values() for why in whys]
        raise NotMeasuredError(
            reasons[0]
            if reasons
            else "there is no truth to compare with, or the prior has "
            "nothing in common with it, so there is no RDLV"
        )
    return max(probes, key=lambda p: (p.found > 0, p.rdlv_upper95))


def _found_runs(rows: Sequence[Row], health: Health | None) -> int:
    """Runs whose attack explained the update as well as it did the easy case."""
    easy = None if health is None else dataclasses.asdict(health)
    return len({row.case for row in rows if found_by_losses(row, easy)})


def _informed_attack(row: Row) -> InformedAttack:
    return row.attack, row.knowledge


def _images(rows: Sequence[Row]) -> dict[InformedAttack, list[tuple[Any, Any]]]:
    found: dict[InformedAttack, dict[tuple[Any, Any], None]] = {}
    for row in rows:
        if row.rdlv is not None:
            found.setdefault(_informed_attack(row), {})[row.patient, row.truth_image] = None
    return {attacker: list(pairs) for attacker, pairs in found.items()}


def _no_baseline(bare: TriedStrength, found: Found, margin: float) -> str:
    """Why nothing can be concluded from this site's undefended update; empty if it can."""
    if found.contradicted:
        return (
            f"inconclusive: the update contradicts what was said of it ({found.contradicted[0]}), "
            "so an attack that was told so would prove nothing by its failure under a defence"
        )
    if not any(h.reached for h in found.health.values()):
        whys = (h.why for h in found.health.values() if h.why)
        why = next(whys, "its easy case was not inverted")
        return (
            f"inconclusive: no attack is in working order here ({why}), so its failure under a "
            "defence would prove nothing"
        )
    if bare.rdlv_upper95 <= margin and bare.found:
        return (
            "inconclusive: by its own losses the attack found images in the undefended update, and "
            "they match no listed one; name the list that the site trained with"
        )
    if bare.rdlv_upper95 <= margin:
        return (
            "no strength: even the undefended update gives these attacks nothing (RDLV "
            f"{bare.rdlv_mean:+.3f}, at most {bare.rdlv_upper95:+.3f}), so no strength can be seen "
            "to protect; a stronger attack may find more"
        )
    return ""


def _none_in_range(
    site: str, mechanism: Mechanism, searched: Sequence[TriedStrength]
) -> Calibration:
    last = max(searched[1:], key=lambda p: p.strength / mechanism.weak * _sign(mechanism))
    why = (
        f"none in range: at {mechanism.parameter}={last.strength:g} the mean RDLV may still be "
        f"{last.rdlv_upper95:+.3f} ({last.attack}). Search further, or choose another defence"
    )
    return Calibration(site=site, strength=None, why=why, searched=tuple(searched))


def _confirmed(last: TriedStrength, attempts: int, *, at_end: bool) -> str:
    runs = f"{len(last.seeds)} fresh seeds: RDLV {last.rdlv_mean:+.3f}, at most"
    text = f"confirmed with {runs} {last.rdlv_upper95:+.3f} (95 %, over {last.over})"
    if attempts > 1:
        text += f"; fresh seeds refuted {attempts - 1} weaker strength(s) that the search had found"
    if at_end:
        text += "; the weakest of the range, a weaker one may do"
    if last.above:
        text += f"; {last.above} of {last.images} images are still nearer than the prior"
    if last.refused:
        text += f"; in {last.refused} runs the attack found nothing left to match"
    return text


def _sign(mechanism: Mechanism) -> int:
    return 1 if mechanism.strong >= mechanism.weak else -1


def as_json(calibration: Calibration, mechanism: Mechanism) -> dict[str, Any]:
    """The entry of calibration.json for one site, but for policy and utility."""
    return {
        "defence": mechanism.fixed,
        "parameter": mechanism.parameter,
        "strength": calibration.strength,
        "why": calibration.why,
        "searched": [dataclasses.asdict(p) for p in calibration.searched],
    }


DoCases = Callable[[Sequence[Wanted]], Sequence[Found]]
"""Does several sites' cases in one go."""


def search_all(
    searches: Mapping[str, Generator[Wanted, Found, Calibration]], run: DoCases
) -> Generator[Calibration]:
    """Take the sites' searches step by step together, so that cases can run side by side."""
    wanted = {site: next(search) for site, search in searches.items()}
    while wanted:
        sites = list(wanted)
        for site, found in zip(sites, run([wanted[s] for s in sites]), strict=True):
            try:
                wanted[site] = searches[site].send(found)
            except StopIteration as end:
                del wanted[site]
                yield end.value

"""How much of a defence is enough for each site: the least strength at which nothing leaks.

Nothing leaks, here, means: what the strongest of the attackers tried (an attack and what it knows)
makes of the update cannot be told from what it makes of noise alone. That is a test of equivalence,
as an absence is never shown by a difference that was not found: the upper end of the 95 % interval
of the mean excess in RDLV has to stay below a stated margin (Schuirmann 1987, the side that
matters; `medleak.inversion.calibration.probe`).
Every probe is a handful of cases of an ordinary audit, kept in its directory, so a calibration can
be stopped, goes on where it was, and can be checked line by line in results.csv.
"""

import dataclasses
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medleak.inversion.calibration.probe import (
    Found,
    NotMeasuredError,
    TriedStrength,
    images_of,
    probe_of,
)
from medleak.inversion.calibration.search import Mechanism, least_protecting, stronger
from medleak.inversion.results.case import NO_DEFENCE
from medleak.inversion.results.replays import NOISE_ALONE

MARGIN = 0.05
"""Excess in RDLV that counts as none: a twentieth of what everybody's guess has in common with the
image already, a gain of 0.02 to 0.03 in SSIM."""

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

    def alone(self, mechanism: Mechanism) -> str:
        """The same with nothing but noise left in the update."""
        text = self.defence(mechanism)
        return NOISE_ALONE if text == NO_DEFENCE else f"{text}+{NOISE_ALONE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The answer for one site; without a strength, ``why`` says what stood in the way."""

    site: str
    strength: float | None
    why: str
    searched: tuple[TriedStrength, ...]


def search_site(
    site: str,
    mechanism: Mechanism,
    seeds: Sequence[int],
    *,
    tolerance: float = 1.25,
    margin: float = MARGIN,
) -> Generator[Wanted, Found, Calibration]:
    """Ask for cases, be sent what came of them, and return the answer for ``site``.

    Args:
        site: Which one.
        mechanism: The defence and the range.
        seeds: At least two, of the search; a confirmation takes as many fresh ones.
        tolerance: See `medleak.inversion.calibration.search.least_protecting`.
        margin: Excess in RDLV over noise alone up to which nothing counts as leaking.
    """
    searched: list[TriedStrength] = []
    found = yield Wanted(site=site, strength=None, seeds=tuple(seeds))
    try:
        bare = probe_of(mechanism.nothing, seeds, found)
    except NotMeasuredError as error:
        return Calibration(site=site, strength=None, why=f"inconclusive: {error}", searched=())
    searched.append(bare)
    if why := _no_baseline(bare, found, margin):
        return Calibration(site=site, strength=None, why=why, searched=(bare,))
    images = images_of(found.update.rows)

    def probe(strength: float, used: Sequence[int], fresh: bool) -> Generator[Wanted, Found, bool]:
        found = yield Wanted(site=site, strength=strength, seeds=tuple(used))
        searched.append(probe_of(strength, used, found, images, fresh))
        return searched[-1].excess_upper95 <= margin and not searched[-1].found

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
    why = _confirmed(searched[-1], attempt, margin, at_end=least == mechanism.weak)
    return Calibration(site=site, strength=least, why=why, searched=tuple(searched))


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
    if bare.excess_upper95 <= margin and bare.found:
        return (
            "inconclusive: by its own losses the attack found images in the undefended update, and "
            "they match no listed one; name the list that the site trained with"
        )
    if bare.excess_upper95 <= margin:
        return (
            "no strength: even the undefended update gives these attacks nothing (RDLV "
            f"{bare.rdlv_mean:+.3f}, above that of noise alone by at most "
            f"{bare.excess_upper95:+.3f}), so no strength can be seen to protect; a stronger "
            "attack may find more"
        )
    return ""


def _none_in_range(
    site: str, mechanism: Mechanism, searched: Sequence[TriedStrength]
) -> Calibration:
    last = max(searched[1:], key=lambda p: p.strength / mechanism.weak * _sign(mechanism))
    why = (
        f"none in range: at {mechanism.parameter}={last.strength:g} the mean RDLV may still be "
        f"{last.excess_upper95:+.3f} above that of noise alone ({last.attack}). Search further, or "
        "choose another defence"
    )
    return Calibration(site=site, strength=None, why=why, searched=tuple(searched))


def _confirmed(last: TriedStrength, attempts: int, margin: float, *, at_end: bool) -> str:
    text = (
        f"confirmed with {len(last.seeds)} fresh seeds: RDLV {last.rdlv_mean:+.3f}, above that of "
        f"noise alone by at most {last.excess_upper95:+.3f} (95 %, over {last.over}; margin "
        f"{margin:g})"
    )
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

"""How much of a defence is enough for each site: the least strength at which nothing leaks.

Nothing leaks, here, means: what the strongest of the attackers tried (an attack and what it knows)
makes of the update cannot be told from what it makes of noise alone. That is a test of equivalence,
as an absence is never shown by a difference that was not found: the upper end of the 95 % interval
of the mean excess in RDLV has to stay below a stated margin (Schuirmann 1987, the side that
matters; `medleak.inversion.calibration.probe`).
That is the usual goal; another is that nobody is told to have been in it
(`medleak.inversion.calibration.goal`, `medleak.inversion.calibration.members`).
Every probe is a handful of cases of an ordinary audit, kept in its directory, so a calibration can
be stopped, goes on where it was, and can be checked line by line in results.csv.
"""

import dataclasses
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medleak.inversion.calibration.goal import Goal, Tried, TriedT
from medleak.inversion.calibration.probe import Found, NotMeasuredError
from medleak.inversion.calibration.search import Mechanism, least_protecting, stronger
from medleak.inversion.results.case import NO_DEFENCE
from medleak.inversion.results.replays import NOISE_ALONE

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
    searched: tuple[Tried, ...]


def search_site(
    site: str,
    mechanism: Mechanism,
    seeds: Sequence[int],
    goal: Goal[TriedT],
    *,
    tolerance: float = 1.25,
) -> Generator[Wanted, Found, Calibration]:
    """Ask for cases, be sent what came of them, and return the answer for ``site``.

    Args:
        site: Which one.
        mechanism: The defence and the range.
        seeds: At least two, of the search; a confirmation takes as many fresh ones.
        goal: What must not happen any more.
        tolerance: See `medleak.inversion.calibration.search.least_protecting`.
    """
    searched: list[TriedT] = []
    bare = yield Wanted(site=site, strength=None, seeds=tuple(seeds))
    try:
        first = goal.tried(mechanism.nothing, seeds, bare, None)
    except NotMeasuredError as error:
        return Calibration(site=site, strength=None, why=f"inconclusive: {error}", searched=())
    searched.append(first)
    if why := goal.no_baseline(first, bare):
        return Calibration(site=site, strength=None, why=why, searched=(first,))

    def probe(strength: float, used: Sequence[int], fresh: bool) -> Generator[Wanted, Found, bool]:
        found = yield Wanted(site=site, strength=strength, seeds=tuple(used))
        searched.append(goal.tried(strength, used, found, bare, fresh=fresh))
        return goal.holds(searched[-1])

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
    said = goal.confirmed(searched[-1])
    why = _confirmed(said, len(seeds), attempt, at_end=least == mechanism.weak)
    return Calibration(site=site, strength=least, why=why, searched=tuple(searched))


def _none_in_range(site: str, mechanism: Mechanism, searched: Sequence[Tried]) -> Calibration:
    last = max(searched[1:], key=lambda p: p.strength / mechanism.weak * _sign(mechanism))
    why = (
        f"none in range: at {mechanism.parameter}={last.strength:g} {last.at_most()}. Search "
        "further, or choose another defence"
    )
    return Calibration(site=site, strength=None, why=why, searched=tuple(searched))


def _confirmed(said: tuple[str, str], seeds: int, attempts: int, *, at_end: bool) -> str:
    text = f"confirmed with {seeds} fresh seeds: {said[0]}"
    if attempts > 1:
        text += f"; fresh seeds refuted {attempts - 1} weaker strength(s) that the search had found"
    if at_end:
        text += "; the weakest of the range, a weaker one may do"
    return text + said[1]


def _sign(mechanism: Mechanism) -> int:
    return 1 if mechanism.strong >= mechanism.weak else -1


def as_json(calibration: Calibration, mechanism: Mechanism) -> dict[str, Any]:
    """The entry of calibration.json for one site, but for policy and utility."""
    return {
        "defence": mechanism.fixed,
        "parameter": mechanism.parameter,
        "strength": calibration.strength,
        "why": calibration.why,
        "searched": [_plain(p) for p in calibration.searched],
    }


def _plain(tried: Tried) -> dict[str, Any]:
    assert dataclasses.is_dataclass(tried)  # noqa: S101  as `Tried` says
    return dataclasses.asdict(tried)


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

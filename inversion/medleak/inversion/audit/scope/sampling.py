"""A sample of a large record's updates, by a stated design; and what it says of the others.

Sites are put in strata by the size that they declare, as small sites leak most; from each stratum a
share of the sites is drawn at random, at least one. Of a drawn site, rounds are drawn at random,
one from each of as many equal parts of the run, so that early and late ones are among them.
Everything follows from the seed, the names and the sizes.

What was not drawn was not looked at: nothing is known of it. The only thing that is said of all
sites together is `at_most`.
"""

import hashlib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom

from medleak.custom.record import natural_key
from medleak.filters.spec import Spec
from medleak.inversion.attacks.registry import settings_of

CONFIDENCE = 0.95

_MOST_SITES = 5000  # of all strata: a file may say anything, and what it costs grows with them

Update = tuple[int, str]
"""(round, site)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """How updates are drawn.

    Attributes:
        sites: So many of them; None: all.
        rounds: So many of each drawn site; None: all that it has.
        strata: Parts by size, as equal in number as can be; sites of unknown size are one more.
        seed: Another one draws others.
    """

    sites: int | None = None
    rounds: int | None = None
    strata: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a design that draws nothing, or everything."""
        for name in ("sites", "rounds", "strata"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"--sample {name}={value}: at least one is needed.")
        if self.sites is None and self.rounds is None:
            raise ValueError("--sample draws sites, rounds or both: give sites=20,rounds=5, say.")

    @classmethod
    def parse(cls, text: str) -> "Design":
        """Read ``sites=20,rounds=5,strata=3,seed=0``, in any order and any of them.

        Raises:
            ValueError: It is none.
        """
        return settings_of(cls, Spec.parse(f"sample:{text}").args, "--sample")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """Sites of like size: ``sizes`` of the least and the largest, None where they are not known."""

    sizes: tuple[int, int] | None
    sites: tuple[str, ...]
    drawn: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What was drawn from the updates that there are."""

    design: Design
    strata: Sequence[Stratum]
    updates: frozenset[Update]

    def as_json(self, recorded: Sequence[Update]) -> dict[str, Any]:
        """For config.json: the design, the strata, and how many updates of each site are left."""
        return {
            "design": asdict(self.design),
            "strata": [
                {"sizes": s.sizes and list(s.sizes), "sites": len(s.sites), "drawn": list(s.drawn)}
                for s in self.strata
            ],
            "not_examined": not_examined(recorded, self.updates),
        }


def draw(
    updates: Sequence[Update], size_of: Callable[[int, str], int | None], design: Design
) -> Sample:
    """Draw from ``updates``.

    Args:
        updates: All that could be attacked.
        size_of: Images of a site, by one of its updates; None: not known.
        design: How.

    Raises:
        ValueError: Fewer sites are to be drawn than there are strata.
    """
    rounds: dict[str, list[int]] = {}
    for round, site in sorted(updates):
        rounds.setdefault(site, []).append(round)
    sizes = {site: size_of(of[0], site) for site, of in rounds.items()}
    parts = _strata(sizes, design.strata)
    wanted = len(rounds) if design.sites is None else min(design.sites, len(rounds))
    strata = []
    for sites, n in zip(parts, _shares([len(p) for p in parts], wanted), strict=True):
        drawn = sorted(sites, key=lambda site: _lot(design.seed, site))[:n]
        known = [size for site in sites if (size := sizes[site]) is not None]
        strata.append(
            Stratum(
                sizes=(min(known), max(known)) if known else None,
                sites=tuple(sites),
                drawn=tuple(sorted(drawn, key=natural_key)),
            )
        )
    chosen = {
        (round, site)
        for stratum in strata
        for site in stratum.drawn
        for round in _rounds(rounds[site], site, design)
    }
    return Sample(design=design, strata=strata, updates=frozenset(chosen))


def not_examined(recorded: Sequence[Update], examined: Collection[Update]) -> dict[str, int]:
    """How many recorded updates of each site are not among the examined ones; none left out."""
    found: dict[str, int] = {}
    for round, site in recorded:
        found[site] = found.get(site, 0) + ((round, site) not in examined)
    return {site: n for site, n in sorted(found.items(), key=lambda i: natural_key(i[0])) if n}


def at_most(strata: Sequence[Mapping[str, Any]], clear: Collection[str]) -> int | None:
    """An upper bound, at 95 % confidence, of the sites that would leak or stay in doubt.

    That is, of all sites of the record, if each were looked at as the drawn ones were: at as many
    drawn rounds, by the same attacks. It is the largest number under which as few doubtful sites as
    were seen, or fewer, are drawn with a probability above 0.05, however the doubtful ones are
    spread over the strata (hypergeometric; on the safe side, see `_chances`).

    Args:
        strata: Of `Sample.as_json`, from a file.
        clear: Sites of which nothing was found to come back, nor who was in; any other drawn one is
            doubtful.

    Returns:
        None where the file does not say enough.
    """
    parts, found = [], 0
    for stratum in strata:
        population, drawn = stratum.get("sites"), stratum.get("drawn")
        if not isinstance(population, int) or not isinstance(drawn, list):
            return None
        names = {site for site in drawn if isinstance(site, str)}
        if not 0 < len(names) <= population:
            return None
        parts.append((population, len(names)))
        found += len(names - set(clear))
    if not 0 < sum(population for population, _ in parts) <= _MOST_SITES:
        return None
    possible = np.flatnonzero(_chances(parts, found) > 1 - CONFIDENCE - 1e-9)
    passed = sum(drawn for _, drawn in parts) - found
    return min(int(possible.max()), sum(population for population, _ in parts) - passed)


def _chances(strata: Sequence[tuple[int, int]], found: int) -> NDArray[np.float64]:
    """Of each number of doubtful sites, the chance to draw ``found`` of them or fewer, at most.

    Stratum by stratum, the best chance of every smaller number drawn is kept over all ways to
    spread the doubtful sites. It may be that no single way is the best for all of these, so what
    comes out can be too large, and the bound with it, but never too small.

    Args:
        strata: Sites of each, and how many were drawn.
        found: Doubtful ones among the drawn.
    """
    best = np.ones((1, found + 1))  # [doubtful sites so far, at most so many drawn]
    for population, drawn in strata:
        counts = np.arange(population + 1)
        chance = hypergeom.pmf(np.arange(found + 1), population, counts[:, None], drawn)
        merged = np.zeros((len(best) + population, found + 1))
        for count in counts:
            sums = np.zeros_like(best)
            for k in range(found + 1):
                sums[:, k:] += chance[count, k] * best[:, : found + 1 - k]
            rows = slice(count, count + len(best))
            merged[rows] = np.maximum(merged[rows], sums)
        best = merged
    return best[:, found]


def in_words(sample: Mapping[str, Any], clear: Collection[str]) -> list[str]:
    """What a sample leaves unknown, and what it says of all sites; clauses without a full stop.

    Args:
        sample: As of `Sample.as_json`, from a file that a stranger may have written.
        clear: See `at_most`.
    """
    left, strata = sample.get("not_examined"), sample.get("strata")
    strata = [s for s in strata if isinstance(s, Mapping)] if isinstance(strata, list) else []
    if not isinstance(left, Mapping) or not left:
        return []
    drawn = {site for s in strata for site in s.get("drawn") or () if isinstance(site, str)}
    counts = {str(site): n for site, n in left.items() if isinstance(n, int)}
    others = [site for site in counts if site not in drawn]
    rounds = sum(n for site, n in counts.items() if site in drawn)
    said = []
    if others:
        n, verb = len(others), "was" if len(others) == 1 else "were"
        said.append(f"{n} {'site' if n == 1 else 'sites'} {verb} not drawn and not looked at")
    if rounds:
        said.append(f"{rounds} updates of the drawn sites were not looked at")
    if (most := at_most(strata, clear)) is not None:
        total = sum(s["sites"] for s in strata)
        said.append(
            f"if each of the {total} sites were looked at as those {len(drawn)} were, at most "
            f"{most} would be found to leak or stay unknown (95 % confidence, hypergeometric, "
            f"{len(strata)} strata)"
        )
    return said


def clear_sites(summary: Mapping[str, Any]) -> set[str]:
    """Sites of summary.json of which all was attacked and no group leaks or is in doubt.

    Nor can it be told of them who was in, where that was asked.
    """
    groups: dict[str, list[object]] = {}
    for group in summary["sites"]:
        groups.setdefault(group["site"], []).append(group["verdict_kind"])
    troubled = {r["case"]["site"] for r in summary["refused"]}
    troubled |= {case["site"] for case in summary["left"]}
    troubled |= {s["case"]["site"] for s in summary.get("settled", ())}
    members = summary.get("membership", ())
    troubled |= {asked["site"] for asked in members if asked.get("verdict_kind") == "leaks"}
    return {s for s, kinds in groups.items() if set(kinds) == {"no_leak_found"}} - troubled


def _strata(sizes: Mapping[str, int | None], n: int) -> list[list[str]]:
    known = sorted(
        (site for site, size in sizes.items() if size is not None),
        key=lambda site: (sizes[site] or 0, natural_key(site)),
    )
    n = min(n, len(known))
    parts = [known[k * len(known) // n : (k + 1) * len(known) // n] for k in range(n)]
    unknown = sorted((s for s, size in sizes.items() if size is None), key=natural_key)
    return parts + ([unknown] if unknown else [])


def _shares(counts: Sequence[int], wanted: int) -> list[int]:
    """``wanted`` parted over strata of these sizes: one each, the rest in proportion."""
    if wanted < len(counts):
        raise ValueError(
            f"--sample draws {wanted} sites from {len(counts)} strata, and of each stratum at "
            "least one is needed. Draw more sites, or give fewer strata."
        )
    total = sum(counts)
    shares = [max(1, math.floor(wanted * count / total)) for count in counts]
    while sum(shares) > wanted:
        shares[max(range(len(shares)), key=lambda k: (shares[k], -k))] -= 1
    while sum(shares) < wanted:
        behind = [
            wanted * c / total - s if s < c else -math.inf
            for c, s in zip(counts, shares, strict=True)
        ]
        shares[max(range(len(behind)), key=lambda k: (behind[k], -k))] += 1
    return shares


def _rounds(recorded: Sequence[int], site: str, design: Design) -> list[int]:
    n = len(recorded) if design.rounds is None else min(design.rounds, len(recorded))
    parts = (recorded[k * len(recorded) // n : (k + 1) * len(recorded) // n] for k in range(n))
    return [min(part, key=lambda round: _lot(design.seed, site, round)) for part in parts]


def _lot(seed: int, *names: object) -> bytes:
    """A number that is as good as random, and the same on every machine."""
    return hashlib.sha256("\x1f".join(map(str, (seed, *names))).encode()).digest()

"""What an audit will cost, before it is begun: cases, time, disk."""

import math
import shutil
import statistics
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medleak.custom.record import RecordError, list_updates
from medleak.inversion.attacks.registry import attack_name, row_of
from medleak.inversion.audit.plan import Plan
from medleak.inversion.results.case import Case
from medleak.inversion.results.rows import Row

_OTHER_RATE = 60.0  # of attacks that are not in the table; see AttackRow.rate
_REFERENCE_PIXELS = 64 * 64
# From 64 to 224 px, 12 times the pixels, the row-space attack takes 5 times as long.
_PIXEL_EXPONENT = 0.7
# Reading a record, building the network, replaying a defence, pictures.
_SECONDS_A_CASE = 2.0
_ROW_BYTES = 2_000  # in results.csv, the journal and the summary together
_PNG_BYTES = 200  # of a picture beyond its pixels
_TILE_BYTES = 20_000  # of a panel: 192 px of gray with a caption, hardly compressible
_TILES, _SHOWN = 3, 8
_SECONDS_A_CANDIDATE = 0.05  # of 64 x 64 pixels, with the other sites' updates and an easy case
_CANDIDATE_BYTES = 200  # in the table and in JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of what is left of a plan.

    Attributes:
        cases: All of the plan.
        kept: Those that are done already.
        cpu_seconds: Of the others, in all.
        seconds: The same on the clock, with as many processes as asked for.
        longest: CPU seconds of the longest case: no number of processes is faster.
        bytes: Disk that the others will take, at most.
        free: Disk that there is.
        measured: Attacks whose time follows from cases of this audit directory; that of the others
            is a stated rate, right to a factor of a few.
    """

    cases: int
    kept: int
    cpu_seconds: float
    seconds: float
    longest: float
    bytes: int
    free: int
    measured: tuple[str, ...]

    def __str__(self) -> str:
        """One line for people."""
        basis = "as measured here" if self.measured else "by stated rates"
        return (
            f"{self.cases} cases, {self.kept} done; the rest about {duration(self.seconds)} "
            f"({basis}), at most {size(self.bytes)} of {size(self.free)} free disk"
        )

    def on(self, workers: int) -> float:
        """Seconds on the clock with ``workers`` processes: an even share, or the longest case."""
        return max(self.cpu_seconds / max(min(workers, self.cases - self.kept), 1), self.longest)


def estimate(
    plan: Plan,
    cases: Sequence[Case],
    settings: Mapping[str, Any],
    rows: Sequence[Row],
    *,
    answered: Set[Case] = frozenset(),
    candidates: int = 0,
    jobs: int = 1,
) -> Cost:
    """What is left to do of ``cases``, given the ``rows`` that the audit directory has.

    Args:
        plan: For the record and the audit directory.
        cases: Of the plan.
        settings: Of each attack, by its text; one with a ``seconds`` bounds its time.
        rows: Found already, also by other plans.
        answered: Cases of membership that are done.
        candidates: Images whose membership is asked about.
        jobs: Processes.
    """
    done = {row.case for row in rows} | answered
    left = [case for case in cases if case not in done]
    images = {u: _images(plan, *u) for u in {(c.round, c.site) for c in cases}}
    spec = plan.given.manifest(plan.records).known_input()
    pixels = math.prod(spec.spatial_size)

    recorded = list_updates(plan.records)

    def scale(case: Case) -> float:
        n = images.get((case.round, case.site)) or _images(plan, case.round, case.site)
        if case.averages:
            n *= len(case.seen(recorded))
        return n * (pixels / _REFERENCE_PIXELS) ** _PIXEL_EXPONENT

    rebuilt = [case for case in left if case.score is None]
    asked = len(left) - len(rebuilt)
    rates = _measured(rows, {case.attack for case in rebuilt}, scale)
    a_candidate = _SECONDS_A_CANDIDATE * pixels / _REFERENCE_PIXELS
    longest = (_SECONDS_A_CASE + a_candidate * candidates) if asked else 0.0
    cpu = asked * longest
    for case in rebuilt:
        rate = rates.get(case.attack, _stated(case.attack))
        needed = rate * scale(case)
        bound = getattr(settings[case.attack], "seconds", None)
        seconds = _SECONDS_A_CASE + (needed if bound is None else min(needed, bound))
        cpu, longest = cpu + seconds, max(longest, seconds)
    pictures = pixels * spec.channels
    sites = {case.site: images[case.round, case.site] for case in rebuilt}
    kept = 1 + plan.keep_iterations  # the result, and pictures of the attack on its way
    bytes_ = sum(
        _bytes(images[case.round, case.site], pictures, spec.channels, kept) for case in rebuilt
    )
    bytes_ += asked * candidates * _CANDIDATE_BYTES
    return Cost(
        cases=len(cases),
        kept=len(cases) - len(left),
        cpu_seconds=cpu,
        seconds=max(cpu / max(min(jobs, len(left)), 1), longest),
        longest=longest,
        bytes=bytes_ + sum(n * pictures for n in sites.values()),
        free=free_disk(plan.out),
        measured=tuple(sorted(rates)),
    )


def require_disk(cost: Cost, out: Path) -> None:
    """Refuse a plan that the disk has no room for.

    Raises:
        ValueError: It would take more than is free.
    """
    if cost.bytes > cost.free:
        raise ValueError(
            f"The {cost.cases - cost.kept} cases that are left would take up to "
            f"{size(cost.bytes)}, and {out} has {size(cost.free)} free: the audit would stop "
            "half-way. Free some disk, audit fewer rounds or seeds, or name another --out."
        )


def free_disk(out: Path) -> int:
    """Bytes free where ``out`` is, or will be."""
    there = out.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3.5 h``, ``2.1 days``."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.{0 if unit == 'min' else 1}f} {unit}"
    return f"{seconds:.0f} s"


def size(n: int) -> str:
    """``12 kB``, ``3.4 MB``, ``21 GB``."""
    for unit, length in (("GB", 10**9), ("MB", 10**6)):
        if n >= length:
            return f"{n / length:.{1 if n < 10 * length else 0}f} {unit}"
    return f"{n / 1000:.0f} kB"


def _measured(rows: Sequence[Row], attacks: set[str], scale: Any) -> dict[str, float]:
    """Seconds for one reference image, of the attacks that have cases: median over those."""
    cases = {row.case: row for row in rows if row.attack in attacks}
    found: dict[str, list[float]] = {}
    for case, row in cases.items():
        found.setdefault(case.attack, []).append(row.seconds / scale(case))
    return {attack: statistics.median(values) for attack, values in found.items()}


def _stated(attack: str) -> float:
    row = row_of(attack_name(attack))
    return _OTHER_RATE if row is None else row.rate


def _images(plan: Plan, round: int, site: str) -> int:
    try:
        return plan.given.info(plan.records, round, site).n_images or 1
    except RecordError:
        return 1  # refused by name when its turn comes


def _bytes(images: int, picture: int, channels: int, pictures: int) -> int:
    panel = min(images, _SHOWN) * _TILES * _TILE_BYTES * channels
    return images * (pictures * (picture + _PNG_BYTES) + _ROW_BYTES) + panel

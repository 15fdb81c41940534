"""What a site remembers of the models it was sent: hashes and statistics, and the last model.

Nothing here is computed from images but the sizes of the site's own updates, as they were sent.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from medleak.filters.sentinel.result import Result

Band = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What is kept of one model: its structure and, by entry or layer, statistics."""

    sha256: str
    structure: Mapping[str, list[Any]]
    largest: Mapping[str, float]
    levels: Mapping[str, float]
    ranks: Mapping[str, float]
    steps: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What was seen of one run so far; only models that were let through count.

    Attributes:
        structure: Of the first model; None before it.
        last_round: Of the last model; its hash is ``last_sha256``.
        largest: Largest absolute value of each entry over the rounds, in what the site's own
            training made of them, and of what its batches pulled running statistics to.
        levels, ranks: Least and largest so far of each layer (`norms`, `spectra`), likewise.
        own: Largest size so far of each entry of the site's own updates, as sent.
        steps: Largest size so far of each entry's step from round to round.
        made: By check (`scales`, `channels`) its largest statistic so far of what the own updates,
            as sent, made of a model: strong noise alone looks odd to them.
        stopped: Why the whole run was refused; None if it was not.
    """

    structure: Mapping[str, list[Any]] | None = None
    last_round: int | None = None
    last_sha256: str = ""
    largest: Mapping[str, float] = field(default_factory=dict)
    levels: Mapping[str, Band] = field(default_factory=dict)
    ranks: Mapping[str, Band] = field(default_factory=dict)
    own: Mapping[str, float] = field(default_factory=dict)
    steps: Mapping[str, float] = field(default_factory=dict)
    made: Mapping[str, float] = field(default_factory=dict)
    stopped: str | None = None

    def with_model(self, profile: Profile, round: int) -> "Memory":
        """After a model that was let through."""
        return replace(
            self,
            structure=self.structure or profile.structure,
            last_round=round,
            last_sha256=profile.sha256,
            largest=_larger(self.largest, profile.largest),
            levels=_widened(self.levels, profile.levels),
            ranks=_widened(self.ranks, profile.ranks),
            steps=_larger(self.steps, profile.steps),
        )

    def with_update(
        self,
        sizes: Mapping[str, float],
        largest: Mapping[str, float],
        levels: Mapping[str, float],
        ranks: Mapping[str, float],
        made: Mapping[str, float],
    ) -> "Memory":
        """After an own update of these sizes was sent; the rest is of the model it made."""
        return replace(
            self,
            own=_larger(self.own, sizes),
            largest=_larger(self.largest, largest),
            levels=_widened(self.levels, levels),
            ranks=_widened(self.ranks, ranks),
            made=_larger(self.made, made),
        )

    def with_stop(self, why: str) -> "Memory":
        """After the run was refused for good."""
        return replace(self, stopped=why)

    def to_json(self) -> str:
        """As text that `from_json` reads."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Memory":
        """Raise ValueError unless ``text`` is what `to_json` wrote."""
        try:
            raw: dict[str, Any] = json.loads(text)
            for kind in _BANDS:
                raw[kind] = {n: (float(low), float(high)) for n, (low, high) in raw[kind].items()}
            made = cls(**raw)
        except (TypeError, KeyError, AttributeError, ValueError) as e:
            raise ValueError(
                f"The sentinel's memory cannot be read ({e}): what this run's models were is not "
                "known. Restore it, or remove the job's folder to begin at first sight again."
            ) from e
        return made


_BANDS = ("levels", "ranks")


def entry(round: int, sha256: str, results: list[Result], outcome: str) -> dict[str, Any]:
    """One line of the site's record of what it was sent."""
    said = {
        r.check: {"status": r.status, "statistic": _finite(r.statistic), "where": r.where}
        for r in results
    }
    return {"round": round, "sha256": sha256, "outcome": outcome, "checks": said}


def _finite(value: float | None) -> float | str | None:
    return value if value is None or abs(value) < float("inf") else str(value)


def _larger(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    return {n: max(before.get(n, 0.0), now.get(n, 0.0)) for n in {**before, **now}}


def _widened(before: Mapping[str, Band], now: Mapping[str, float]) -> dict[str, Band]:
    found = dict(before)
    for name, value in now.items():
        low, high = found.get(name, (value, value))
        found[name] = (min(low, value), max(high, value))
    return found

"""Whether the models that were sent look like traps: sentinel.json of an audit.

What each site's `medleak.filters.adapters.Sentinel` would have said of a recorded run.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medleak.custom.record import list_updates, read_record
from medleak.filters.sentinel.checks.structure import fingerprint
from medleak.filters.sentinel.examination import Examined, examine, noted
from medleak.filters.sentinel.memory import Memory
from medleak.inversion.audit.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One model as one site was sent it; a checkpoint has neither round nor site."""

    found: Examined
    round: int | None = None
    site: str | None = None

    @property
    def network(self) -> str:
        """Hash of names, shapes and types, for a site to approve."""
        return fingerprint(self.found.profile.structure)

    @property
    def unknown(self) -> list[str]:
        """Checks that had nothing to compare with."""
        return [r.check for r in self.found.results if r.status == "not examined"]


def models_of(
    records: Path, site: str, rounds: Collection[int], approved: str | None = None
) -> Iterator[Seen]:
    """Examine what ``site`` was sent in each of ``rounds``, as its filter would have.

    A model that looks like a trap is not remembered, as the filter would have refused it.

    Raises:
        RecordError: A record is damaged.
    """
    memory, last = Memory(), None
    for round in sorted(rounds):
        record = read_record(records, round, site)
        state = dict(record.global_state)
        same = last is not None and set(last) == set(state)
        earlier = last.__getitem__ if last is not None and same else None
        found = examine(state, memory, earlier, round=round, approved=approved)
        yield Seen(found=found, round=round, site=site)
        if not found.odd:
            memory, last = memory.with_model(found.profile, round), state
            memory = noted(memory, state, dict(record.update))


def all_examined(seen: list[Seen]) -> bool:
    """Whether every check judged each model, but for a run's first, which has none before it."""
    first = {s.site: s.round for s in reversed(seen)}
    later = [s for s in seen if s.round is not None and s.round != first[s.site]]
    return (
        len(later) == len(seen) - len(first) and bool(later) and not any(s.unknown for s in later)
    )


def sentinel(plan: Plan) -> dict[str, Any]:
    """What the sentinel says of the models that the sites of ``plan`` were sent, by site.

    Earlier rounds than those of the plan are looked at too, as far as they are recorded: a model
    is judged by what came before it. A site of which a record is damaged was not tested.
    """
    last: dict[str, int] = {}
    for round, site in plan.updates():
        last[site] = max(round, last.get(site, round))
    recorded = list_updates(plan.records)
    sites: dict[str, Any] = {}
    not_tested = []
    for site, until in last.items():
        rounds = [r for r, s in recorded if s == site and r <= until]
        try:
            seen = list(models_of(plan.records, site, rounds))
        except (ValueError, OSError) as error:
            not_tested.append({"what": site, "why": " ".join(str(error).split())})
            continue
        sites[site] = {
            "models": [_row(s) for s in seen],
            "all_examined": all_examined(seen),
        }
    return {"sites": sites, "not_tested": not_tested}


def _row(seen: Seen) -> dict[str, Any]:
    found = seen.found
    return {
        "round": seen.round,
        "sha256": found.profile.sha256,
        "network": seen.network,
        "odd": [r.check for r in found.odd],
        "not_examined": seen.unknown,
        "line": found.line,
    }

"""A calibration against an audit directory: its probes are cases there, its answer a file."""

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from medleak.filters.defences.composition import Composition
from medleak.filters.defences.percentile_gaussian import PercentileGaussian
from medleak.filters.policy import policy
from medleak.filters.registry import defence
from medleak.inversion.attacks.registry import ATTACKS, AttackTable
from medleak.inversion.audit.attacker import Task
from medleak.inversion.audit.health import key
from medleak.inversion.audit.journal import Journal, read_health
from medleak.inversion.audit.plan import Plan
from medleak.inversion.audit.run import Outcome, audit
from medleak.inversion.calibration.search import Mechanism
from medleak.inversion.calibration.site import (
    Calibration,
    Found,
    InformedAttack,
    Wanted,
    as_json,
    search_all,
    search_site,
)
from medleak.inversion.reconstruction import ProgressCallback
from medleak.inversion.results.files import (
    contradictions_in,
    contradictions_of,
    read_config,
    write_json,
)
from medleak.inversion.results.utility import Utility

CALIBRATION = "calibration.json"


def calibrate(
    plan: Plan,
    mechanism: Mechanism,
    *,
    attacks: AttackTable = ATTACKS,
    tolerance: float = 1.25,
    margin: float = 0.0,
    jobs: int = 1,
    watch: Callable[[Task], ProgressCallback] | None = None,
    told: Callable[[Sequence[Outcome]], None] | None = None,
    command: Sequence[str] = (),
    utilities: Sequence[Utility] = (),
) -> Generator[Calibration]:
    """Search ``mechanism``'s least protecting strength for each site of ``plan``.

    Args:
        plan: Rounds, sites, attacks, knowledge and seeds (at least two) of every probe; its
            defences are not used.
        mechanism: The defence and the range.
        attacks: Names that the plan may use.
        tolerance: See `medleak.inversion.calibration.search.least_protecting`.
        margin: See `medleak.inversion.calibration.site.search_site`.
        jobs: As for `medleak.inversion.audit.run.audit`; also ``watch`` and ``command``.
        told: Called with what became of each step's cases.
        utilities: Federations run under the defence, for calibration.json.

    Yields:
        An answer a site, when it is in calibration.json.

    Raises:
        ValueError: As `medleak.inversion.audit.run.audit`; too few seeds; a bad tolerance.
        RuntimeError: A case was lost to the machine (memory, a killed process).
    """
    if len(plan.seeds) < 2:
        raise ValueError(
            f"A calibration with {len(plan.seeds)} seed(s) has no interval: give at least 2."
        )
    if not tolerance > 1:
        raise ValueError(f"The tolerance is a ratio of two strengths above 1, got {tolerance}.")

    def run(wanted: Sequence[Wanted]) -> list[Found]:
        texts = [w.defence(mechanism) for w in wanted]
        cells = {(w.site, text, s) for w, text in zip(wanted, texts, strict=True) for s in w.seeds}
        step = replace(
            plan,
            sites=list(dict.fromkeys(w.site for w in wanted)),
            defences=list(dict.fromkeys(texts)),
            seeds=list(dict.fromkeys(s for w in wanted for s in w.seeds)),
            only=frozenset(cells),
        )
        options: dict[str, Any] = {"attacks": attacks, "jobs": jobs, "watch": watch}
        outcomes = list(audit(step, nulls=False, command=command, **options))
        if told is not None:
            told(outcomes)
        if lost := [o for o in outcomes if o.crashed]:
            # Not an attack's failure: counted as one, it would pass for protection.
            raise RuntimeError(f"{lost[0].case.site}, {lost[0].case.defence}: {lost[0].refused}")
        names = {key(o.case.attack, o.case.knowledge) for o in outcomes}
        health = {n: h for n, h in read_health(plan.out).items() if n in names}
        said = contradictions_in(read_config(plan.out))
        return [_found(w, t, outcomes, health, said) for w, t in zip(wanted, texts, strict=True)]

    sites = list(dict.fromkeys(site for _, site in plan.updates()))
    searches = {
        site: search_site(site, mechanism, plan.seeds, tolerance=tolerance, margin=margin)
        for site in sites
    }
    for answer in search_all(searches, run):
        _write(plan, mechanism, answer, margin, utilities)
        yield answer
    with closing(Journal(plan.out, ())) as journal:
        journal.finish()


def _found(
    wanted: Wanted,
    text: str,
    outcomes: Sequence[Outcome],
    health: Any,
    said: Mapping[str, Sequence[str]],
) -> Found:
    mine = [
        o
        for o in outcomes
        if (o.case.site, o.case.defence) == (wanted.site, text) and o.case.seed in wanted.seeds
    ]
    refused: dict[InformedAttack, list[str]] = {}
    for outcome in mine:
        if outcome.refused is not None:
            attacker = outcome.case.attack, outcome.case.knowledge
            refused.setdefault(attacker, []).append(outcome.refused)
    rows = [row for outcome in mine for row in outcome.rows]
    against = contradictions_of((o.case for o in mine), said)
    return Found(rows=rows, refused=refused, health=health, contradicted=against)


def _write(
    plan: Plan,
    mechanism: Mechanism,
    answer: Calibration,
    margin: float,
    utilities: Sequence[Utility],
) -> None:
    path = plan.out / CALIBRATION
    strength = answer.strength
    entry = as_json(answer, mechanism) | {
        "scope": _scope(mechanism.text(mechanism.weak)),
        "margin": margin,
        "rounds": None if plan.rounds is None else list(plan.rounds),
        "attacks": list(plan.attacks),
        "knowledge": [k.describe() for k in plan.knowledge],
        "privacy_json": None if strength is None else policy(mechanism.text(strength)),
        "utility": [asdict(u) for u in utilities],
    }
    write_json(path, {**read_calibration(plan.out), answer.site: entry})


def _scope(text: str) -> str | None:
    """What one noise level is computed over, of a defence that has the choice."""
    used = defence(text)
    steps = used.steps if isinstance(used, Composition) else [used]
    return next((str(step.scope) for step in steps if isinstance(step, PercentileGaussian)), None)


def read_calibration(out: Path) -> dict[str, Any]:
    """calibration.json of an audit directory; empty if there is none.

    Raises:
        ValueError: It is damaged.
    """
    path = out / CALIBRATION
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}). Remove it: the probes are kept.") from None

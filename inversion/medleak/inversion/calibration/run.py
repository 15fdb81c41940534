"""A calibration against an audit directory: its probes are cases there, its answer a file."""

import json
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from medleak.custom.record import list_updates
from medleak.filters.defences.composition import Composition
from medleak.filters.defences.percentile_gaussian import PercentileGaussian
from medleak.filters.policy import policy
from medleak.inversion.attacks.registry import ATTACKS, AttackTable
from medleak.inversion.audit.attacker import Task
from medleak.inversion.audit.health import key
from medleak.inversion.audit.journal import Journal, read_health
from medleak.inversion.audit.larger_steps import require_images, step_of
from medleak.inversion.audit.plan import Plan
from medleak.inversion.audit.run import Outcome, audit
from medleak.inversion.audit.workers.cluster import Cluster
from medleak.inversion.calibration.goal import Goal, NoImages
from medleak.inversion.calibration.members import NobodyTold
from medleak.inversion.calibration.probe import Attacked, Found, InformedAttack, Run
from medleak.inversion.calibration.search import Mechanism
from medleak.inversion.calibration.site import (
    Calibration,
    Wanted,
    as_json,
    search_all,
    search_site,
)
from medleak.inversion.images.truth import find_truth, training_items
from medleak.inversion.reconstruction import ProgressCallback
from medleak.inversion.results.files import (
    contradictions_in,
    contradictions_of,
    read_config,
    write_json,
)
from medleak.inversion.results.replays import MINIMUM_BATCH, replay_of, require_sites
from medleak.inversion.results.utility import Utility

CALIBRATION = "calibration.json"
CALIBRATION_OF_MEMBERSHIP = "membership_calibration.json"


def calibrate(
    plan: Plan,
    mechanism: Mechanism,
    *,
    goal: Goal[Any] | None = None,
    attacks: AttackTable = ATTACKS,
    tolerance: float = 1.25,
    jobs: int = 1,
    cluster: Cluster | None = None,
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
        goal: When a strength is enough; None: no image comes back.
        attacks: Names that the plan may use.
        tolerance: See `medleak.inversion.calibration.search.least_protecting`.
        jobs: As for `medleak.inversion.audit.run.audit`; also ``cluster``, ``watch``, ``command``.
        told: Called with what became of each step's cases.
        utilities: Federations run under the defence, for calibration.json.

    Yields:
        An answer a site, when it is in calibration.json, or `CALIBRATION_OF_MEMBERSHIP`.

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

    most = max(replay_of(mechanism.text(end)).sites for end in (mechanism.weak, mechanism.strong))
    sent = Counter(round for round, _ in list_updates(plan.records))
    for round, _ in plan.updates():
        require_sites(most, sent[round], round)

    until: Goal[Any] = goal or NoImages()
    anew = replay_of(mechanism.text(mechanism.strong)).step is not None
    if anew:
        _require_steps(plan, mechanism, until)

    def run(wanted: Sequence[Wanted]) -> list[Found]:
        texts = [(w.defence(mechanism), w.alone(mechanism)) for w in wanted]
        last = None if until.needs_noise_alone else 1
        pairs = [(w, both[:last]) for w, both in zip(wanted, texts, strict=True)]
        cells = {(w.site, text, s) for w, asked in pairs for text in asked for s in w.seeds}
        step = replace(
            plan,
            sites=list(dict.fromkeys(w.site for w in wanted)),
            defences=list(dict.fromkeys(text for _, asked in pairs for text in asked)),
            seeds=list(dict.fromkeys(s for w in wanted for s in w.seeds)),
            only=frozenset(cells),
        )
        options: dict[str, Any] = {"attacks": attacks, "jobs": jobs, "cluster": cluster}
        outcomes = list(
            audit(step, nulls=False, beside=False, watch=watch, command=command, **options)
        )
        if told is not None:
            told(outcomes)
        if lost := [o for o in outcomes if o.crashed]:
            # Not an attack's failure: counted as one, it would pass for protection.
            raise RuntimeError(f"{lost[0].case.site}, {lost[0].case.defence}: {lost[0].refused}")
        refused = [o for o in outcomes if anew and o.refused is not None]
        if refused and step_of(refused[0].case) is not None:
            # Of noise, that nothing is left to match; of more images it says nothing.
            raise ValueError(_unexamined(refused[0]))
        names = {key(o.case.attack, o.case.knowledge) for o in outcomes}
        health = {n: h for n, h in read_health(plan.out).items() if n in names}
        said = contradictions_in(read_config(plan.out))
        return [
            Found(
                update=_attacked(w, text, outcomes),
                alone=_attacked(w, alone, outcomes),
                health=health,
                contradicted=contradictions_of(
                    (o.case for o in outcomes if o.case.site == w.site), said
                ),
            )
            for w, (text, alone) in zip(wanted, texts, strict=True)
        ]

    sites = list(dict.fromkeys(site for _, site in plan.updates()))
    searches = {
        site: search_site(site, mechanism, plan.seeds, until, tolerance=tolerance) for site in sites
    }
    for answer in search_all(searches, run):
        _write(plan, mechanism, answer, until, utilities)
        yield answer
    with closing(Journal(plan.out, ())) as journal:
        journal.finish()


def _require_steps(plan: Plan, mechanism: Mechanism, goal: Goal[Any]) -> None:
    """Refuse a search over steps that a site's images do not suffice for.

    Raises:
        ValueError: Likewise where no list says which they are, or where it is asked who was in.
    """
    if isinstance(goal, NobodyTold):
        raise ValueError(
            f"{MINIMUM_BATCH} is about images that come back: who was in a step that the audit "
            "made anew is not asked. Leave --until membership out."
        )
    most = replay_of(mechanism.text(max(mechanism.weak, mechanism.strong))).step or 1
    for site in dict.fromkeys(site for _, site in plan.updates()):
        datalist = find_truth(plan.truth, plan.records, site)
        there = 0 if datalist is None else len(training_items(datalist, site))
        require_images(most, there, site)


def _unexamined(outcome: Outcome) -> str:
    case = outcome.case
    return (
        f"{case.attack} could not examine {case.site} under {case.defence} ({outcome.refused}), so "
        "that it is not known what that many images a step would leave. Choose a smaller --high, "
        "or another attack."
    )


def _attacked(wanted: Wanted, text: str, outcomes: Sequence[Outcome]) -> Attacked:
    """What became of the wanted cases under the defence ``text``."""
    mine = [
        o
        for o in outcomes
        if (o.case.site, o.case.defence) == (wanted.site, text) and o.case.seed in wanted.seeds
    ]
    refused: dict[InformedAttack, dict[Run, str]] = {}
    for outcome in mine:
        if outcome.refused is not None:
            case = outcome.case
            whys = refused.setdefault((case.attack, case.knowledge), {})
            whys[case.round, case.seed] = outcome.refused
    return Attacked(
        rows=[row for outcome in mine for row in outcome.rows],
        refused=refused,
        answers=[(o.case, o.answer) for o in mine if o.answer is not None],
    )


def _write(
    plan: Plan,
    mechanism: Mechanism,
    answer: Calibration,
    goal: Goal[Any],
    utilities: Sequence[Utility],
) -> None:
    name = name_of(goal)
    strength = answer.strength
    entry = as_json(answer, mechanism) | {
        "scope": _scope(mechanism.text(mechanism.weak)),
        **goal.settings(),
        "rounds": None if plan.rounds is None else list(plan.rounds),
        "attacks": [*plan.attacks, *plan.scores],
        "knowledge": [k.describe() for k in plan.knowledge],
        "privacy_json": None if strength is None else _lines(mechanism.text(strength)),
        "utility": [asdict(u) for u in utilities],
    }
    write_json(plan.out / name, {**read_calibration(plan.out, name), answer.site: entry})


def name_of(goal: Goal[Any]) -> str:
    """The file of its answers: what hides images need not hide who was in."""
    return CALIBRATION_OF_MEMBERSHIP if isinstance(goal, NobodyTold) else CALIBRATION


def _lines(text: str) -> dict[str, Any] | None:
    """A site's privacy.json; None where what protects is no defence of the site, or not alone.

    A minimum of images is a line that its operator adds (docs/how-to/sentinel.md).
    """
    replay = replay_of(text)
    return policy(replay.own) if replay.own and replay.step is None else None


def _scope(text: str) -> str | None:
    """What one noise level is computed over, of a defence that has the choice."""
    used = replay_of(text).at_site
    steps = used.steps if isinstance(used, Composition) else [used]
    return next((str(step.scope) for step in steps if isinstance(step, PercentileGaussian)), None)


def read_calibration(out: Path, name: str = CALIBRATION) -> dict[str, Any]:
    """calibration.json of an audit directory, or its other ``name``; empty if there is none.

    Raises:
        ValueError: It is damaged.
    """
    path = out / name
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}). Remove it: the probes are kept.") from None

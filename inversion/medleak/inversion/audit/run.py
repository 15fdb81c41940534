"""Attack every update of a plan, measure, and keep what was found in an audit directory."""

import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from medleak.custom.record import list_updates, read_info
from medleak.inversion.attacks.registry import ATTACKS, AttackTable, attack_name, attack_of
from medleak.inversion.audit.attacker import Attacker, EasyCase, Task
from medleak.inversion.audit.beside.registry import write_beside
from medleak.inversion.audit.config import begin, require_its_own
from medleak.inversion.audit.cost import Cost, estimate, require_disk
from medleak.inversion.audit.evaluation import Evaluator
from medleak.inversion.audit.health import Health, failed, key
from medleak.inversion.audit.journal import Journal
from medleak.inversion.audit.panels import PRIOR_PICTURE, keep_picture, save_case
from medleak.inversion.audit.plan import Plan
from medleak.inversion.audit.scope.settling import Settling
from medleak.inversion.audit.workers import pool
from medleak.inversion.audit.workers.cluster import Cluster
from medleak.inversion.audit.workers.matching import Attacked, Matching
from medleak.inversion.images.prior import load_prior
from medleak.inversion.images.truth import find_truth, training_items
from medleak.inversion.measures.perceptual import load_perceptual
from medleak.inversion.membership.answer import Assessed
from medleak.inversion.membership.assessor import Assessor
from medleak.inversion.membership.files import Answer, read_answers
from medleak.inversion.networks import make_importable
from medleak.inversion.reconstruction import ProgressCallback
from medleak.inversion.results.case import Case
from medleak.inversion.results.replays import sums_over_sites
from medleak.inversion.results.rows import Row, read_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one case.

    Attributes:
        case: Which one.
        rows: Its figures; empty if it was refused, or asks who was in.
        answer: Who was in, if that was asked.
        refused: Why it could not be attacked.
        kept: The rows were in the audit directory already.
        crashed: It was refused for a reason of the machine (memory, a killed process).
        settled: Why it was left out: its site was settled to leak before (`Settling`).
    """

    case: Case
    rows: Sequence[Row] = ()
    refused: str | None = None
    kept: bool = False
    crashed: bool = False
    answer: Answer | None = None
    settled: str = ""


def audit(
    plan: Plan,
    *,
    attacks: AttackTable = ATTACKS,
    jobs: int = 1,
    cluster: Cluster | None = None,
    health: bool = True,
    nulls: bool = True,
    beside: bool = True,
    sequential: bool = False,
    watch: Callable[[Task], ProgressCallback] | None = None,
    command: Sequence[str] = (),
) -> Generator[Outcome]:
    """Run ``plan`` case by case, while the caller loops over what became of them.

    Whatever can be wrong with the request as a whole is found by the call itself, and nothing is
    written then. A case that fails (a damaged record, a record of another model) is refused by
    name and the rest goes on. Stopped at any moment, the audit directory holds whole cases only,
    and the same plan goes on where it was, to the same figures.

    What a job recorded, attacked in a few lines:

    >>> from medleak.custom.record import find_records
    >>> plan = Plan(
    ...     records=find_records(Path("simulator_workspace")),
    ...     out=Path("audits/first"),
    ...     attacks=["row_space:seconds=2"],
    ...     prior="phantoms",
    ... )
    >>> for outcome in audit(plan):
    ...     for row in outcome.rows:
    ...         print(row.round, row.site, row.truth_image, f"SSIM {row.ssim:.2f}")
    ... # doctest: +ELLIPSIS
    0 site-9 training[0] SSIM 0...

    Args:
        plan: What to try.
        attacks: Names that the plan may use.
        jobs: Cases at the same time, each in a process of its own; 1: in this one. ``attacks`` goes
            to them by pickle. On ``cuda`` without a number, they share all GPUs that there are. A
            script that asks for several needs ``if __name__ == "__main__":`` around its work.
        cluster: Have its processes do the cases, as many at once as it is open for; ``jobs`` is not
            looked at then. They read records and lists by the same paths as this one.
        health: Have every attack invert an easy case first, once an audit directory for each kind
            of knowledge (`medleak.inversion.audit.health`), and each membership score know one.
        nulls: At the end, compare each truth with the reconstructions from other sites' updates; to
            be left out where other audits of the same directory follow at once.
        beside: After that, ask what rebuilds no image
            (`medleak.inversion.audit.beside.registry`); to be left out likewise.
        sequential: Leave out the later rounds of a site that is settled to leak
            (`medleak.inversion.audit.scope.settling`); not without ``nulls``, which settle less.
        watch: Makes the callback that follows the attack on a case.
        command: For config.json, so that a reader can repeat the audit.

    Returns:
        An iterator over one outcome a case, each when it is on disk: first those that are kept,
        then the others as they end (with one job, in the order of ``plan.cases()``). The next
        attack runs when the next outcome is asked for.

    Raises:
        ValueError: The plan is unusable or larger than the disk, or its directory holds another
            audit.
        OSError: The disk refuses a file.
        KeyboardInterrupt: An attack was interrupted, so while looping; its case is not counted.
    """
    session = _Session(plan, attacks)
    require_disk(session.cost(jobs if cluster is None else cluster.size), plan.out)
    if cluster is not None:
        cluster.require(session.opened_by_workers())
    evaluator = session.evaluator()  # loaded here, as a network of its may be missing
    begin(
        plan,
        session.cases,
        session.settings,
        session.prior,
        session.datalists,
        command,
        session.assessor,
    )
    keep_picture(plan.out, PRIOR_PICTURE, session.prior[0])

    def outcomes() -> Generator[Outcome]:
        with closing(Journal(plan.out, session.cases)) as journal:
            for case in session.cases:
                if journal.done(case):
                    rows, answer = journal.found(case), journal.answer(case)
                    yield Outcome(case=case, rows=rows, answer=answer, kept=True)
            left = [case for case in session.cases if not journal.done(case)]
            gate = Settling(session.cases, journal.rows_of) if sequential and nulls else None
            while True:
                tasks = _with_easy_cases(left, journal.health) if health else left
                do = session.do(tasks, jobs, cluster, watch, health=health, gate=gate)
                with closing(do) as done:
                    for end in done:
                        if isinstance(end.task, EasyCase):
                            checked = end.result or failed(end.task.round, str(end.refused))
                            journal.add_health(key(end.task.attack, end.task.knowledge), checked)
                            continue
                        outcome = _keep(plan, end.task, end, evaluator, journal)
                        if gate is not None and outcome.refused:
                            gate.refused(end.task)
                        yield outcome
                if nulls:
                    journal.finish()
                easy = {name: asdict(health) for name, health in journal.health.items()}
                if gate is None or not (left := gate.not_confirmed(left, easy)):
                    break
            yield from _settled(session.cases, gate, journal)
        if beside:
            write_beside(plan)

    return outcomes()


def estimate_cost(plan: Plan, *, attacks: AttackTable = ATTACKS, jobs: int = 1) -> Cost:
    """What ``plan`` will take; nothing is written.

    Raises:
        ValueError: As `audit`.
    """
    return _Session(plan, attacks).cost(jobs)


class _Session:
    """A plan with what all its cases share, read and checked once."""

    def __init__(self, plan: Plan, table: AttackTable) -> None:
        manifest = plan.given.manifest(plan.records)
        self._input = manifest.known_input()
        self.plan, self._table = plan, table
        self.cases = plan.cases()
        self.settings: dict[str, Any] = {a: attack_of(a, table)[1] for a in plan.attacks}
        _check_device(plan.device)
        make_importable(plan.records, plan.allowed_prefixes)
        plan.given.require_fitting(manifest, plan.allowed_prefixes)
        self.assessor: Assessor | None = None
        if plan.question is not None:
            picture = self._input.picture()
            self.assessor = Assessor(plan.question, plan.records, picture)
        self.datalists = _datalists(plan, sorted({case.site for case in self.cases}))
        self.prior = load_prior(plan.prior, self._input.spatial_size, self._input.channels)

    def evaluator(self) -> Evaluator:
        """What measures; not for where only the cost is asked for, as it loads networks."""
        wanted = self.plan.perceptual
        return Evaluator(
            _all_datalists(self.plan, self.datalists),
            self._input,
            self.prior,
            embedding=self.plan.embedding,
            k=self.plan.neighbours,
            perceptual=None if wanted is None else load_perceptual(wanted, self.plan.device),
            device=self.plan.device,
        )

    def cost(self, jobs: int) -> Cost:
        require_its_own(self.plan, self.prior)
        rows = read_rows(self.plan.out / "results.csv")
        asked = len(self.assessor.candidates) if self.assessor else 0
        return estimate(
            self.plan,
            self.cases,
            self.settings,
            rows,
            answered={*read_answers(self.plan.out)},
            candidates=asked,
            jobs=jobs,
        )

    def opened_by_workers(self) -> list[Path]:
        """Files and folders that an `Attacker` opens: where it runs, they have to be."""
        plan = self.plan.absolute()
        kept = plan.out.parent if plan.keep_iterations else None
        named = [plan.records, plan.given.base, kept, Path(plan.prior), *self._lists().values()]
        if (asked := plan.question) is not None:
            named += asked.candidates, asked.nonmembers, asked.truth
        return [path for path in named if path is not None and path.exists()]

    def _lists(self) -> dict[str, Path | None]:
        lists = self.datalists
        if any(map(sums_over_sites, self.plan.defences)):  # labels of those who join the sum
            lists = _all_datalists(self.plan, lists)
        return {site: path and path.absolute() for site, path in lists.items()}

    def do(
        self,
        tasks: Sequence[Task],
        jobs: int,
        cluster: Cluster | None,
        watch: pool.Watch | None,
        *,
        health: bool,
        gate: pool.Gate | None = None,
    ) -> Generator[pool.Done[Task]]:
        """What the attacks make of ``tasks``; truth has no part in what they find."""
        names = {attack_name(spec) for spec in self.settings}
        used = {name: self._table[name] for name in names}  # others need not be picklable
        threads = torch.get_num_threads()
        plan = self.plan.absolute()
        make = functools.partial(_make_attacker, plan, used, self._lists(), threads, health)
        if cluster is not None:
            return pool.by_crew(tasks, cluster.crew(make), cluster.size, watch=watch, gate=gate)
        if jobs > 1 and len(tasks) > 1:
            return pool.at_once(tasks, make, jobs, watch=watch, gate=gate)
        return pool.one_by_one(tasks, make, watch=watch, gate=gate)


def _keep(
    plan: Plan, case: Case, end: pool.Done[Task], evaluator: Evaluator, journal: Journal
) -> Outcome:
    """Measure what an attack found, and write it down."""
    why = end.refused
    if isinstance(end.result, Assessed):
        answer = Answer.of(end.result.summary(), end.result.candidates)
        journal.add_answer(case, answer)
        return Outcome(case=case, answer=answer)
    if why is None:
        try:
            rows = _measure(plan, case, end.result, evaluator)
        except pool.REFUSED as error:
            why = " ".join(str(error).split())
        else:
            journal.add(case, rows)
            return Outcome(case=case, rows=rows)
    journal.refuse(case, why)
    return Outcome(case=case, refused=why, crashed=end.crashed)


def _settled(cases: Sequence[Case], gate: Settling | None, journal: Journal) -> Generator[Outcome]:
    """What was left out at the end of an audit that stops where a site is settled."""
    if gate is None:
        return
    left = [case for case in cases if not journal.done(case)]
    settled = {case: why for case in left if (why := gate.why(case))}
    journal.settle(settled)
    for case, why in settled.items():
        yield Outcome(case=case, settled=why)


def _measure(plan: Plan, case: Case, attacked: Attacked, evaluator: Evaluator) -> list[Row]:
    # The attack is over: truth may be looked at.
    found, truth = attacked.found, evaluator.truth(case.site)
    declared = read_info(plan.records, case.round, case.site).defences
    rows = evaluator.rows(case, found, declared, attacked.matches)
    save_case(plan.out, case, rows, found, truth, evaluator.seen)
    if found.ending == "interrupted":  # to be looked at, but not counted
        raise KeyboardInterrupt
    return rows


def _make_attacker(
    plan: Plan,
    table: AttackTable,
    datalists: Mapping[str, Path | None],
    threads: int,
    health: bool,
    number: int,
) -> Matching:
    torch.set_num_threads(threads)
    device = plan.device
    if device == "cuda" and (gpus := torch.cuda.device_count()) > 1:
        device = f"cuda:{number % gpus}"
    attack = Attacker(plan, table, datalists, device, easy=health)
    return Matching(attack, datalists, plan.given.manifest(plan.records).known_input())


def _with_easy_cases(cases: Sequence[Case], known: Mapping[str, Health]) -> list[Task]:
    """``cases``, and before the first of each attack and knowledge its easy case, if not known."""
    tasks: list[Task] = []
    checked = set(known)
    for case in cases:
        # A membership score tries its own, as it needs the images of the question.
        if case.score is None and (name := key(case.attack, case.knowledge)) not in checked:
            checked.add(name)
            tasks.append(EasyCase(case.round, case.site, case.attack, case.knowledge))
        tasks.append(case)
    return tasks


def _check_device(device: str) -> None:
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: a torch without CUDA
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"Device {device!r} cannot be used ({reason}): no attack could run. Choose cpu, or a "
            "device that torch sees."
        ) from None


def _datalists(plan: Plan, sites: Sequence[str]) -> dict[str, Path | None]:
    """The truth list of each site; a list that is given must have images for each."""
    if plan.truth is not None and plan.truth.is_file() and len(sites) > 1:
        raise ValueError(
            f"Truth {str(plan.truth)!r} is the list of one site, but {len(sites)} sites are to be "
            f"audited ({', '.join(sites[:9])}): it lacks the others. Name a folder with one list a "
            "site, or choose --site."
        )
    found = {site: find_truth(plan.truth, plan.records, site) for site in sites}
    for site, datalist in found.items():
        if datalist is not None:
            training_items(datalist, site)
    return found


def _all_datalists(plan: Plan, attacked: Mapping[str, Path | None]) -> dict[str, Path | None]:
    """Also of the sites that are not attacked: their images are in the gallery of IIP."""
    found: dict[str, Path | None] = dict(attacked)
    for site in {site for _, site in list_updates(plan.records)} - set(attacked):
        if plan.truth is not None and plan.truth.is_file():
            found[site] = None
            continue
        try:
            found[site] = find_truth(plan.truth, plan.records, site)
        except ValueError:  # no list is asked for: the gallery is smaller, and says so
            found[site] = None
    return found

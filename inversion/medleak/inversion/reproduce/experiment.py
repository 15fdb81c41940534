"""One audit of a reproduction, with its figures; and how large a reproduction is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medleak.custom.record import find_records
from medleak.filters.spec import rounded
from medleak.inversion.audit.plan import Plan
from medleak.inversion.audit.run import audit, estimate_cost
from medleak.inversion.audit.workers.cluster import Cluster
from medleak.inversion.figures import AuditData, draw_all
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.measures.embedding import load_embedding
from medleak.inversion.results.case import NO_DEFENCE, AttackSpec

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is tried.

    Attributes:
        size: Height and width of images where no run prescribes them, px.
        rounds: Of the small federation.
        images: Attacked of each set (MedPFL: 100).
        schedule: Batch sizes and numbers of local steps.
        strengths: sigma0 of the noise sweep.
        levels: MedPFL's noise levels.
        seeds: Of attacks and replayed noise.
        seconds: Budget of an attack on an update, CPU seconds; None: the attack's own end.
        iterations: Kept of an attack for a strip.
        sites: Of the small federation, by name: (batch size, training images).
        trained: Train ResNet-18 too (MedPFL).
    """

    size: int
    rounds: int
    images: int
    schedule: Sequence[int]
    strengths: Sequence[float]
    levels: Sequence[int]
    seeds: Sequence[int]
    seconds: float | None
    iterations: int
    sites: Sequence[tuple[str, int, int]]
    trained: bool = True


# Sites as in TMI Table II; the large ones are left to real runs.
FULL = Scale(
    size=64,
    rounds=3,
    images=20,
    schedule=(1, 2, 4, 8),
    strengths=(1, 5, 10, 25, 50),
    levels=(100, 200, 300, 400),
    seeds=(0, 1, 2),
    seconds=None,
    iterations=6,
    sites=(("site-1", 4, 8), ("site-5", 8, 8), ("site-9", 1, 1)),
)
QUICK = Scale(
    size=48,
    rounds=2,
    images=2,
    schedule=(1, 2, 4),
    strengths=(1, 10, 25),
    levels=(100, 400),
    seeds=(0,),
    seconds=3.0,
    iterations=5,
    sites=(("site-1", 4, 4), ("site-9", 1, 1)),
    trained=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a reproduction writes, what it says on the way, and how it draws.

    Attributes:
        out: Its directory.
        scale: How much is tried.
        say: Told in a line what happens.
        sites: Of the run, tmi2023; None: all.
        device: Where attacks run.
        jobs: Attacks at the same time, a process each.
        cluster: Where they run; None: on this machine.
        embedding: Weights of the ResNet-18 for IIP and maps; None: ImageNet's, where torch has it.
    """

    out: Path
    scale: Scale
    say: Say
    embedding: Path | None = None
    sites: Sequence[str] | None = None
    device: str = "cpu"
    jobs: int = 1
    cluster: Cluster | None = None

    def audit(
        self,
        name: str,
        run: Path,
        *,
        prior: str,
        attacks: Sequence[str],
        rounds: Sequence[int] | None = None,
        sites: Sequence[str] | None = None,
        defences: Sequence[str] = (NO_DEFENCE,),
        knowledge: Sequence[Knowledge] = (Knowledge(),),
        iterations: int = 0,
    ) -> AuditData:
        """Audit ``run`` into ``name``; what another call found there stays, and is not repeated.

        Raises:
            ValueError: The audit is unusable, or no case of it could be attacked.
        """
        plan = Plan(
            records=find_records(run),
            out=self.out / name,
            rounds=rounds,
            sites=sites,
            attacks=attacks,
            defences=defences,
            knowledge=knowledge,
            seeds=self.scale.seeds,
            prior=prior,
            keep_iterations=iterations,
            device=self.device,
            embedding=None if self.embedding is None else str(self.embedding),
        )
        self.say(f"{name}: {estimate_cost(plan, jobs=self.jobs)}")
        cases = len(plan.cases())
        # An attack that is cut short fails on an easy case too: nothing to learn from one.
        whole = self.scale.seconds is None
        outcomes = audit(plan, jobs=self.jobs, cluster=self.cluster, health=whole)
        for k, outcome in enumerate(outcomes, start=1):
            found = "kept" if outcome.kept else outcome.refused or "done"
            case = outcome.case
            self.say(f"{name} {k}/{cases}: {case.site}, {case.attack}, {case.defence}: {found}")
        return AuditData.open(plan.out, run)

    def figures(self, data: AuditData, *names: str) -> dict[str, str]:
        """Draw figures of an audit, and say which cannot be: name to file, relative to ``out``."""
        found = {}
        embed = None if self.embedding is None else load_embedding(str(self.embedding))
        for drawn in draw_all(data, data.path / "figures", names, embed=embed):
            if drawn.path is None:
                self.say(f"no figure {drawn.name}: {drawn.missing}")
            else:
                found[drawn.name] = drawn.path.relative_to(self.out).as_posix()
        return found


def cut_short(scale: Scale) -> str:
    """For the report: what a budget does to its numbers."""
    if scale.seconds is None:
        return ""
    return (
        f" Attacks were cut off at {scale.seconds:g} CPU seconds each: this shows that everything "
        "works, and says nothing of what they find with more time."
    )


def bounded(attack: str, seconds: float | None) -> str:
    """``attack`` with a budget of ``seconds``."""
    if seconds is None:
        return attack
    return str(AttackSpec.parse(attack).with_(seconds=rounded(seconds)))

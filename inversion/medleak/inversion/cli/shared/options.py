"""Options that commands share, and what they mean: the run that is named, and an audit's plan."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from medleak.custom.record import Manifest
    from medleak.inversion.audit.plan import Plan
    from medleak.inversion.audit.workers.cluster import Cluster
    from medleak.inversion.statement import Given

PLACES = ("workspace", "simulator_workspace")

RunArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="RUN",
        show_default=False,
        help="A simulator workspace, a job's run directory or a records directory; "
        "default: the newest run under workspace/ or simulator_workspace/.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Audit directory. Default: workspace/audit-<job>-<time>."),
]
JobsOption = Annotated[
    int, typer.Option(min=1, help="Cases at the same time, a process each (2 GB of memory each).")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
ThreadsOption = Annotated[
    int, typer.Option(min=1, help="CPU threads a process; small images are fastest with one.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """What reconstructions are compared with."""

    truth: Annotated[
        Path | None,
        typer.Option(
            help="A site's datalist, or a folder with <site>.json; to measure only. "
            "Default: what a simulated site left in its run directory."
        ),
    ] = None
    prior: Annotated[
        str | None,
        typer.Option(
            help="PNG (see medleak prior), gray, phantoms (mean of made-up chest X-rays), or "
            "phantoms:fundus and the like. Default: phantoms for gray images, gray for colour."
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identification:
    """How a reconstruction is told to be of a person (IIP)."""

    embedding: Annotated[
        str | None,
        typer.Option(
            help="Network of IIP: imagenet, or a file of ResNet-18 weights. "
            "Default: imagenet, if it is on this machine."
        ),
    ] = None
    k: Annotated[int, typer.Option("--k", min=1, help="Neighbours that IIP looks at.")] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who was in: asked of the same updates, behind the same defences."""

    candidates: Annotated[
        Path | None,
        typer.Option(help="Also ask which of these images were in: a datalist, or a folder."),
    ] = None
    nonmembers: Annotated[
        Path | None,
        typer.Option(
            help="Images like them that are certainly in no site's data. Default: what each site "
            "held out, by its list."
        ),
    ] = None
    score: Annotated[
        list[str] | None,
        typer.Option(help="See medleak membership; may be repeated. Default: row_space."),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where attacks run, and whose code may run there."""

    device: DeviceOption = "auto"
    threads: ThreadsOption = 1
    allow_model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PREFIX",
            help="Trust model factories of this package, e.g. mylab.networks., beside the usual.",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """How many cases are worked on at once, and on whose machines."""

    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Cases at the same time, a process each (2 GB of memory each). Default: 1; with "
            "--cluster as many as fit.",
        ),
    ] = None
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Work on a Ray cluster: host:port, auto (the one this machine is a node of), or "
            "local (one made here for the time). Needs the extra cluster: Ray.",
        ),
    ] = None
    case_memory: Annotated[
        float | None,
        typer.Option(min=0.1, help="With --cluster: GB that a case needs; no more start than fit."),
    ] = None
    case_gpu: Annotated[
        float | None,
        typer.Option(
            min=0.01, help="With --cluster and --device cuda: GPUs a case, 0.5 say. Default: 1."
        ),
    ] = None

    @contextmanager
    def at_work(self, device: str, threads: int) -> "Iterator[tuple[int, Cluster | None]]":
        """How many cases at once, and the cluster that they are on; None: this machine.

        Raises:
            ValueError: An option has nothing to act on, or there is no such cluster.
        """
        for name, value in (("memory", self.case_memory), ("gpu", self.case_gpu)):
            if value is not None and self.cluster is None:
                raise ValueError(
                    f"--case-{name} is for a cluster: give --cluster, or leave it out."
                )
        if self.cluster is None:
            yield self.jobs or 1, None
            return
        from medleak.inversion.audit.workers.cluster import Share, connected

        on_gpu = chosen_device(device).startswith("cuda")
        if self.case_gpu is not None and not on_gpu:
            raise ValueError("--case-gpu is for --device cuda, and the attacks run on the CPU.")
        gpus = (self.case_gpu or 1.0) if on_gpu else 0.0
        share = Share(cpus=threads, gpus=gpus, memory_gb=self.case_memory)
        with connected(self.cluster, share, self.jobs) as cluster:
            yield cluster.size, cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What the auditor says where the record does not, or does not say right."""

    schedule: Annotated[
        str | None,
        typer.Option(
            metavar="KEY=VALUE,…",
            help="How sites trained, e.g. n_images=4,batch_size=4,lr=0.01,optimizer=adamw.",
        ),
    ] = None
    input: Annotated[
        str | None,
        typer.Option(metavar="HxWxC", help="An image: 224x224x3; HxWxDxC of a volume."),
    ] = None
    mean: Annotated[
        str | None, typer.Option(help="Of the normalisation, one value or one a channel: 0.5,0.5,…")
    ] = None
    std: Annotated[str | None, typer.Option(help="Likewise.")] = None
    task: Annotated[
        str | None, typer.Option(metavar="LOSS:OUTPUTS", help="The training loss, e.g. bce:14.")
    ] = None
    model: Annotated[
        str | None,
        typer.Option(
            metavar="PATH[:KEY=VALUE,…]",
            help="The network's factory, e.g. torchvision.models.resnet18:num_classes=2.",
        ),
    ] = None
    base: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Weights that sites neither train nor send (of adapters, of a head alone).",
        ),
    ] = None


def given_of(statement: Statement) -> "Given":
    """What the options of a command say of the record.

    Raises:
        ValueError: One of them is unusable.
    """
    from medleak.custom.record.texts import input_of, model_of, schedule_of, task_of
    from medleak.inversion.statement import Given

    return Given(
        schedule=schedule_of(statement.schedule) if statement.schedule else {},
        input=input_of(statement.input) if statement.input else None,
        task=task_of(statement.task) if statement.task else None,
        model=model_of(statement.model) if statement.model else None,
        mean=_numbers("--mean", statement.mean),
        std=_numbers("--std", statement.std),
        base=statement.base,
    )


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    try:
        return None if text is None else tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"{option} {text!r} is no list of numbers: give 0.5 or 0.5,0.5,0.5."
        ) from None


def plan_of(
    run: Path | None,
    out: Path | None,
    references: References,
    identification: Identification,
    machine: Machine,
    statement: "Statement | None" = None,
    **grid: Any,
) -> "Plan":
    """The plan that a command's options ask for.

    Args:
        run: See `records_of`.
        out: Audit directory; None: `default_out`.
        references: What is compared with.
        identification: How IIP is measured.
        machine: Where attacks run.
        statement: What the auditor says of the record.
        grid: The other fields of the plan: what to attack, how, behind what.

    Raises:
        ValueError: There is no record, or none that can be read.
    """
    from medleak.custom.record import read_manifest
    from medleak.inversion.audit.plan import Plan

    records = records_of(run)
    given = given_of(statement or Statement())
    manifest = given.of_manifest(read_manifest(records))
    return Plan(
        records=records,
        out=out or default_out(manifest),
        prior=references.prior or default_prior(manifest.known_input().channels),
        truth=references.truth,
        embedding=identification.embedding,
        neighbours=identification.k,
        device=chosen_device(machine.device),
        allowed_prefixes=machine.allow_model or (),
        given=given,
        **grid,
    )


def question_of(asked: Asked, truth: Path | None, *, average: bool) -> dict[str, Any]:
    """The fields of a plan that ask who was in; none where nobody is named.

    Args:
        asked: Whom, and how.
        truth: Who was in, to measure by.
        average: Also of a site's rounds joined.

    Raises:
        ValueError: It is said how to ask, and not whom about.
    """
    from medleak.inversion.membership.assessor import Question
    from medleak.inversion.results.case import AVERAGE

    if asked.candidates is None:
        if asked != Asked():
            raise ValueError(
                "--nonmembers and --score ask who was in, of nobody: name --candidates too."
            )
        return {}
    question = Question(candidates=asked.candidates, nonmembers=asked.nonmembers, truth=truth)
    scores = list(dict.fromkeys(asked.score or ["row_space"]))
    joined = [f"{AVERAGE}{score}" for score in scores] if average else []
    return {"question": question, "scores": [*scores, *joined]}


def attacks_of(attacks: list[str], average: bool) -> list[str]:
    """``attacks``, each once; with ``average`` followed by the same joining a site's rounds."""
    from medleak.inversion.results.case import AttackSpec

    joined = [str(AttackSpec.parse(a).averaging()) for a in attacks] if average else []
    return list(dict.fromkeys([*attacks, *joined]))


def records_of(run: Path | None) -> Path:
    """The records directory of ``run``, by default of the newest run below the current directory.

    Raises:
        ValueError: There is none.
    """
    from medleak.custom.record import RecordError, find_records, one_record

    if run is not None:
        if not run.exists():
            raise RecordError(
                f"RUN {str(run)!r} does not exist: there is no record to read. Name a simulator "
                "workspace, a run directory or a records directory."
            )
        return find_records(run)
    found = list(_manifests())
    if not found:
        raise RecordError(
            f"No record under {' or '.join(f'{p}/' for p in PLACES)} here in {Path.cwd()}: there "
            "is no run to take by default. Run a job (nvflare simulator jobs/cxr_clean), or name "
            "RUN."
        )
    newest = max(found, key=lambda path: path.stat().st_mtime_ns).parent
    return one_record([p.parent for p in found if _of_one_run(p.parent, newest)], "The newest run")


def _of_one_run(root: Path, newest: Path) -> bool:
    """Whether two records are of two parties of one run: <run>/<party>/<job>/records."""
    if root == newest or newest.name != "records" or root.name != "records":
        return root == newest
    ours, theirs = root.parts[:-1], newest.parts[:-1]
    return len(ours) > 2 and (ours[:-2], ours[-1]) == (theirs[:-2], theirs[-1])


def default_out(manifest: "Manifest") -> Path:
    """``workspace/audit-<job>-<time of the run>``: each run's own, and the same when repeated."""
    created = re.sub(r"\D", "", manifest.created)[:14]
    job = re.sub(r"[^A-Za-z0-9_.-]+", "-", manifest.job)[:60]
    return Path("workspace") / f"audit-{job}-{created}"


def default_prior(channels: int) -> str:
    """What an attacker starts from if nothing better is named."""
    return "phantoms" if channels == 1 else "gray"


def chosen_device(name: str) -> str:
    """``name``, with ``auto`` resolved."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def _manifests() -> Iterator[Path]:
    for place in map(Path, PLACES):
        yield from place.glob("**/records/manifest.json")
        yield from place.glob("*/manifest.json")

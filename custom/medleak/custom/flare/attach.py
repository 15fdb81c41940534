"""Add the recorder, and filters, to an NVFlare job that nobody here wrote.

From an exported job folder, in any format that NVFlare reads, a new one is made; the old one stays
as it is. What a job cannot have is refused with the reason: a recorder that is never called, or a
filter that protects nothing, would look like one that works.
"""

import atexit
import importlib
import inspect
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvflare.app_opt.pt.recipes.swarm import BaseSwarmLearningRecipe

from medleak.custom.flare.foreign_job import (
    AttachError,
    class_of,
    is_swarm,
    job_in,
    network_of,
    own_filters,
    own_module,
    read_apps,
    require_possible,
    require_taken,
    spec_of,
    takes,
    tasks_of,
    workflows_text,
)
from medleak.custom.flare.outside import filters_of, steps_of
from medleak.custom.flare.recorder import UpdateRecorder
from medleak.custom.flare.swarm.job import RECORDER_ID, add_recorder, require_unfiltered
from medleak.custom.flare.swarm.recorder import SwarmRecorder
from medleak.custom.record.schema import InputSpec, ModelSpec, TaskSpec
from medleak.filters.adapters import RestoreWithheld
from medleak.filters.adapters.examination.kit import App
from medleak.filters.defences.withholding import Withhold
from medleak.filters.registry import declaration

_RECORDER = "medleak.custom.recorder.UpdateRecorder"
_ADAPTERS = "medleak.filters.adapters."
_TYPE = "params_transfer_type"
_BYOC = "custom/medleak.md"
_NOTE = "This file makes the app one that may use classes of the installed package medleak.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """What was found in a job and done to it.

    Attributes:
        folder: The new job.
        found: What it is, and what was added, a sentence each.
        unknown: What an audit will have to be told, a sentence each.
        options: Of ``medleak audit``, with gaps to fill in, which tell it.
    """

    folder: Path
    found: Sequence[str]
    unknown: Sequence[str]
    options: Sequence[str]


def attach_folder(
    job: Path,
    out: Path,
    *,
    defence_text: str | None = None,
    task: TaskSpec | None = None,
    input: InputSpec | None = None,
    model: ModelSpec | None = None,
) -> Attached:
    """Copy the exported job ``job`` to ``out`` with the recorder, and filters, in it.

    Args:
        job: A job folder with ``meta`` and apps, or the folder that a recipe exported one into.
        out: The new folder, which must not exist.
        defence_text: As ``medleak audit --defence`` has it; None: record only.
        task, input, model: What is known; the model is looked for in the job.

    Raises:
        AttachError: The job cannot be read, recorded or protected; nothing is written.
    """
    if not job.is_dir():
        what = "is a file" if job.exists() else "does not exist"
        raise AttachError(f"{job} {what}: name the folder of an exported job.")
    given, job = job, job_in(job)
    if out.exists():
        raise AttachError(f"{out} exists: name a folder that does not, so that nothing is lost.")
    if out.resolve().is_relative_to(job.resolve()):
        raise AttachError(f"{out} is in {job}, which is copied: name a folder outside of it.")
    apps = read_apps(job)
    of_server, clients = _sides(job, apps)
    require_possible([c for a in apps for c in (a.server, a.client) if c is not None])
    server = _plain(of_server.server)
    sites = {app.name: _plain(app.client) for app in clients}
    swarm = is_swarm(server, list(sites.values()))
    tasks = tasks_of(server)
    require_taken(list(sites.values()), tasks)
    model = model or next(filter(None, map(network_of, [server, *sites.values()])), None)
    found = [] if job == given else [f"job {job.name} in {given}"]
    found += [*workflows_text(server), *([f"network {model.path}"] if model else [])]
    known = _known(model, task, input)
    written: dict[str, dict[str, dict[str, Any]]] = {}
    if swarm:
        require_unfiltered(defence_text)
        SwarmRecorder(**known)  # what it refuses is said now, and not after a round of training
        for app, client in sites.items():
            found += add_recorder(client, known)
            written[app] = {"config_fed_client.json": client}
    else:
        found += _to_server(server, tasks, known)
        written[of_server.name] = {"config_fed_server.json": server}
    for app in [] if swarm else clients:
        client = sites[app.name]
        if own := own_filters(client, tasks):
            found.append(
                f"{app.name}: {', '.join(own)} of the job's own stays; the record does not say so"
            )
        if defence_text is not None:
            found += _protect(client, tasks, defence_text, app.name)
        written.setdefault(app.name, {})["config_fed_client.json"] = client
    _write(job, out, written)
    said = {"network": model, "training loss": task, "images": input}
    return Attached(
        folder=out,
        found=list(dict.fromkeys(found)),
        unknown=[f"{what}: not known" for what, value in said.items() if value is None],
        options=_options(model, task, input, apps),
    )


def _sides(job: Path, apps: Sequence[App]) -> tuple[App, list[App]]:
    """The app that configures the server, and those that configure clients."""
    servers = [a for a in apps if a.server is not None]
    clients = [a for a in apps if a.client is not None]
    if len(servers) != 1 or not clients:
        raise AttachError(
            f"{job} has {len(servers)} server and {len(clients)} client configurations that can be "
            "read; one server and at least one client are needed. Export the job again."
        )
    return servers[0], clients


def _options(
    model: ModelSpec | None, task: TaskSpec | None, input: InputSpec | None, apps: Sequence[App]
) -> list[str]:
    """What an audit needs beside the record; nobody's client but ours sends its schedule."""
    own = own_module(model, apps) if model is not None else None
    return [
        *(["--model PATH"] if model is None else []),
        *([f"--allow-model {own}."] if own else []),
        *(["--task LOSS:OUTPUTS"] if task is None else []),
        *(["--input HxWxC"] if input is None else []),
        "--schedule n_images=…,batch_size=…,local_epochs=…,lr=…",
    ]


def attach(
    recipe: Any,
    *,
    tasks: Sequence[str] = ("train",),
    defence_text: str | None = None,
    **recorder: Any,
) -> None:
    """Add the recorder, and filters, to a recipe of NVFlare, in one line.

    Args:
        recipe: Of ``nvflare.app_opt.pt.recipes`` or the like, before it is run or exported.
        tasks: Names of the tasks whose results are updates.
        defence_text: As in `attach_folder`; the recipe needs ``params_transfer_type`` DIFF then.
        recorder: Arguments of `medleak.custom.recorder.UpdateRecorder`, as far as known. A recipe
            of a swarm gets a `medleak.custom.recorder.SwarmRecorder` at its sites, and does not
            say its network: give ``model_path`` and ``model_args``.

    Raises:
        AttachError: Nothing of this recipe would pass the recorder.
    """
    kind = f"{type(recipe).__module__}.{type(recipe).__name__}"
    require_possible([{"recipe": {"path": kind}}])
    job = recipe._job  # there is no public way to it
    # medleak is installed where the job runs: a copy of some of its files would hide the rest.
    job.set_app_packages([*(getattr(job.job, "app_packages", None) or ()), "medleak"])
    known = spec_of(getattr(recipe, "model", None))
    if known is not None and "model_path" not in recorder:
        recorder |= {"model_path": known.path, "model_args": known.args}
    if isinstance(recipe, BaseSwarmLearningRecipe):
        require_unfiltered(defence_text)
        job.to_clients(SwarmRecorder(**recorder), id=RECORDER_ID)
        recipe.add_client_file(_note())
        return
    recipe.add_server_input_filter(UpdateRecorder(**recorder), tasks=list(tasks))
    if defence_text is not None:
        if any(isinstance(s, Withhold) for s in steps_of(defence_text)):
            recipe.add_client_input_filter(RestoreWithheld(), tasks=list(tasks))
        for made in filters_of(defence_text):
            recipe.add_client_output_filter(made, tasks=list(tasks))
    recipe.add_server_file(_note())


def _note() -> str:
    """A file for the server's custom/, which makes its app one that may use our classes."""
    folder = Path(tempfile.mkdtemp(prefix="medleak"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # read when the job is exported
    (folder / Path(_BYOC).name).write_text(_NOTE, encoding="utf-8")
    return str(folder / Path(_BYOC).name)


def _known(
    model: ModelSpec | None, task: TaskSpec | None, input: InputSpec | None
) -> dict[str, Any]:
    """Arguments of a recorder, as far as they are known."""
    args: dict[str, Any] = {}
    if model is not None:
        args |= {"model_path": model.path, "model_args": model.args}
    if task is not None:
        args["task"] = task.model_dump(mode="json")
    if input is not None:
        args["input"] = input.model_dump(mode="json", exclude_none=True)
    return args


def _to_server(
    server: dict[str, Any], tasks: Sequence[str], known: Mapping[str, Any]
) -> Iterator[str]:
    """Put the recorder into the server's configuration."""
    args = {**known, **({} if list(tasks) == ["train"] else {"tasks": list(tasks)})}
    UpdateRecorder(**args)  # what it refuses is said now, and not after a round of training
    recorder = {"path": _RECORDER, "args": args}
    _add_filter(server, "task_result_filters", tasks, [recorder], direction="in")
    yield f"updates are the results of the tasks {', '.join(tasks)}"
    yield "the server's recorder is in: records/ in its run directory"


def _protect(client: dict[str, Any], tasks: Sequence[str], text: str, app: str) -> Iterator[str]:
    """Put the filters of ``text`` into a client's configuration; what else had to change."""
    filters_of(text)  # what they refuse is said now
    other = {} if list(tasks) == ["train"] else {"tasks": list(tasks)}
    entries = [
        {"path": _ADAPTERS + type(s).__name__, "args": declaration(s)["args"] | other}
        for s in steps_of(text)
    ]
    _add_filter(client, "task_result_filters", tasks, entries, direction="out")
    if any(isinstance(s, Withhold) for s in steps_of(text)):
        restore = {"path": f"{_ADAPTERS}RestoreWithheld", "args": {}}
        _add_filter(client, "task_data_filters", tasks, [restore], direction="in")
        yield f"{app}: what is withheld is kept at the site, and restored in the model that comes"
    yield f"{app}: updates leave through {text}"
    for entry in client.get("executors") or []:
        if "*" in (entry.get("tasks") or []):
            # A filter chain of "*" matches nothing, and one of a task's name no other task.
            entry["tasks"] = list(tasks)
            yield f"{app}: the executor takes {', '.join(tasks)} alone, which is filtered"
        executor = entry.get("executor") or {}
        args = executor.get("args") or {}
        if not takes(entry, tasks) or args.get(_TYPE) == "DIFF":
            continue
        if _TYPE in args or _has_type(class_of(executor)):
            executor["args"] = args | {_TYPE: "DIFF"}
            yield f"{app}: {_TYPE} is DIFF now, as what stays at a site is no part of it"
        else:
            yield (
                f"{app}: which weights {class_of(executor)} sends is not known; of FULL ones the "
                "difference is protected, and where the site keeps entries they do not leave it"
            )


def _has_type(path: str) -> bool:
    """Whether an executor of NVFlare's own can be told to send differences."""
    module, _, name = path.rpartition(".")
    if not module.startswith("nvflare."):
        return False  # the job's own code is not imported
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return False
    return _TYPE in inspect.signature(kind).parameters


def _add_filter(
    config: dict[str, Any],
    chain: str,
    tasks: Sequence[str],
    filters: Sequence[dict[str, Any]],
    *,
    direction: str,
) -> None:
    """Append to the chain of ``tasks``: after all that the job has itself.

    NVFlare starts no job with two chains of one task and direction. So what the job's own chains do
    for our tasks goes in front in ours, and they keep their other tasks and the other direction.

    Args:
        direction: Which NVFlare takes on this side for a chain that says none.
    """
    kept: list[dict[str, Any]] = []
    own: dict[str, list[dict[str, Any]]] = {task: [] for task in tasks}
    for old in config.get(chain) or []:
        goes = str(old.get("direction", direction)).lower()
        named = list(old.get("tasks") or [])
        shared = [t for t in named if t in own and goes in (direction, "inout")]
        if others := [t for t in named if t not in shared]:
            kept.append({**old, "tasks": others})
        if shared and goes == "inout":
            other = "out" if direction == "in" else "in"
            kept.append({**old, "tasks": shared, "direction": other})
        for task in shared:
            own[task] += old.get("filters") or []
    for before in {json.dumps(v): v for v in own.values()}.values():
        alike = [t for t in tasks if own[t] == before]
        kept.append({"tasks": alike, "filters": [*before, *filters]})
    config[chain] = kept


def _plain(config: Mapping[str, Any] | None) -> dict[str, Any]:
    return json.loads(json.dumps(config or {}))


def _write(job: Path, out: Path, written: Mapping[str, Mapping[str, dict[str, Any]]]) -> None:
    """The whole new job, or nothing."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        new = Path(scratch) / out.name
        shutil.copytree(job, new, symlinks=True)
        for app, files in written.items():
            for name, content in files.items():
                folder = new / app / "config"
                for old in folder.glob(f"{Path(name).stem}.*"):
                    old.unlink()
                (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            note = new / app / _BYOC
            note.parent.mkdir(exist_ok=True)
            note.write_text(_NOTE, encoding="utf-8")
        new.rename(out)

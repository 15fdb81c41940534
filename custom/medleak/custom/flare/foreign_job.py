"""What an exported NVFlare job is, as far as recording it needs to know; nothing of it is run."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from nvflare.apis.fl_constant import JobConstants

from medleak.custom.record.schema import ModelSpec
from medleak.filters.adapters.examination import kit

_BEYOND = {
    "flower": "Flower's messages pass NVFlare's filters by: neither recorder nor filters would "
    "ever be called. Record and protect inside the Flower app.",
    "swarm": "it is not NVFlare's own swarm of today, whose sites medleak's SwarmRecorder records "
    "at. Record around the sites' training loops (medleak.custom.record.Recorder).",
    "ccwf": "in client-controlled workflows other than a swarm updates pass neither the server nor "
    "an aggregating site, where recorders are. Record around the sites' training loops "
    "(medleak.custom.record.Recorder).",
    "xgboost": "there are no weights of a network to record.",
    "modelencryptor": "updates are encrypted: the server, and its recorder, see nothing of them.",
    ".psi.": "it sends no updates.",
    "tensorstream": "it takes the tensors out of the task before the recorder sees them. Remove "
    "it: NVFlare sends large models in pieces anyhow.",
}
"""Parts of the names of classes, without ``_``, under which nothing can be recorded, and why."""


_SWARM_RECIPES = "nvflare.app_opt.pt.recipes.swarm."
_SWARM = "nvflare.app_common.ccwf."
_IN_A_SWARM = ("Swarm", "CrossSiteEval", "NumberMetricComparator")
"""Beginnings of names in NVFlare's ``ccwf`` of what a swarm that can be recorded has."""


class AttachError(ValueError):
    """A job that cannot be recorded or protected; the message says why."""


def job_in(folder: Path) -> Path:
    """``folder`` itself, or the one job in it: an export of a recipe is a folder with a job in it.

    Raises:
        AttachError: There are several, or ``folder`` is none.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise AttachError(f"{folder} {what}: name the folder of an exported job.")
    jobs = [folder] if _is_job(folder) else sorted(p for p in folder.glob("*") if _is_job(p))
    if len(jobs) > 1:
        raise AttachError(f"{folder} holds {len(jobs)} jobs: name one, such as {jobs[0]}.")
    return jobs[0] if jobs else folder


def _is_job(folder: Path) -> bool:
    return any(path.is_file() for path in folder.glob(f"{Path(JobConstants.META_FILE).stem}.*"))


def read_apps(job: Path) -> list[kit.App]:
    """Every app of the job folder ``job``.

    Raises:
        AttachError: One of them cannot be read.
    """
    try:
        apps = list(kit.load_apps(job, kit.load_meta(job), to_write=True))
    except kit.NotReadable as error:
        raise AttachError(f"{job} is no job that can be read: {error}") from None
    for app in apps:
        if isinstance(app, kit.NotReadable):
            raise AttachError(f"{job}: {app}")
    return [app for app in apps if isinstance(app, kit.App)]


def require_possible(configs: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a job in which a recorder would never be called, by what its configurations name.

    Raises:
        AttachError: It says which class, and why.
    """
    for path in (p for config in configs for p in _classes(config)):
        if path.endswith((".UpdateRecorder", ".SwarmRecorder")):
            raise AttachError(
                f"The job has {path} already: a second one would refuse to write what "
                "the first has written, and stop the job. Attach to the job as it was before."
            )
        for part, why in _BEYOND.items():
            if part in path.lower().replace("_", "") and not _of_a_swarm(path):
                raise AttachError(f"The job has {path}: {why} Nothing was written.")


def _of_a_swarm(path: str) -> bool:
    """Whether ``path`` is NVFlare's own, and of a swarm."""
    if path.startswith((_SWARM_RECIPES, f"{_SWARM}comps.")):
        return True
    return path.startswith(_SWARM) and path.rpartition(".")[2].startswith(_IN_A_SWARM)


def is_swarm(server: Mapping[str, Any], clients: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the job is a swarm of NVFlare's, which is recorded at its sites.

    Raises:
        AttachError: It is one in part.
    """
    workflows = [class_of(w) for w in server.get("workflows") or []]
    led = [w for w in workflows if _of_a_swarm(w) and _named_swarm(w, "Server")]
    taking = [any(map(_takes_part, client.get("executors") or [])) for client in clients]
    if not led and not any(taking):
        return False
    if not led or not all(taking):
        raise AttachError(
            f"The job has {', '.join(workflows) or 'no workflow'} and is a swarm in part: its "
            "server needs NVFlare's SwarmServerController and each client app its "
            "SwarmClientController, or updates would pass no recorder. Nothing was written."
        )
    if others := [w for w in workflows if not _of_a_swarm(w)]:
        raise AttachError(
            f"The job has a swarm and {others[0]}: updates of the one are recorded at the sites, "
            "of the other at the server. Attach to a job of each. Nothing was written."
        )
    return True


def _named_swarm(path: str, side: str) -> bool:
    return path.endswith(f".Swarm{side}Controller")


def _takes_part(entry: Mapping[str, Any]) -> bool:
    path = class_of(entry.get("executor") or {})
    return _of_a_swarm(path) and _named_swarm(path, "Client")


def _classes(content: Any) -> Iterator[str]:
    """Every class that a configuration names, by its path or, with arguments, by its name alone."""
    if isinstance(content, Mapping):
        keys = ("path", "class_path", *(("name",) if "args" in content else ()))
        yield from (str(content[k]) for k in keys if k in content)
        for value in content.values():
            yield from _classes(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _classes(value)


def tasks_of(server: Mapping[str, Any]) -> list[str]:
    """Names of the tasks that train, as the workflows call them; ``train`` where they do not."""
    found = [name for w in server.get("workflows") or [] for name in _named(w) or ["train"]]
    return list(dict.fromkeys(found)) or ["train"]


def without_task(server: Mapping[str, Any]) -> list[str]:
    """Workflows of the job's own code that name no task: which one trains is not known."""
    workflows = server.get("workflows") or []
    paths = [class_of(w) for w in workflows if not _named(w)]
    return [p for p in paths if "." in p and not p.startswith("nvflare.")]


def _named(workflow: Mapping[str, Any]) -> list[str]:
    args = workflow.get("args") or {}
    return [args[k] for k in ("train_task_name", "task_name") if isinstance(args.get(k), str)]


def own_filters(client: Mapping[str, Any], tasks: Sequence[str]) -> list[str]:
    """Classes of the filters that the results of ``tasks`` leave a site through."""
    chains = [c for c in client.get("task_result_filters") or [] if takes(c, tasks)]
    out = [c for c in chains if str(c.get("direction", "out")).lower() != "in"]
    return [class_of(f).rpartition(".")[2] for chain in out for f in chain.get("filters") or []]


def own_module(model: ModelSpec, apps: Sequence[kit.App]) -> str | None:
    """The module in one of the job's folders that makes the network; None where it is installed."""
    top, _, rest = model.path.partition(".")
    places = [app.folder / "custom" / name for app in apps for name in (f"{top}.py", top)]
    return top if rest and any(place.exists() for place in places) else None


def class_of(component: Mapping[str, Any]) -> str:
    """The class of a component, as the job names it."""
    return str(component.get("path") or component.get("class_path") or component.get("name"))


def takes(entry: Mapping[str, Any], tasks: Sequence[str]) -> bool:
    """Whether an entry of ``executors`` takes one of ``tasks``."""
    return any(fnmatch(task, pattern) for task in tasks for pattern in entry.get("tasks") or [])


def require_taken(clients: Sequence[Mapping[str, Any]], tasks: Sequence[str]) -> None:
    """Refuse a job no site of which takes a task that would be recorded.

    Raises:
        AttachError: It says which tasks the sites take.
    """
    entries = [e for client in clients for e in client.get("executors") or []]
    if not any(takes(entry, tasks) for entry in entries):
        theirs = ", ".join(t for e in entries for t in e.get("tasks") or []) or "none"
        raise AttachError(
            f"No site takes the task {' or '.join(tasks)}, whose results would be recorded; they "
            f"take {theirs}. Name the task that trains in the workflow's args, as task_name or "
            "train_task_name. Nothing was written."
        )


def workflows_text(server: Mapping[str, Any]) -> list[str]:
    """The workflows, a sentence each, and what is special about them."""
    names = [class_of(w) for w in server.get("workflows") or []]
    found = [f"workflow {name.rpartition('.')[2]}" for name in names]
    if any("cyclic" in name.lower() for name in names):
        found.append("sites pass the model on: each update is recorded with the model its site got")
    for path in without_task(server):
        found.append(
            f"{path} does not say which task trains: train is assumed, and results of another name "
            "would not be recorded"
        )
    return found


def network_of(server: Mapping[str, Any]) -> ModelSpec | None:
    """The network that the persistor makes; None where the job does not say it by name."""
    components = server.get("components") or []
    by_id = {component.get("id"): component for component in components}
    for component in components:
        named = (component.get("args") or {}).get("model")
        # FedOpt's is a component of its own, which the persistor names by its id.
        found = spec_of(by_id.get(named, named) if isinstance(named, str) else named)
        if found is not None:
            return found
    return None


def spec_of(model: Any) -> ModelSpec | None:
    """A network as jobs and recipes name it, or as it is; None where its arguments are unknown."""
    if isinstance(model, str) and "." in model:
        return ModelSpec(path=model)
    if isinstance(model, Mapping) and (path := model.get("path") or model.get("class_path")):
        return ModelSpec(path=str(path), args=dict(model.get("args") or {}))
    if not hasattr(model, "state_dict"):
        return None
    kind = type(model)
    values = inspect.signature(kind).parameters.values()
    plain = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    if any(v.kind not in plain for v in values):  # which it was made with is not known
        return None
    return ModelSpec(path=f"{kind.__module__}.{kind.__qualname__}")

"""A job folder: does it try, or happen, to go round the filters?"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medleak.filters.allowed import (
    NETWORKS,
    SITE_CLASSES,
    TASKS,
    WORKFLOWS,
    matches,
    past_filters,
    shadows,
    site_networks,
    way_out,
)
from medleak.filters.doctor.check import Check, failed, ok, unknown, warning

if TYPE_CHECKING:
    from medleak.filters.adapters.examination.kit import App

_CLIENT_API = "nvflare.app_common.executors.client_api_executor.ClientAPIExecutor"
_OURS = "medleak.filters.adapters."
_NAMING_CODE = tuple(f"{_OURS}{name}" for name in ("Guard", "LeakageGate", "Rehearsal"))


def tasks_of(job: Path) -> list[str]:
    """Names of the tasks that a job's sites take part in; what cannot be read has none."""
    from medleak.filters.adapters.examination import kit as kits

    try:
        meta = kits.load_meta(job)
    except kits.NotReadable:
        return []
    found = set()
    for app in kits.load_apps(job, meta):
        if not isinstance(app, kits.NotReadable) and app.client is not None:
            for entry in _mappings(app.client.get("executors")):
                found |= {str(t).replace("*", "any") for t in _list(entry.get("tasks"))}
    return sorted(found)


def job_checks(kit: Path, job: Path, scopes: Sequence[str]) -> list[Check]:
    """What ``job`` would do at the site of ``kit``, whose policy has ``scopes``."""
    from medleak.filters.adapters.examination import kit as kits

    try:
        meta = kits.load_meta(job)
    except kits.NotReadable as e:
        return [unknown("job", str(e))]
    if not meta:
        return [unknown("job", f"{job} has no readable meta.json: give a job folder.")]
    checks = list(_meta(meta, scopes))
    seen = 0
    for app in kits.load_apps(job, meta):
        if isinstance(app, kits.NotReadable):
            checks.append(unknown("job", str(app)))
            continue
        checks += _app(app, kit)
        seen += app.client is not None
    for shadow in job.glob("**/custom/medleak"):
        detail = f"{shadow.relative_to(job)} tries to replace the installed package."
        checks.append(failed("job", detail))
    for found in shadows(job):
        detail = f"{found.relative_to(job)} has the name of a file of the site's kit: NVFlare, "
        checks.append(failed("job", detail + "which looks below job folders too, may read it."))
    if not seen:
        checks.append(unknown("job", f"{job} has no configuration of a client that can be read."))
    return checks or [ok("job", "what it names was looked at, and nothing goes round the filters")]


def _meta(meta: Mapping[str, Any], scopes: Sequence[str]) -> Iterator[Check]:
    wanted = meta.get("scope")
    if wanted and wanted not in scopes:
        yield ok("job", f"asks for the unknown scope {wanted!r}: NVFlare refuses it here")
    for key in ("launcher_spec", "resource_spec"):
        spec = meta.get(key)
        if isinstance(spec, Mapping) and re.search(r"image|python_path|command", str(spec)):
            yield failed("job", f"meta's {key} names an image or a command of its own.")


def _app(app: "App", kit: Path) -> Iterator[Check]:
    if (app.folder / "custom").exists() and app.client is not None:
        detail = f"{app.name} brings code (custom/), which can bypass any filter: read it, or "
        yield warning("job", detail + "take the job with --installed.")
    for text in _strings(app.client):
        if text.startswith("$") or "{$" in text:
            detail = f"{app.name} refers to environment variables of the site ({text[:40]!r})."
            yield warning("job", detail)
            break
    for entry in _mappings((app.server or {}).get("workflows")):
        yield from _workflow(app.name, _class(entry))
    if app.client is None:
        return
    executors = _mappings(app.client.get("executors"))
    if not executors:
        yield unknown("job", f"{app.name} has no executors that can be read.")
    for entry in executors:
        yield from _executor(app, entry, kit)
    for entry in _mappings(app.client.get("components")):
        yield from _component(app.name, entry, "component")
    for key in ("task_data_filters", "task_result_filters"):
        for chain in _mappings(app.client.get(key)):
            yield from _filters(app.name, key, chain)
    yield from _idle_filters(app.name, app.client)
    known = {"format_version", "executors", "components", "task_data_filters"}
    for key in sorted(set(app.client) - known - {"task_result_filters"}):
        if _contains_class(app.client[key]):
            yield unknown("job", f"{app.name} names classes under {key!r}, which was not tried.")


def _workflow(app: str, name: str) -> Iterator[Check]:
    if name in WORKFLOWS:
        return
    why = way_out(name)
    if why is not None:
        yield failed("job", f"{app} runs the workflow {name}: {why}.")
    else:
        yield unknown("job", f"{app} runs the workflow {name}, which is not known here.")


def _executor(app: "App", entry: Mapping[str, Any], kit: Path) -> Iterator[Check]:
    tasks = [str(t) for t in _list(entry.get("tasks"))]
    if unprotected := sorted(set(tasks) - set(TASKS) - {"*"}):
        detail = f"{app.name} runs the tasks {', '.join(unprotected)}, whose results"
        yield warning("job", f"{detail} the site's filters refuse.")
    given = entry.get("executor")
    executor = given if isinstance(given, Mapping) else {}
    name, args = _class(executor), executor.get("args")
    args = args if isinstance(args, Mapping) else {}
    if name == _CLIENT_API:
        yield from _client_api(app, args)
    elif name.endswith("InstalledClient") and name in SITE_CLASSES:
        yield from _installed(app.name, args, kit)
    else:
        yield from _component(app.name, executor, "executor")


def _client_api(app: "App", args: Mapping[str, Any]) -> Iterator[Check]:
    mode = args.get("execution_mode")
    if mode != "in_process":
        what = args.get("command") or args.get("attach_id")
        detail = f"{app.name} runs a command of its own at the site ({mode}: {str(what)[:80]!r})."
        yield failed("job", detail)
        return
    script = str(args.get("task_script_path") or "")
    if not (app.folder / "custom" / script).is_file() or script.startswith("/"):
        detail = f"{app.name} runs {script!r}, which the job does not bring: a file of the site's."
        yield failed("job", detail)
    if args.get("params_transfer_type", "FULL") != "DIFF":
        detail = f"{app.name} sends FULL weights: where the site keeps entries (Withhold), nothing "
        detail += 'will be trained. Set params_transfer_type to "DIFF".'
        yield warning("job", detail)


def _installed(app: str, args: Mapping[str, Any], kit: Path) -> Iterator[Check]:
    if extra := sorted(set(args) - {"task_script_args"}):
        yield failed("job", f"{app} gives the installed client {extra[0]!r}, which it has not.")
    words = str(args.get("task_script_args", "")).split()
    named = named_networks(words)
    try:
        allowed = (*NETWORKS, *site_networks(kit / "local"))
    except ValueError:  # said by the checks of the kit
        allowed = NETWORKS
    for network in named:
        if not matches(network, allowed):
            detail = f"{app} names the network {network!r}: its code would run at the site. It is "
            yield failed("job", detail + "none that the site allows (local/medleak.json).")
    if not named:
        yield unknown("job", f"{app} names no network that can be read (--model_path).")


def named_networks(words: Sequence[str]) -> list[str]:
    """Networks that the client's arguments name, abbreviations of the option included."""
    found = []
    for position, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option.startswith("--model_p") and "--model_path".startswith(option):
            found.append(value if equals else next(iter(words[position + 1 :]), ""))
    return found


def _component(app: str, entry: Mapping[str, Any], what: str) -> Iterator[Check]:
    name = _class(entry)
    why = way_out(name)
    if why is not None:
        yield failed("job", f"{app} has the {what} {name}: {why}.")
    elif name not in SITE_CLASSES:
        detail = f"{app} has the {what} {name or 'without a class'}, which is not known here: "
        yield unknown("job", detail + "what it does at the site was not tried.")
    args = entry.get("args")
    for nested in _nested(args):
        yield from _component(app, nested, f"argument of {name.rpartition('.')[2]},")


def _filters(app: str, key: str, chain: Mapping[str, Any]) -> Iterator[Check]:
    if "*" in _list(chain.get("tasks")):
        detail = f'{app} has a filter chain for "*", which NVFlare applies to nothing: name tasks.'
        yield failed("job", detail)
    for entry in _mappings(chain.get("filters")):
        name = _class(entry)
        if "ConvertWeights" in name:
            yield failed("job", f"{app} uses ConvertWeights on results, which sends full weights.")
        elif name in _NAMING_CODE:
            detail = f"{app} uses {name.rpartition('.')[2]} in {key}, whose arguments name code."
            yield failed("job", detail)
        else:
            yield from _component(app, entry, "filter")


def _idle_filters(app: str, client: Mapping[str, Any]) -> Iterator[Check]:
    """Filters beside an executor whose updates never come by them."""
    served = map(_class, _mappings([e.get("executor") for e in _mappings(client.get("executors"))]))
    past = next(filter(past_filters, served), None)
    chains = _mappings(client.get("task_result_filters"))
    names = [_class(f) for chain in chains for f in _mappings(chain.get("filters"))]
    if past and names:
        detail = f"{app} has {names[0].rpartition('.')[2]} beside {past.rpartition('.')[2]}, whose "
        detail += "updates never come by a filter: neither it nor the site's own protect anything."
        yield failed("job", detail)


def _class(entry: Mapping[str, Any]) -> str:
    """The class that NVFlare builds: the first of these keys that is there, as it reads them."""
    for key in ("path", "class_path", "name"):
        if key in entry:
            return str(entry[key])
    return ""


def _nested(found: object) -> Iterator[Mapping[str, Any]]:
    """Arguments that NVFlare would take for components, at any depth."""
    if isinstance(found, Mapping):
        for value in found.values():
            if isinstance(value, Mapping) and "." in _class(value):
                yield value
            else:
                yield from _nested(value)
    elif isinstance(found, list):
        for value in found:
            yield from _nested(value if not isinstance(value, Mapping) else {"": value})


def _contains_class(found: object) -> bool:
    return any(True for _ in _nested({"": found}))


def _strings(found: object) -> Iterator[str]:
    if isinstance(found, str):
        yield found
    elif isinstance(found, Mapping):
        for value in found.values():
            yield from _strings(value)
    elif isinstance(found, list):
        for value in found:
            yield from _strings(value)


def _mappings(found: object) -> list[Mapping[str, Any]]:
    return [f for f in found if isinstance(f, Mapping)] if isinstance(found, list) else []


def _list(found: object) -> list[Any]:
    return found if isinstance(found, list) else [found] if isinstance(found, str) else []

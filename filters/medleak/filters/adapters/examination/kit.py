"""A startup kit and a job, read by NVFlare's own loaders: what would run, not what is written.

For ``medleak doctor``. Imported by it lazily, as everything here needs NVFlare.
"""

import contextlib
import copy
import io
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvflare.apis.filter import Filter
from nvflare.apis.fl_constant import FilterKey, JobConstants, SystemVarName
from nvflare.apis.fl_exception import UnsafeComponentError
from nvflare.apis.workspace import Workspace
from nvflare.app_common.widgets.component_path_authorizer import (
    ClassListEnforcementMode,
    ComponentPathAuthorizer,
)
from nvflare.fuel.sec.authz import parse_policy_config
from nvflare.fuel.utils.config import ConfigFormat
from nvflare.fuel.utils.config_factory import ConfigFactory
from nvflare.fuel.utils.dict_utils import augment
from nvflare.fuel.utils.json_scanner import JsonScanner
from nvflare.fuel.utils.wfconf import resolve_var_refs
from nvflare.private.fed.app.fl_conf import create_privacy_manager
from nvflare.private.privacy_manager import PrivacyManager, Scope


class NotReadable(ValueError):
    """A file that NVFlare, or this installation of it, cannot read; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The filters that a site runs for every task of one scope, in their order."""

    name: str
    data: Sequence[Filter]
    results: Sequence[Filter]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """``privacy.json`` as NVFlare makes it: the chains, and which one a job without a scope gets.

    ``entries`` is what the file says, by scope and list, to tell which entry was left out.
    """

    chains: Sequence[Chain]
    default: str | None
    entries: Mapping[str, Any]


def load_policy(kit: Path) -> Policy:
    """The site's policy as the client process loads it; its filters are built.

    Raises:
        NotReadable: NVFlare refuses the file, so no job starts at this site.
    """
    path = kit / "local" / "privacy.json"
    if not path.is_file():
        raise NotReadable(
            "local/privacy.json is missing: the kit has no filters of its own (medleak policy "
            "writes some)."
        )
    with _quiet():
        try:
            content = _resolved(ConfigFactory.load_config(str(path)), kit)
            manager = create_privacy_manager(Workspace(str(kit), "site"), names_only=False)
        except Exception as e:
            raise NotReadable(f"NVFlare cannot load local/privacy.json: {_short(e)}") from e
    if manager is None:
        raise NotReadable("NVFlare made no policy of local/privacy.json.")
    return Policy(
        chains=[_chain(scope) for scope in _scopes(manager)],
        default=manager.default_scope.name if manager.default_scope else None,
        entries=content,
    )


def _scopes(manager: PrivacyManager) -> list[Scope]:
    return list(manager.name_to_scopes.values()) if manager.is_policy_defined() else []


def _chain(scope: Scope) -> Chain:
    return Chain(
        name=scope.name,
        data=tuple(scope.task_data_filters[FilterKey.IN]),
        results=tuple(scope.task_result_filters[FilterKey.OUT]),
    )


def rights(kit: Path, right: str) -> list[str] | None:
    """Roles to whom the site's rules give ``right`` under some condition; None without rules.

    Raises:
        NotReadable: The file is there and NVFlare cannot use it.
    """
    file = Workspace(str(kit), "site").get_authorization_file_path()
    if file is None:
        return None
    policy, problem = parse_policy_config(_json(Path(file)), {})
    if problem or policy is None:
        raise NotReadable(f"local/{Path(file).name}: {problem}")
    given = []
    for role in policy.roles:
        conditions = policy.role_right_map.get(f"{role}:*") or policy.role_right_map.get(
            f"{role}:{right}"
        )
        if conditions is not None and _may_hold(conditions):
            given.append(role)
    return given


def _may_hold(conditions: Any) -> bool:
    """False only if no user can meet the conditions."""
    from nvflare.fuel.sec.authz import FalseEvaluator, TrueEvaluator

    if any(isinstance(c, TrueEvaluator) for c in conditions.blocked_conditions):
        return False
    allowed = conditions.allowed_conditions
    return not allowed or any(not isinstance(c, FalseEvaluator) for c in allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a site lets jobs build, and what its own processes carry out of it.

    ``classes`` is None where NVFlare's built-in list holds.
    """

    classes: Sequence[str] | None
    effective: Sequence[str]
    enforced: bool
    log_streaming: bool
    components: Sequence[str]


def load_resources(kit: Path) -> Resources:
    """``resources.json`` and the files that NVFlare adds to it.

    Raises:
        NotReadable: One of them cannot be used.
    """
    workspace = Workspace(str(kit), "site")
    file = workspace.get_resources_file_path()
    content = _json(Path(file)) if file else {}
    try:
        allowed, mode, by_default = ComponentPathAuthorizer()._get_policy_from_resources(content)
    except UnsafeComponentError as e:
        raise NotReadable(f"resources.json: {e}") from e
    merged: dict[str, Any] = {}
    for name in workspace.get_config_files_for_startup(is_server=False, for_job=True):
        if name and Path(name).exists():
            try:
                augment(to_dict=merged, from_dict=_json(Path(name)), from_override_to=False)
            except Exception as e:
                raise NotReadable(f"{Path(name).name} cannot be merged: {_short(e)}") from e
    components = merged.get("components", [])
    names = [str(c.get("path") or c.get("name")) for c in components if isinstance(c, dict)]
    # NVFlare streams unless the value is false; other values it converts, so they count as true.
    streaming = content.get("allow_log_streaming", True) is not False
    return Resources(
        classes=None if by_default else list(allowed),
        effective=list(allowed),
        enforced=mode is ClassListEnforcementMode.ENFORCE,
        log_streaming=streaming,
        components=names,
    )


def admits(resources: Resources, name: str) -> bool:
    """True if a job without code may build the class ``name`` here."""
    if not resources.enforced or "*" in resources.effective:
        return True
    return any(ComponentPathAuthorizer._path_matches_prefix(name, p) for p in resources.effective)


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """One app of a job: its client and server configuration as NVFlare reads them, None: none."""

    name: str
    folder: Path
    client: Mapping[str, Any] | None
    server: Mapping[str, Any] | None


def load_meta(job: Path) -> Mapping[str, Any]:
    """The job's ``meta``, in any format that NVFlare reads."""
    return _load(job, JobConstants.META_FILE, deep=False) or {}


def load_apps(
    job: Path, meta: Mapping[str, Any], *, to_write: bool = False
) -> Iterator[App | NotReadable]:
    """Every app of the job that a site may be given; what cannot be read is yielded as an error.

    Args:
        job: Its folder.
        meta: What `load_meta` gave.
        to_write: Leave what only a running site knows, ``{SITE_NAME}`` or ``{$HOME}``, as it is.
    """
    deployed = meta.get("deploy_map")
    named = list(deployed) if isinstance(deployed, Mapping) else []
    found = {p.parent.name for p in job.glob("*/config") if p.is_dir()}
    for name in sorted({*map(str, named), *found}):
        folder = job / name
        try:
            if not folder.resolve().is_relative_to(job.resolve()) or not folder.is_dir():
                raise NotReadable(f"The app {name!r} of meta is no folder of the job.")
            yield App(
                name=name,
                folder=folder,
                client=_load(folder / "config", JobConstants.CLIENT_JOB_CONFIG, to_write=to_write),
                server=_load(folder / "config", JobConstants.SERVER_JOB_CONFIG, to_write=to_write),
            )
        except NotReadable as e:
            yield e


def _load(
    folder: Path, file: str, *, deep: bool = True, to_write: bool = False
) -> dict[str, Any] | None:
    """A configuration by NVFlare's search: any format, and below ``folder`` if ``deep``."""
    with _quiet():
        kind, found = _search(folder, file, deep)
        if kind is None or found is None:
            return None
        try:
            loader = ConfigFactory.get_config_loader(kind)
            try:
                config = loader and loader.load_config(file_path=found)
            except ModuleNotFoundError:  # OmegaConf is optional, and imported when it is needed
                config = None
            if config is None and ".y" in Path(found).name:
                return _plain_yaml(Path(found), to_write)
            return _resolved(config, folder, to_write)
        except NotReadable:
            raise
        except Exception as e:
            raise NotReadable(f"{Path(found).name} of {folder} cannot be read: {_short(e)}") from e


def _search(folder: Path, file: str, deep: bool) -> tuple[ConfigFormat | None, str | None]:
    if deep:
        return ConfigFactory.search_config_format(file, [str(folder)])
    name = ConfigFactory.get_file_basename(file)
    for extension, kind in ConfigFormat.config_ext_formats().items():
        if (folder / f"{name}{extension}").is_file():
            return kind, str(folder / f"{name}{extension}")
    return None, None


def _plain_yaml(path: Path, to_write: bool) -> dict[str, Any]:
    """YAML without OmegaConf, which NVFlare takes for it and which may be missing here."""
    text = path.read_text(encoding="utf-8")
    if "${" in text:
        raise NotReadable(f"{path.name} refers to other values: pip install omegaconf to read it.")
    import yaml

    content = yaml.safe_load(text)
    if not isinstance(content, dict):
        raise NotReadable(f"{path.name} holds a {type(content).__name__}, not a mapping.")
    return _expanded(content, to_write)


def _resolved(config: Any, where: Path, to_write: bool = False) -> dict[str, Any]:
    content = config.to_dict() if config is not None else None
    if not isinstance(content, dict):
        raise NotReadable(f"A configuration in {where} is no mapping of names to values.")
    return _expanded(content, to_write)


def _expanded(content: dict[str, Any], to_write: bool) -> dict[str, Any]:
    """With ``{name}`` replaced as NVFlare's configurator does before it builds anything."""
    content = copy.deepcopy(content)
    variables = copy.deepcopy(content)
    system = {v for k, v in vars(SystemVarName).items() if not k.startswith("_")}
    for name in [k for k in content if isinstance(k, str) and k.startswith("@")]:
        content.pop(name)
    # What only the running site knows stands for itself; it names no class.
    names = [name for name in system if isinstance(name, str)]
    variables |= {name: f"{{{name}}}" if to_write else f"${name}" for name in names}
    if to_write:  # else the values of this machine's environment, as NVFlare has them of the site's
        variables |= {f"${name}": f"{{${name}}}" for name in os.environ}
    resolve_var_refs(JsonScanner(content, ["configuration"]), variables)
    return content


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise NotReadable(f"{path.parent.name}/{path.name} is no JSON: {_short(e)}") from e
    if not isinstance(content, dict):
        raise NotReadable(f"{path.parent.name}/{path.name} is no JSON object.")
    return content


def _short(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:1000]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """NVFlare prints and logs what it then raises."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)

"""Is protection in force at this site? Checks on a startup kit, and on a job against it.

Pure functions from folders to records; ``medleak doctor`` prints them. A check that failed means
that updates can leave unprotected, or that none will leave at all; a warning is something that a
person has to decide. No check can see what foreign training code does: see docs/deploy.md.
"""

import importlib.metadata
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medleak.filters.noise import NoiseSource
from medleak.filters.privacy import ledger
from medleak.filters.registry import ROWS

Status = Literal["ok", "warning", "failed"]

_PACKAGE = "medleak.filters.adapters."
_PROTECTING = {row.make.__name__ for row in ROWS} | {"Guard"}
# AES-256 of the zero block under the zero key (NIST CAVP): the cipher on this machine works.
_KNOWN_STREAM = "dc95c078a2408989ad48a21492842087"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding: what was looked at, how it is, and what to do if it is not well."""

    name: str
    status: Status
    detail: str


def examine(kit: Path, job: Path | None = None) -> list[Check]:
    """All checks of the startup kit at ``kit``, and of the job folder ``job`` if given.

    Reads only; builds the filters of the policy once, to see that they can be built.
    """
    if not (kit / "startup").is_dir() or not (kit / "local").is_dir():
        detail = f"{kit} has no startup/ and local/: give a site's startup kit, such as …/site-1."
        return [_failed("startup kit", detail)]
    policy, checks = _policy(kit)
    checks += installation(kit)
    checks += entropy()
    for scope in policy.get("scopes", []):
        checks += scope_checks(scope, kit)
    checks += site_rules(kit)
    if job is not None:
        checks += job_checks(job, policy)
    return checks


def healthy(checks: list[Check]) -> bool:
    """True if no check failed."""
    return all(c.status != "failed" for c in checks)


def installation(kit: Path) -> list[Check]:
    """medleak is installed where a job cannot put another in front of it."""
    checks = []
    try:
        found = importlib.metadata.distribution("medleak")
    except importlib.metadata.PackageNotFoundError:
        return [_failed("installation", "medleak is not installed: pip install its wheel here.")]
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        detail = "medleak is an editable install, which a job's custom/medleak can shadow: install "
        checks.append(_failed("installation", detail + "the wheel instead."))
    else:
        checks.append(_ok("installation", f"medleak {found.version}, installed from its wheel"))
    if (kit / "local" / "custom" / "medleak").exists():
        detail = "local/custom/medleak exists and may replace the installed package: remove it."
        checks.append(_failed("shadowing", detail))
    return checks


def entropy() -> list[Check]:
    """Random bits come from the operating system, and the cipher that stretches them works."""
    try:
        known = NoiseSource(bytes(32)).words(2).tobytes().hex() == _KNOWN_STREAM
        fresh = os.urandom(32) != os.urandom(32)
    except Exception as e:
        return [_failed("entropy", f"the noise source does not work: {e}")]
    if not (known and fresh):
        return [_failed("entropy", "the noise source gives wrong or repeated bits: do not use.")]
    return [_ok("entropy", "operating system, stretched by AES-256 in counter mode")]


def scope_checks(scope: Mapping[str, Any], kit: Path) -> list[Check]:
    """One scope of ``privacy.json``: a job chooses among them, so each must protect by itself."""
    name = f"scope {scope.get('name')!r}"
    results = [_class(f) for f in scope.get("task_result_filters", [])]
    checks: list[Check] = []
    if not _PROTECTING & set(results):
        detail = "no medleak filter in task_result_filters: a job that names this scope sends bare."
        return [_failed(name, detail)]
    checks.append(
        _ok(name, "results pass " + ", then ".join(r or "another filter" for r in results))
    )
    if "GlobalModel" not in [_class(f) for f in scope.get("task_data_filters", [])]:
        detail = f"{_PACKAGE}GlobalModel is missing in task_data_filters: every update is refused."
        checks.append(_failed(name, detail))
    known = [r for r in results if r]
    if {"ClippedGaussian", "ClippedLaplace", "DeclareDPSGD"} & set(known):
        if "PrivacyLedger" not in known:
            detail = f"no {_PACKAGE}PrivacyLedger: ε is not counted over rounds."
            checks.append(_warning(name, detail))
        elif known[-1] != "PrivacyLedger":
            detail = f"PrivacyLedger stands before {known[-1]}: put it last, to see what leaves."
            checks.append(_failed(name, detail))
    for entry in [*scope.get("task_data_filters", []), *scope.get("task_result_filters", [])]:
        checks += _filter_checks(name, entry, kit)
    return checks


def site_rules(kit: Path) -> list[Check]:
    """Who may bring code, which classes may be built, and what the logs carry out."""
    checks = []
    rules = _load(
        kit / "local" / "authorization.json", kit / "local" / "authorization.json.default"
    )
    bringing = sorted(
        role
        for role, rights in rules.get("permissions", {}).items()
        if rights == "any" or (isinstance(rights, dict) and rights.get("byoc", "none") != "none")
    )
    if bringing:
        detail = f"{', '.join(bringing)} may bring code (byoc), which can bypass any filter: "
        checks.append(_warning("foreign code", detail + 'set "byoc": "none" unless you read it.'))
    else:
        checks.append(_ok("foreign code", "no role may bring code"))
    resources = _load(kit / "local" / "resources.json", kit / "local" / "resources.json.default")
    allowed = resources.get("class_allow_list") or []
    if "*" in allowed or resources.get("class_list_enforcement_mode") == "warn":
        detail = "any class may be built: list the packages that jobs need, and enforce the list."
        checks.append(_warning("class allow-list", detail))
    elif any(str(a).startswith("medleak") for a in allowed):
        checks.append(_ok("class allow-list", "enforced, with medleak's classes"))
    else:
        detail = 'enforced, without "medleak.": jobs of our recipes cannot be built here.'
        checks.append(_warning("class allow-list", detail))
    if resources.get("allow_log_streaming"):
        detail = "logs are streamed to the server (allow_log_streaming): losses and error messages "
        checks.append(_warning("logs", detail + "of training scripts leave with them."))
    return checks


def job_checks(job: Path, policy: Mapping[str, Any]) -> list[Check]:
    """A job folder: does it try, or happen, to go round the filters?"""
    meta = _load(job / "meta.json")
    if not meta:
        return [_failed("job", f"{job} has no readable meta.json: give a job folder.")]
    checks = []
    wanted, scopes = meta.get("scope"), [s.get("name") for s in policy.get("scopes", [])]
    if wanted and wanted not in scopes:
        checks.append(_ok("job", f"asks for the unknown scope {wanted!r}: NVFlare refuses it here"))
    for shadow in job.glob("*/custom/medleak"):
        detail = f"{shadow.relative_to(job)} tries to replace the installed package."
        checks.append(_failed("job", detail))
    protected = _protected_tasks(policy)
    for path in sorted(job.glob("*/config/config_fed_client.json")):
        checks += _client_app_checks(path.parent.parent.name, _load(path), protected)
    return checks or [_ok("job", "nothing in it goes round the filters")]


def _client_app_checks(app: str, config: Mapping[str, Any], protected: set[str]) -> Iterator[Check]:
    for entry in config.get("executors", []):
        tasks = entry.get("tasks", [])
        if unprotected := sorted(set(tasks) - protected - {"*"}):
            detail = (
                f"{app} runs the tasks {', '.join(unprotected)}, which the site's filters refuse."
            )
            yield _warning("job", detail)
        args = entry.get("executor", {}).get("args", {})
        if args.get("params_transfer_type", "FULL") != "DIFF":
            detail = f"{app} sends FULL weights, which the site's filters refuse: set "
            yield _failed("job", detail + 'params_transfer_type to "DIFF".')
    for chain in config.get("task_result_filters", []):
        if "*" in chain.get("tasks", []):
            detail = (
                f'{app} has a filter chain for "*", which NVFlare applies to nothing: name tasks.'
            )
            yield _failed("job", detail)
        if any("ConvertWeights" in str(f.get("path")) for f in chain.get("filters", [])):
            yield _failed("job", f"{app} uses ConvertWeights on results, which sends full weights.")


def _filter_checks(scope: str, entry: Mapping[str, Any], kit: Path) -> Iterator[Check]:
    name, args = _class(entry), dict(entry.get("args") or {})
    if name is None:
        return
    try:
        from medleak.filters import adapters

        getattr(adapters, name)(**args)
    except Exception as e:
        yield _failed(scope, f"{name} cannot be built, so no job will run: {e}")
        return
    if args.get("seed") is not None:
        yield _failed(scope, f"{name} has a seed: its noise can be subtracted. Remove the seed.")
    if args.get("buffers") == "pass":
        detail = f'{name} sends batch-norm statistics bare (buffers="pass"), which leak images.'
        yield _failed(scope, detail)
    if name in {"PrivacyLedger", "PrivacyBudget"}:
        yield _ledger_check(scope, kit / str(args.get("path", ledger.FILE_NAME)))


def _ledger_check(scope: str, path: Path) -> Check:
    try:
        known = ledger.read(path)
    except (ledger.LedgerError, OSError) as e:
        return _failed(scope, str(e))
    folder = path if path.exists() else next(p for p in path.parents if p.exists())
    if not os.access(folder, os.W_OK):
        return _failed(scope, f"the ledger {path} cannot be written, so no update will leave.")
    return _ok(scope, f"ledger {path.name}: {len(known.entries)} entries, intact and writable")


def _policy(kit: Path) -> tuple[dict[str, Any], list[Check]]:
    path = kit / "local" / "privacy.json"
    if not path.exists():
        detail = "local/privacy.json is missing: only what the job brings protects this site."
        return {}, [_failed("site policy", detail)]
    policy = _load(path)
    names = [s.get("name") for s in policy.get("scopes", [])]
    if not names:
        return {}, [_failed("site policy", "local/privacy.json is no JSON with scopes: no policy.")]
    if policy.get("default_scope") not in names:
        detail = f"default_scope is not one of {names}: a job that names no scope sends bare."
        return policy, [_failed("site policy", detail)]
    detail = f"local/privacy.json, default scope {policy['default_scope']!r}"
    return policy, [_ok("site policy", detail)]


def _protected_tasks(policy: Mapping[str, Any]) -> set[str]:
    entries = [f for s in policy.get("scopes", []) for f in s.get("task_result_filters", [])]
    return {t for f in entries if _class(f) for t in (f.get("args") or {}).get("tasks", ["train"])}


def _class(entry: Mapping[str, Any]) -> str | None:
    path = str(entry.get("path", ""))
    return path.rpartition(".")[2] if path.startswith(_PACKAGE) else None


def _load(*paths: Path) -> dict[str, Any]:
    for path in paths:
        if path.exists():
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                return {}
            return content if isinstance(content, dict) else {}
    return {}


def _ok(name: str, detail: str) -> Check:
    return Check(name=name, status="ok", detail=detail)


def _warning(name: str, detail: str) -> Check:
    return Check(name=name, status="warning", detail=detail)


def _failed(name: str, detail: str) -> Check:
    return Check(name=name, status="failed", detail=detail)

"""Is protection in force at this site? A startup kit, and a job against it, loaded and tried.

``medleak doctor`` prints what :func:`examine` finds. Nothing is believed that was not evaluated:
files are read by NVFlare's own loaders, and made-up updates are sent through the very filters that
would run. What could not be read or tried is "not examined". No check can see what foreign
training code does: see docs/deploy.md.
"""

import importlib.util
from pathlib import Path

from medleak.filters.doctor.check import (
    NOT_KNOWN,
    PROTECTED,
    UNPROTECTED,
    Check,
    Status,
    failed,
    healthy,
    unknown,
    verdict,
)
from medleak.filters.doctor.installation import entropy, installation
from medleak.filters.doctor.jobs import job_checks, tasks_of
from medleak.filters.doctor.rules import site_rules
from medleak.filters.doctor.scopes import scope_checks, site_policy
from medleak.filters.policy import is_server

__all__ = [
    "NOT_KNOWN",
    "PROTECTED",
    "SERVER",
    "UNPROTECTED",
    "Check",
    "Status",
    "entropy",
    "examine",
    "healthy",
    "installation",
    "job_checks",
    "scope_checks",
    "site_policy",
    "site_rules",
    "verdict",
]


def examine(kit: Path, job: Path | None = None) -> list[Check]:
    """All checks of the startup kit at ``kit``, and of the job folder ``job`` if given.

    Changes nothing in either; builds the filters of the policy and sends made-up updates through
    them, in a folder of its own.
    """
    if not (kit / "startup").is_dir() or not (kit / "local").is_dir():
        detail = f"{kit} has no startup/ and local/: give a site's startup kit, such as …/site-1."
        return [failed("startup kit", detail)]
    if importlib.util.find_spec("nvflare") is None:
        return [unknown("NVFlare", "is not installed here: nothing can be loaded or tried.")]
    if is_server(kit):
        return _server(kit)
    tasks = [] if job is None else tasks_of(job)
    policy, checks = site_policy(kit, list(dict.fromkeys(["train", *tasks])))
    checks += installation(kit)
    checks += entropy()
    checks += site_rules(kit)
    if job is not None:
        scopes = [] if policy is None else [chain.name for chain in policy.chains]
        checks += job_checks(kit, job, scopes)
    return checks


SERVER = "server"
"""Name of the check that says why a server's kit is no site's."""


def _server(kit: Path) -> list[Check]:
    """What can be said of a server: no filter of its own protects what a site sends."""
    detail = (
        "this is the server's kit: filters there would run after updates have left, and what its "
        "class list lets jobs build is not looked at. Examine each site's own kit."
    )
    rules = [c for c in site_rules(kit) if c.name in ("foreign code", "logs")]
    return [unknown(SERVER, detail), *installation(kit), *entropy(), *rules]

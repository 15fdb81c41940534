"""Who may bring code, which classes jobs may build, and what logs and events carry out."""

from pathlib import Path

from medleak.filters.allowed import (
    DANGEROUS,
    INSTALLED_CLIENT,
    SITE_CLASSES,
    shadows,
    site_networks,
)
from medleak.filters.doctor.check import Check, failed, ok, warning


def site_rules(kit: Path) -> list[Check]:
    """``authorization.json`` and ``resources.json``, as NVFlare evaluates them."""
    return [*_shadows(kit), *_foreign_code(kit), *_resources(kit), *_networks(kit)]


def _shadows(kit: Path) -> list[Check]:
    detail = "outside of local/ and startup/: NVFlare may read it as the site's own. Remove it."
    return [failed("kit", f"{p.relative_to(kit)} lies {detail}") for p in shadows(kit)]


def _networks(kit: Path) -> list[Check]:
    try:
        named = site_networks(kit / "local")
    except ValueError as e:
        return [failed("networks", f"{e} No installed job will run.")]
    if not named:
        return [ok("networks", "jobs without code choose among medleak's own")]
    detail = f"jobs may also import and call {', '.join(named)}: you vouch for all that is there."
    return [warning("networks", detail)]


def _foreign_code(kit: Path) -> list[Check]:
    from medleak.filters.adapters.examination import kit as kits

    try:
        bringing = kits.rights(kit, "byoc")
    except kits.NotReadable as e:
        return [failed("foreign code", f"{e}. Who may bring code is not known.")]
    if bringing is None:
        detail = "local/authorization.json is missing: NVFlare then lets everybody bring code."
        return [failed("foreign code", detail)]
    if bringing:
        detail = f"{', '.join(bringing)} may bring code (byoc), which can bypass any filter: "
        return [warning("foreign code", detail + 'set "byoc": "none" unless you read it.')]
    return [ok("foreign code", "no role may bring code")]


def _resources(kit: Path) -> list[Check]:
    from medleak.filters.adapters.examination import kit as kits

    name = "class allow-list"
    try:
        found = kits.load_resources(kit)
    except kits.NotReadable as e:
        return [failed(name, f"{e}. What jobs may build is not known.")]
    checks = []
    open_to = [d for d in DANGEROUS if kits.admits(found, d)]
    if not found.enforced or "*" in found.effective:
        detail = "any class may be built, those that run commands too: list the classes that "
        checks.append(failed(name, detail + "jobs need, one by one (medleak policy writes it)."))
    elif open_to:
        which = "NVFlare's built-in list" if found.classes is None else "the list"
        detail = f"{which} admits {open_to[0].rpartition('.')[2]} and {len(open_to) - 1} more "
        detail += "classes that run commands or send past the filters: name classes, not packages"
        checks.append(failed(name, f"{detail} (medleak policy writes the list)."))
    elif others := [c for c in found.effective if c not in SITE_CLASSES]:
        detail = f"beside what our jobs need it admits {', '.join(others[:3])}: you vouch for that."
        checks.append(warning(name, detail))
    elif kits.admits(found, INSTALLED_CLIENT):
        checks.append(ok(name, "enforced, class by class"))
    if not kits.admits(found, INSTALLED_CLIENT):
        detail = f"{INSTALLED_CLIENT} is not admitted: jobs of our recipes cannot be built here."
        checks.append(warning(name, detail))
    checks += _logs(found.log_streaming, found.components)
    return checks


def _logs(allowed: bool, components: object) -> list[Check]:
    if allowed:
        detail = "logs are streamed to the server (allow_log_streaming is not false): losses and "
        return [warning("logs", detail + "error messages of training scripts leave with them.")]
    named = [str(c) for c in components] if isinstance(components, list | tuple) else []
    if any("log_streamer" in c.lower() or "logstreamer" in c.lower() for c in named):
        detail = "a log streamer is among the site's components; allow_log_streaming stops it. "
        return [ok("logs", detail + "Remove it all the same.")]
    return [ok("logs", "are not streamed")]

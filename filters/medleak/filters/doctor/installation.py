"""Is medleak itself installed where nobody can replace it, and does its noise source work?"""

import importlib.metadata
import json
import os
from pathlib import Path

from medleak.filters.doctor.check import Check, failed, ok
from medleak.filters.noise import NoiseSource

# AES-256 of the zero block under the zero key (NIST CAVP): the cipher on this machine works.
_KNOWN_STREAM = "dc95c078a2408989ad48a21492842087"


def installation(kit: Path) -> list[Check]:
    """medleak is installed where a job cannot put another in front of it."""
    checks = []
    try:
        found = importlib.metadata.distribution("medleak")
    except importlib.metadata.PackageNotFoundError:
        return [failed("installation", "medleak is not installed: pip install its wheel here.")]
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        detail = "medleak is an editable install, which a job's custom/medleak can shadow: install "
        checks.append(failed("installation", detail + "the wheel instead."))
    else:
        checks.append(ok("installation", f"medleak {found.version}, installed from its wheel"))
    if (kit / "local" / "custom" / "medleak").exists():
        detail = "local/custom/medleak exists and may replace the installed package: remove it."
        checks.append(failed("shadowing", detail))
    return checks


def entropy() -> list[Check]:
    """Random bits come from the operating system, and the cipher that stretches them works."""
    try:
        known = NoiseSource(bytes(32)).words(2).tobytes().hex() == _KNOWN_STREAM
        fresh = os.urandom(32) != os.urandom(32)
    except Exception as e:
        return [failed("entropy", f"the noise source does not work: {e}")]
    if not (known and fresh):
        return [failed("entropy", "the noise source gives wrong or repeated bits: do not use.")]
    return [ok("entropy", "operating system, stretched by AES-256 in counter mode")]

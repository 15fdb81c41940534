"""What a check of a site ends in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "failed", "not examined"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding: what was looked at, how it is, and what to do if it is not well.

    ``failed``: updates or other data can leave unprotected, or none will leave at all. ``warning``:
    a person has to decide. ``not examined``: nothing is known, which is not the same as ``ok``.
    """

    name: str
    status: Status
    detail: str


PROTECTED, UNPROTECTED, NOT_KNOWN = 0, 1, 3


def verdict(checks: Sequence[Check]) -> int:
    """``PROTECTED``, ``UNPROTECTED`` or ``NOT_KNOWN``: the exit codes of ``medleak doctor``."""
    found = {check.status for check in checks}
    if "failed" in found:
        return UNPROTECTED
    return NOT_KNOWN if "not examined" in found or not found else PROTECTED


def healthy(checks: Sequence[Check]) -> bool:
    """True if everything was examined and nothing failed."""
    return verdict(checks) == PROTECTED


def ok(name: str, detail: str) -> Check:
    """All is well."""
    return Check(name=name, status="ok", detail=detail)


def warning(name: str, detail: str) -> Check:
    """A person has to decide."""
    return Check(name=name, status="warning", detail=detail)


def failed(name: str, detail: str) -> Check:
    """A way out, or no way at all."""
    return Check(name=name, status="failed", detail=detail)


def unknown(name: str, detail: str) -> Check:
    """Could not be read or tried."""
    return Check(name=name, status="not examined", detail=detail)

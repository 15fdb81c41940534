"""The leakage gate: invert an update before sending it, in a process that can be stopped.

The measure is named as ``"module:function"`` and run by `medleak.filters.apart.process`. It is
called as ``measure(update, global_state, **args)`` with arrays by name and returns
``{"rdlv": float, "healthy": bool}`` and whatever else it wants to have logged: the worst relative
data leakage value (arXiv:2202.06924v2, eq. 6) over the site's own images, best an upper bound, and
whether the attack passed its own health check. An attack that failed proves nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medleak.filters.apart.process import Named, answer_of
from medleak.filters.update import Update, UpdateError

MEASURES = ("medleak.inversion.gate:measure",)
"""Measures that a job may name."""
_NAMED = Named(
    it="The attack of the leakage gate",
    names="The leakage gate's measure",
    quicker="give the attack fewer iterations",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leakage:
    """What a measure found: the worst RDLV, whether the attack was healthy, and details."""

    rdlv: float
    healthy: bool
    details: Mapping[str, Any]


def measure_leakage(
    measure: str,
    update: Update,
    global_state: Update,
    args: Mapping[str, Any],
    *,
    time_limit: float,
    allowed: Sequence[str] = (),
) -> Leakage:
    """Run ``measure`` on copies in a child process, for at most ``time_limit`` seconds.

    Its module is imported there only if ``measure`` is ours (:data:`MEASURES`) or in ``allowed``,
    which the site's operator vouches for: a job could name any code.

    Raises:
        UpdateError: It took too long, failed, or answered with something else. The caller must
            then keep the update at home.
    """
    answer = answer_of(
        measure,
        [update, global_state],
        args,
        time_limit=time_limit,
        allowed=(*MEASURES, *allowed),
        named=_NAMED,
    )
    return _answer(answer)


def check_leakage(found: Leakage, threshold: float) -> None:
    """Raise :class:`UpdateError` unless ``found`` is healthy and its RDLV at most ``threshold``."""
    if not found.healthy:
        raise UpdateError(
            "The attack of the leakage gate did not pass its own health check, so its failure to "
            "reconstruct proves nothing. Give it more iterations, or check its settings."
        )
    if not found.rdlv <= threshold:
        raise UpdateError(
            "The attack of the leakage gate reconstructs a training image from this update better "
            f"than the threshold of {threshold:g} allows. Add noise or withhold statistics before "
            "the gate, or train on more images."
        )


def _answer(raw: object) -> Leakage:
    details = dict(raw) if isinstance(raw, dict) else {}
    rdlv, healthy = details.pop("rdlv", None), details.pop("healthy", None)
    if not isinstance(rdlv, int | float) or math.isnan(rdlv) or not isinstance(healthy, bool):
        raise UpdateError(
            f"The measure of the leakage gate answered {raw!r}; it must give rdlv (a number) and "
            "healthy (true or false)."
        )
    return Leakage(rdlv=float(rdlv), healthy=healthy, details=details)

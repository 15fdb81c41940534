"""The leakage gate as a filter."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from nvflare.apis.fl_context import FLContext

from medleak.filters import checks
from medleak.filters.adapters.rim import (
    FailClosedFilter,
    global_model,
    note_defence,
    of_the_site,
)
from medleak.filters.apart.leakage_gate import check_leakage, measure_leakage
from medleak.filters.apart.process import check_name


class LeakageGate(FailClosedFilter):
    """Let an update out only if an attack on it reconstructs no better than ``threshold``.

    Changes nothing; belongs after the filters that add noise, as it must see what the server would
    see. ε: none. "Safe" means: against this attack with this knowledge. That an update was
    withheld is itself visible to the server, and depends on the data.

    Args:
        measure: The attack, as ``"module:function"``; see
            :mod:`medleak.filters.apart.leakage_gate`.
        threshold: Highest RDLV allowed; 0: no better than the prior image.
        time_limit: Seconds, after which the update stays at home.
        measure_args: Arguments of the measure, such as where the site's images are.
        tasks: Protected tasks.
    """

    _always_serialize_args: ClassVar = (
        *("measure", "threshold", "time_limit", "measure_args", "tasks"),
    )

    def __init__(
        self,
        measure: str,
        threshold: float = 0.0,
        time_limit: float = 120.0,
        measure_args: Mapping[str, Any] | None = None,
        tasks: Sequence[str] = ("train",),
    ) -> None:
        """Take the attack, its limits and the protected tasks."""
        super().__init__(tasks)
        checks.require_positive("time_limit", time_limit, "the attack needs some time.")
        if isinstance(threshold, bool) or not -1 <= threshold <= 10:
            raise ValueError(
                f"threshold is an RDLV, usually 0, and must be in [-1, 10]: {threshold!r}."
            )
        check_name(measure)
        self.measure, self.threshold, self.time_limit = measure, threshold, time_limit
        self.measure_args = dict(measure_args or {})

    def protect(
        self, update: Mapping[str, Any], meta: dict[str, Any], fl_ctx: FLContext
    ) -> Mapping[str, Any]:
        """Attack a copy of the update; return the update or raise."""
        state, _ = global_model(fl_ctx)
        found = measure_leakage(
            self.measure,
            update,
            state,
            self.measure_args,
            time_limit=self.time_limit,
            allowed=(self.measure,) if of_the_site(self) else (),
        )
        check_leakage(found, self.threshold)
        self.log_info(fl_ctx, f"leakage gate: passed by {self.measure}")
        declared = {"measure": self.measure, "threshold": self.threshold}
        note_defence({"name": "leakage_gate", "args": declared}, None, meta, fl_ctx)
        return update

"""The rehearsal as a filter: a model that would give the site's images away is not trained."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from nvflare.apis.fl_context import FLContext

from medleak.filters import checks
from medleak.filters.adapters.compression import STATE_DIR
from medleak.filters.adapters.incoming.watch import Incoming, Watch
from medleak.filters.adapters.rim import of_the_site
from medleak.filters.apart.process import check_name
from medleak.filters.sentinel.examination import digest
from medleak.filters.sentinel.memory import entry
from medleak.filters.sentinel.rehearsal import (
    CLASS_LOSS,
    DOMINANCE,
    GIVEN_AWAY,
    MEASURE,
    Limits,
    judge,
    rehearse,
)


class Rehearsal(Watch):
    """Try a step of the model on the site's own images; refuse what would give them away.

    For ``task_data_filters``, after :class:`Sentinel`, in the site's own ``privacy.json``: its
    arguments name code and the site's files. It sees how weights act, not how they look, and so a
    trap that looks like honest training; and an honest network that gives images away. It runs in a
    process of its own on the CPU. What cannot be rehearsed is refused, whatever ``on_alarm`` says.
    That a task was refused is visible to the server, and depends on the data.

    Args:
        measure_args: Arguments of the measure: where the images are and how training shows them
            (:func:`medleak.inversion.rehearsal.measure.measure`).
        measure: The rehearsal, as ``"module:function"``.
        given_away, dominance, class_loss: See :class:`medleak.filters.sentinel.rehearsal.Limits`.
        time_limit: Seconds, after which the task is refused.
        on_alarm: As that of :class:`Sentinel`.
        state_dir: Folder in the site's own, for a record of what was found: numbers, no images.
        tasks: Tasks that carry a model to be trained; all others are refused.
    """

    _always_serialize_args: ClassVar = (
        *("measure_args", "measure", "given_away", "dominance", "class_loss"),
        *("time_limit", "on_alarm", "tasks"),
    )
    _folder: ClassVar = "rehearsal"

    def __init__(
        self,
        measure_args: Mapping[str, Any],
        measure: str = MEASURE,
        given_away: float = GIVEN_AWAY,
        dominance: float = DOMINANCE,
        class_loss: float = CLASS_LOSS,
        time_limit: float = 120.0,
        on_alarm: str = "refuse_round",
        state_dir: str = STATE_DIR,
        tasks: Sequence[str] = ("train",),
    ) -> None:
        """Take the rehearsal, its limits and what to do."""
        super().__init__(on_alarm, state_dir, tasks)
        check_name(measure)
        checks.require_positive("time_limit", time_limit, "the rehearsal needs some time.")
        self.limits = Limits(given_away=given_away, dominance=dominance, class_loss=class_loss)
        self.given_away, self.dominance, self.class_loss = given_away, dominance, class_loss
        self.measure, self.measure_args = measure, dict(measure_args)
        self.time_limit = time_limit

    def look(self, came: Incoming, fl_ctx: FLContext) -> None:
        """Rehearse a step, and note what it gave away."""
        came.store.keep(came.memory)
        found = rehearse(
            self.measure,
            came.state,
            self.measure_args,
            time_limit=self.time_limit,
            allowed=(self.measure,) if of_the_site(self) else (),
        )
        results = judge(found, self.limits)
        odd = [r for r in results if r.status == "odd"]
        outcome = self.on_alarm if odd else "let through"
        came.store.note(entry(came.round, digest(came.state), results, outcome))
        if not odd:
            said = ", ".join(f"{r.check} {r.status}" for r in results)  # which may be nothing there
            self.log_info(fl_ctx, f"rehearsal: round {came.round}: {said}")
            return
        said = "; ".join(f"{r.check}: {r.words}" for r in odd)
        said = f"the model of round {came.round} would give images of this site away: {said}"
        self.alarm(said, came, fl_ctx)

"""One pure defence as a filter, and the filter that shows it the global model."""

from collections.abc import Mapping, Sequence
from typing import Any

from nvflare.apis.filter import ContentBlockedException, Filter
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable

from medleak.filters.adapters.attendance import unprotected
from medleak.filters.adapters.rim import (
    FailClosedFilter,
    global_model,
    remember_global_model,
)
from medleak.filters.noise import NoiseSource
from medleak.filters.privacy.accounting import guarantee_of
from medleak.filters.registry import Defence, declaration
from medleak.filters.update import UpdateError


class GlobalModel(Filter):
    """Show the incoming global model to medleak's result filters; changes nothing.

    For ``task_data_filters`` of a site's ``privacy.json``: filters there receive no events. So this
    one also refuses, before training, what they could not protect.
    """

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Remember the task's model in ``fl_ctx``, or raise ``ContentBlockedException``."""
        if why := unprotected(fl_ctx, [str(fl_ctx.get_prop(FLContextKey.TASK_NAME))]):
            self.log_error(fl_ctx, f"task refused: {why}", fire_event=False)
            raise ContentBlockedException(f"GlobalModel refused the task: {why}")
        remember_global_model(shareable, fl_ctx)
        return shareable


class DefenceFilter(FailClosedFilter):
    """Applies one defence to the update and declares it in the DXO's metadata.

    The declaration, ``meta["medleak_defences"]``, holds the parameters from the configuration only:
    a data-dependent value such as the noise's scale would itself be a leak.
    """

    def __init__(
        self,
        defence: Defence,
        *,
        tasks: Sequence[str],
        seed: int | None = None,
        metrics: str = "pass",
        disclose: Sequence[str] = (),
    ) -> None:
        """Take the defence that a subclass built from its arguments; see there for the rest."""
        super().__init__(tasks, metrics=metrics, disclose=disclose)
        self.seed = seed
        self._defence = defence

    def protect(
        self, update: Mapping[str, Any], meta: dict[str, Any], fl_ctx: FLContext
    ) -> Mapping[str, Any]:
        """Apply the defence with fresh noise."""
        state, round_number = global_model(fl_ctx)
        rng = self._noise_source(fl_ctx, round_number)
        result = self.apply(update, rng=rng, state=state, fl_ctx=fl_ctx)
        self.note(declaration(self._defence), guarantee_of(self._defence), meta, fl_ctx)
        self.log_info(fl_ctx, f"protected by {declaration(self._defence)}")
        return result

    def apply(
        self,
        update: Mapping[str, Any],
        *,
        rng: NoiseSource,
        state: Mapping[str, Any],
        fl_ctx: FLContext,
    ) -> Mapping[str, Any]:
        """The protected update; filters that keep something on disk override this."""
        return self._defence(update, rng=rng, global_state=state)

    def _noise_source(self, fl_ctx: FLContext, round_number: int | None) -> NoiseSource:
        if self.seed is None:
            return NoiseSource.secure()
        if round_number is None:
            raise UpdateError(
                "The task carries no round number, so seeded noise would repeat in every round and "
                "cancel out. Leave seed unset."
            )
        self.log_warning(
            fl_ctx,
            f"UNSAFE: noise from seed {self.seed} can be subtracted by anyone who knows it; this "
            "is for tests only. Leave seed unset to protect data.",
            fire_event=False,
        )
        return NoiseSource.seeded(self.seed, str(fl_ctx.get_identity_name()), round_number)

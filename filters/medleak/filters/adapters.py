"""NVFlare filters: JSON-able arguments in, one pure defence applied, its declaration sent along.

Use a class by its path, ``medleak.filters.adapters.PercentileGaussian``, in a job's
``task_result_filters`` (``"tasks": ["train"]``) or in a site's ``privacy.json``
(docs/deploy.md).
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from nvflare.apis.filter import Filter
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable

from medleak.filters import percentile_gaussian
from medleak.filters.dxo import DECLARED, FailClosedFilter, global_model, remember_global_model
from medleak.filters.noise import NoiseSource
from medleak.filters.registry import Defence, declaration
from medleak.filters.update import Buffers, UpdateError


class GlobalModel(Filter):
    """Show the incoming global model to medleak's result filters; changes nothing.

    For ``task_data_filters`` of a site's ``privacy.json``: filters there receive no events.
    """

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Remember the task's model in ``fl_ctx``."""
        remember_global_model(shareable, fl_ctx)
        return shareable


class DefenceFilter(FailClosedFilter):
    """Applies one defence to the update and declares it in the DXO's metadata.

    The declaration, ``meta["medleak_defences"]``, holds the parameters from the configuration only:
    a data-dependent value such as the noise's scale would itself be a leak.
    """

    def __init__(self, defence: Defence, *, tasks: Sequence[str], seed: int | None) -> None:
        """Take the defence that a subclass built from its arguments."""
        super().__init__(tasks)
        self.seed = seed
        self._defence = defence

    def protect(
        self, update: Mapping[str, Any], meta: dict[str, Any], fl_ctx: FLContext
    ) -> Mapping[str, Any]:
        """Apply the defence with fresh noise."""
        state, round_number = global_model(fl_ctx)
        rng = self._noise_source(fl_ctx, round_number)
        result = self._defence(update, rng=rng, global_state=state)
        meta[DECLARED] = [*meta.get(DECLARED, []), declaration(self._defence)]
        self.log_info(fl_ctx, f"protected by {declaration(self._defence)}")
        return result

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


class PercentileGaussian(DefenceFilter):
    """:class:`medleak.filters.percentile_gaussian.PercentileGaussian` as a filter. ε: none."""

    _always_serialize_args: ClassVar = ("sigma0", "percentile", "scope", "buffers", "tasks")

    def __init__(
        self,
        sigma0: float,
        percentile: float = 95.0,
        scope: percentile_gaussian.Scope = "update",
        buffers: Buffers = "noise",
        tasks: Sequence[str] = ("train",),
        seed: int | None = None,
    ) -> None:
        """Take the defence's parameters, the protected tasks, and (tests only) a seed."""
        self.sigma0, self.percentile, self.scope, self.buffers = sigma0, percentile, scope, buffers
        super().__init__(
            percentile_gaussian.PercentileGaussian(
                sigma0=sigma0, percentile=percentile, scope=scope, buffers=buffers
            ),
            tasks=tasks,
            seed=seed,
        )

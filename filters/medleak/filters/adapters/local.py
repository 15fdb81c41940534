"""Withholding as filters: what is not sent is kept at the site and put back before training."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from nvflare.apis.dxo import from_shareable
from nvflare.apis.filter import ContentBlockedException, Filter
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable

from medleak.filters import storage
from medleak.filters.adapters.attendance import unprotected
from medleak.filters.adapters.compression import STATE_DIR
from medleak.filters.adapters.defence import DefenceFilter
from medleak.filters.adapters.payload import as_numpy
from medleak.filters.adapters.rim import global_model, remember_own_entries, round_of, state_folder
from medleak.filters.defences import withholding
from medleak.filters.noise import NoiseSource
from medleak.filters.update import UpdateError

_FOLDER = "withheld"


class Withhold(DefenceFilter):
    """:class:`medleak.filters.defences.withholding.Withhold` as a filter. ε: none for what is sent.

    ``keep`` stores the site's own values of what is withheld in ``state_dir`` (relative to the
    site's own folder); :class:`RestoreWithheld` puts them back before the next round's training.
    With batch norm that is FedBN. Without it, every round starts from the server's initial values.
    """

    _always_serialize_args: ClassVar = ("batch_norm", "layers", "keep", "tasks")

    def __init__(
        self,
        batch_norm: withholding.BatchNorm = "withhold_statistics",
        layers: Sequence[str] = (),
        keep: bool = True,
        state_dir: str = STATE_DIR,
        tasks: Sequence[str] = ("train",),
    ) -> None:
        """Take the defence's parameters, whether to keep local values, and the tasks."""
        self.batch_norm, self.layers = batch_norm, list(layers)
        self.keep, self.state_dir = keep, state_dir
        self._withholding = withholding.Withhold(batch_norm=batch_norm, layers=layers)
        super().__init__(self._withholding, tasks=tasks)

    def keeps_entries(self) -> bool:
        """If it keeps what it withholds."""
        return self.keep

    def unfit(self, state: Mapping[str, Any]) -> set[str]:
        """Withheld entries that the network keeps in a type without noise."""
        return self._withholding.unfit(state)

    def apply(
        self,
        update: Mapping[str, Any],
        *,
        rng: NoiseSource,
        state: Mapping[str, Any],
        fl_ctx: FLContext,
    ) -> Mapping[str, Any]:
        """Leave entries out; keep global + difference of those on disk."""
        sent = super().apply(update, rng=rng, state=state, fl_ctx=fl_ctx)
        if self.keep:
            _, round_number = global_model(fl_ctx)
            if round_number is None:
                raise UpdateError(
                    "The task carries no round number, so local values could not be told apart by "
                    "round. Set keep to false."
                )
            local = {n: np.asarray(state[n]) + v for n, v in update.items() if n not in sent}
            storage.save_round(state_folder(self.state_dir, fl_ctx) / _FOLDER, round_number, local)
        return sent


class RestoreWithheld(Filter):
    """Replace entries of the incoming global model by what :class:`Withhold` kept at this site.

    For ``task_data_filters``, before :class:`medleak.filters.adapters.GlobalModel`. The training
    script needs no change: it trains from the restored model, and its difference is to that.
    In the first round there is nothing to restore.
    """

    def __init__(self, state_dir: str = STATE_DIR) -> None:
        """Take the folder that :class:`Withhold` was given."""
        super().__init__()
        self.state_dir = state_dir

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Put the site's own values in, or refuse the task."""
        try:
            task = str(fl_ctx.get_prop(FLContextKey.TASK_NAME))
            if why := unprotected(fl_ctx, [task], whole_weights=False):
                raise UpdateError(why)
            return self._restore(shareable, fl_ctx)
        except Exception as e:
            self.log_error(fl_ctx, f"task refused: {e}", fire_event=False)
            raise ContentBlockedException(f"RestoreWithheld refused the task: {e}") from e

    def _restore(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        round_number = round_of(shareable)
        if round_number is None:
            raise UpdateError("it carries no round number, by which local values are kept.")
        folder = state_folder(self.state_dir, fl_ctx) / _FOLDER
        local = storage.before_round(folder, round_number)
        if not local:
            return shareable
        dxo = from_shareable(shareable)
        data, give_types_back = as_numpy(dxo.data)
        for name, value in local.items():
            if name not in data or np.shape(data[name]) != np.shape(value):
                raise UpdateError(
                    f"{name} is kept at this site, but the global model has no entry of its shape: "
                    "the values are of another model. Remove the folder, or name another one."
                )
        own = {n: np.asarray(v).astype(data[n].dtype) for n, v in local.items()}
        dxo.data = give_types_back({**data, **own})
        remember_own_entries(fl_ctx)
        return dxo.update_shareable(shareable)

"""What a site's optimiser brought along from the round before, taken off where it can be known.

SGD with momentum keeps one buffer, ``b_r = momentum * b_(r-1) + g_r``, and a round of one step
moves the weights by ``-lr * b_r``. So the update of the round before tells the whole of
``b_(r-1)``, with all that went before it, and what this round's images added is left.
"""

import dataclasses

import numpy as np

from medleak.custom.record import Record
from medleak.inversion.statement.inferred import complete

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def without_kept_momentum(record: Record, before: Record) -> Record:
    """``record`` as if its optimiser had begun with no state; unchanged where that is not known.

    It is known where both rounds were one step of SGD, follow each other, and no defence changed
    what the site sent: then the result is the gradient of this round's images alone.

    Args:
        record: Of a site that keeps its momentum, see `carries_momentum`.
        before: The same site's of an earlier round.
    """
    now, then = complete(record).info, complete(before).info
    follows = then.round == now.round - 1 and then.site == now.site
    once = now.n_steps == then.n_steps == 1
    if not (follows and once and now.lr and then.lr) or now.defences or then.defences:
        return record
    if record.update.keys() != before.update.keys():
        return record
    share = (now.momentum or 0.0) * now.lr / then.lr
    update = {
        name: value if name.endswith(_BUFFERS) else _less(value, share * before.update[name])
        for name, value in record.update.items()
    }
    info = record.info.with_schedule("inferred", state_kept=False)
    return dataclasses.replace(record, update=update, info=info)


def _less(value: np.ndarray, brought: np.ndarray) -> np.ndarray:
    return (value - brought).astype(value.dtype)

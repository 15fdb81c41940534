"""What happens to batch-norm buffers when the weights are noised.

``noise`` noises running means and variances like weights, ``drop`` leaves them out of the update
(the server keeps its own: FedBN-style, see :mod:`medleak.filters.withholding`), ``pass`` sends them
as they are, which gives the attacker the strongest known signal (a health check for audits, not a
protection). Counters are never noised: ``drop`` drops them too, the others pass them.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from medleak.filters.update import STATISTICS, Buffers, Kind, Update, UpdateError, Value

# The server adds a *mean* over sites, in float32; this margin keeps rounding from crossing zero.
VARIANCE_FLOOR = 2.0**-10


def split(
    update: Update, kind_of: Mapping[str, Kind], buffers: Buffers
) -> tuple[list[str], list[str]]:
    """Names to be noised, and names to be sent as they are; the rest is dropped."""
    noised = [n for n in update if kind_of[n] in ("weight", "bn_affine")]
    if buffers == "noise":
        noised += [n for n in update if kind_of[n] in STATISTICS]
    passed = [n for n in update if buffers != "drop" and n not in set(noised)]
    return noised, passed


def keep_variances_positive(
    update: Mapping[str, Value],
    kind_of: Mapping[str, Kind],
    global_state: Mapping[str, object] | None,
) -> dict[str, Value]:
    """Raise noised variance differences so that global + difference stays above zero.

    Guarantees: after the server adds this update, or a weighted mean of updates that all passed
    here, every running variance is at least 2^-10 of what it was, hence never negative. As it
    reads only public values and the noised update, it is post-processing: no guarantee weakens.

    Args:
        update: Already noised; not modified.
        kind_of: Kind of every entry.
        global_state: The model that the server sent; needed when a variance is in ``update``.

    Raises:
        UpdateError: The global variance is missing, negative or not finite.
    """
    kept = dict(update)
    for name, value in update.items():
        if kind_of[name] == "running_var":
            floor = _lowest_difference(name, np.asarray(value), global_state)
            kept[name] = np.maximum(value, floor)
    return kept


def _lowest_difference(
    name: str, value: NDArray[np.floating], global_state: Mapping[str, object] | None
) -> NDArray[np.floating]:
    if global_state is None or name not in global_state:
        raise UpdateError(
            f"{name} cannot be noised without the global model: the sum could turn negative, and "
            'the network NaN. Give the global state, or choose buffers="drop".'
        )
    variance = np.asarray(global_state[name], dtype=np.float64)
    if variance.shape != value.shape or not np.isfinite(variance).all() or (variance < 0).any():
        raise UpdateError(
            f"{name} of the global model is negative, not finite or of another shape: another "
            "site's filter broke it. Restart the job from a sound model."
        )
    return (-variance * (1 - VARIANCE_FLOOR)).astype(value.dtype)

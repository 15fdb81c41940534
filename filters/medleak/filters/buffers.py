"""What every defence does around its own step: check, choose entries, keep variances positive.

``buffers`` says what becomes of batch-norm statistics. ``noise`` treats running means and variances
like weights. ``drop`` leaves them out of the update: the server keeps its own (to train on with
local ones, see :mod:`medleak.filters.defences.withholding`). ``pass`` sends them as they are,
which hands the attacker the strongest known signal: for audits, not for protection. Counters are
never noised: ``drop`` drops them too, the others pass them unless the defence promises an ε. Fixed
entries (integers, checked to be unchanged) always pass: they are zero.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medleak.filters.update import (
    STATISTICS,
    Buffers,
    Kind,
    Update,
    UpdateError,
    Value,
    check_update,
    fixed_entries,
    kinds,
)

# The server adds a *mean* over sites, in float32; this margin keeps rounding from crossing zero.
VARIANCE_FLOOR = 2.0**-10

Step = Callable[[dict[str, Value], Mapping[str, Kind]], Mapping[str, Value]]


def protect_entries(
    update: Update,
    step: Step,
    *,
    buffers: Buffers,
    global_state: Mapping[str, object] | None,
    counters: Literal["pass", "drop"] = "pass",
) -> dict[str, Value]:
    """Run a defence's ``step`` on the entries that ``buffers`` selects, and add or drop the rest.

    Args:
        update: Checked first; not modified. Entries that are not protected are the same objects in
            the result, not copies.
        step: Maps the selected entries, and the kind of each, to their protected values.
        buffers: Policy for running means, variances and counters, see the module.
        global_state: The model that the server sent; needed when a variance is selected.
        counters: ``drop`` leaves them out whatever ``buffers`` says.

    Raises:
        UpdateError: See :func:`check_update` and :func:`keep_variances_positive`.
    """
    check_update(update, global_state)
    # With the model's names too, a BN layer is known even if its statistics were withheld before.
    kind_of = kinds([*update, *(global_state or ())])
    fixed = fixed_entries(update) | fixed_entries(global_state or {})
    chosen = {n: v for n, v in update.items() if n not in fixed and _is_chosen(kind_of[n], buffers)}
    if not chosen:
        raise UpdateError(
            f'With buffers="{buffers}" no entry is left to protect, so the update would leave bare '
            "or empty. Withhold less before this defence."
        )
    result = keep_variances_positive(step(chosen, kind_of), kind_of, global_state)
    passed = {
        n: v
        for n, v in update.items()
        if n in fixed or (n not in chosen and _is_passed(kind_of[n], buffers, counters))
    }
    together = {**result, **passed}
    return {n: together[n] for n in update if n in together}


def keep_variances_positive(
    update: Mapping[str, Value],
    kind_of: Mapping[str, Kind],
    global_state: Mapping[str, object] | None,
) -> dict[str, Value]:
    """Raise noised variance differences so that global + difference stays above zero.

    Guarantees: after the server adds this update, or a weighted mean of updates that all passed
    here, every running variance is at least about 2^-10 of what it was, hence never negative. As
    it reads only public values and the noised update, it is post-processing: no guarantee weakens.

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


def _is_chosen(kind: Kind, buffers: Buffers) -> bool:
    return kind in ("weight", "bn_affine") or (kind in STATISTICS and buffers == "noise")


def _is_passed(kind: Kind, buffers: Buffers, counters: Literal["pass", "drop"]) -> bool:
    return buffers != "drop" and not (kind == "counter" and counters == "drop")


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

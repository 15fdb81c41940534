"""What an update is: names, kinds of entries, and the check that every defence makes first.

An update maps the names of ``model.state_dict()`` to local minus global, buffers included. The kind
of an entry is read off its *name*: federated averaging turns the integer ``num_batches_tracked``
into a float, so a dtype says nothing. *Fixed* entries, the integer and boolean buffers of a network
(the position indices of a Swin transformer), are never noised, as another index is another network:
they must be what the server sent.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Value = NDArray[np.floating] | np.floating
Update = Mapping[str, Value]
Kind = Literal["weight", "bn_affine", "running_mean", "running_var", "counter"]
Buffers = Literal["noise", "drop", "pass"]

STATISTICS: tuple[Kind, ...] = ("running_mean", "running_var")
_BUFFER_KINDS: dict[str, Kind] = {
    "running_mean": "running_mean",
    "running_var": "running_var",
    "num_batches_tracked": "counter",
}

DECLARED = "medleak_defences"
"""Where filters leave word of themselves in the meta of an update: a list of dicts."""

_FLOATS = (np.float16, np.float32, np.float64)
# An averaging server may have turned these into floats: their names tell them in any dtype.
_FIXED_NAMES = ("relative_position_index", "position_ids")
_LONGEST_NAME = 512
MAX_BATCHES = 100_000  # of one round; a counter that grows by more carries something else


class UpdateError(ValueError):
    """An update that cannot be protected, and therefore must not be sent."""


def kinds(names: Iterable[str]) -> dict[str, Kind]:
    """The kind of every entry, by name.

    ``bn_affine`` is the weight or bias of a layer that also has running statistics *among these
    names*; a norm layer without statistics (GroupNorm, or BN with its statistics withheld before)
    counts as ``weight``.
    """
    names = list(names)
    layers = {_layer(n) for n in names if _leaf(n) in _BUFFER_KINDS}
    found: dict[str, Kind] = {}
    for name in names:
        if _leaf(name) in _BUFFER_KINDS:
            found[name] = _BUFFER_KINDS[_leaf(name)]
        elif _leaf(name) in ("weight", "bias") and _layer(name) in layers:
            found[name] = "bn_affine"
        else:
            found[name] = "weight"
    return found


def fixed_entries(state: Mapping[str, object]) -> set[str]:
    """The integer and boolean entries of ``state``, counters excepted."""
    kind_of = kinds(state)
    return {
        n
        for n, v in state.items()
        if kind_of[n] != "counter" and (_leaf(n) in _FIXED_NAMES or _dtype_kind(v) in "iub")
    }


def check_update(
    update: Update,
    global_state: Mapping[str, object] | None = None,
    *,
    max_batches: int = MAX_BATCHES,
) -> None:
    """Raise :class:`UpdateError` unless every entry of ``update`` can be protected.

    Args:
        update: Name to delta; plain arrays of any shape or numpy scalars, float16/32/64. A counter
            (``num_batches_tracked``) may also be an integer; an integer or boolean entry must be
            zero, see :func:`fixed_entries`.
        global_state: The model that the site trained from: same shapes, all names. None skips the
            comparison.
        max_batches: By how much a counter may grow at most.

    Raises:
        UpdateError: Empty; a name that is no plain text; not a plain numpy value; an unsupported
            dtype; NaN or inf; all zero; a fixed entry that changed; a counter that is not a single
            whole number, or grows by another number than the other counters that grow; a name that
            ``global_state`` has not, or another shape. Entries may be missing: what is not there
            does not leak (that none went missing *by accident* is the adapters' check).
    """
    if not isinstance(update, Mapping) or not update:
        raise UpdateError(
            "The update is empty: there is nothing to protect, and an empty reply would hide that "
            "training failed. Check the client's training script."
        )
    kind_of = kinds(_names(update))
    fixed = fixed_entries(update) | fixed_entries(global_state or {})
    for name, value in update.items():
        _check_value(name, value, kind_of[name], name in fixed)
    bad = [n for n, value in update.items() if n not in fixed and not np.isfinite(value).all()]
    if bad:
        raise UpdateError(
            f"Update holds NaN or inf in {_some(bad)}: noise cannot be scaled to it nor its norm "
            "bounded. Training diverged; skip this round or lower the learning rate."
        )
    trained = (v for n, v in update.items() if kind_of[n] != "counter" and n not in fixed)
    if not any(np.any(v) for v in trained):
        raise UpdateError(
            "The update is zero in every entry: nothing was trained, and noise scaled to the "
            "update would be zero too. Check that the client trains, and sends a DIFF."
        )
    if global_state is not None:
        _check_against(update, global_state)
        batches_of(update, global_state, max_batches=max_batches)


def batches_of(
    update: Update, state: Mapping[str, object], *, max_batches: int = MAX_BATCHES
) -> dict[str, int]:
    """How many batches each counter of ``update`` counted this round, in the model's ``state``.

    Counters leave bare, so they may say one thing only: the number of batches, the same for every
    layer that was in training mode, 0 for the others.

    Raises:
        UpdateError: They say something else.
    """
    found: dict[str, int] = {}
    for name, kind in kinds(update).items():
        if kind != "counter":
            continue
        before = float(np.asarray(state[name]).item())
        after = before + float(np.asarray(update[name]).item())
        # The local counter is whole, the averaged global one need not be.
        coarse = np.result_type(np.float16, np.asarray(state[name]), np.asarray(update[name]))
        slack = 1e-3 + 2 * float(np.spacing(np.abs(np.asarray(after, coarse))))
        whole = math.isfinite(after) and abs(after - round(after)) <= slack < 0.5
        if not whole or round(after) < math.floor(before):
            raise UpdateError(
                f"{name} gives {after:g} batches after training, not a whole number that counts on "
                f"from {before:g}: another filter noised it, or it carries something else. Remove "
                "that filter."
            )
        found[name] = round(after) - math.floor(before)
    grown = sorted(set(found.values()) - {0})
    if len(grown) > 1 or (grown and grown[0] > max_batches):
        raise UpdateError(
            f"The counters of batches grew by {', '.join(map(str, grown[:3]))}: they leave without "
            f"noise, so all that grow must by one number, at most {max_batches} here. Use each "
            "norm layer once a step, or group norm, which counts nothing."
        )
    return found


def check_noised_by_training(update: Update) -> None:
    """Raise :class:`UpdateError` if DP-SGD cannot have noised everything that changed.

    DP-SGD adds noise to every number of every tensor that it trains, in every step. So statistics
    of batches, which no optimiser trains, must be as they came; and in a tensor that changed, all
    but a few numbers must have.
    """
    kind_of = kinds(update)
    for name, value in update.items():
        changed = int(np.count_nonzero(value))
        if not changed or kind_of[name] == "counter":
            continue
        if kind_of[name] in STATISTICS:
            raise UpdateError(
                f"{name} changed under DP-SGD: it was computed from images and has no noise. Use "
                "group norm, or a norm layer without running statistics."
            )
        same, chance = value.size - changed, value.size * 2.0**-7
        if same > chance + 6 * math.sqrt(chance) + 3:
            raise UpdateError(
                f"{same} of {value.size} numbers of {name} did not change under DP-SGD, and the "
                "others did: that is not its noise, or the noise was rounded away. Raise the "
                "learning rate, or train in float32."
            )


def _names(update: Update) -> list[str]:
    wrong = [n for n in update if type(n) is not str or not 0 < len(n) <= _LONGEST_NAME]
    if wrong:
        raise UpdateError(
            f"Update has names that are no text: {wrong[:3]!r:.200}. Names decide what is noised: "
            "send the state_dict's own names."
        )
    strange = [n for n in update if not (n.isascii() and n.isprintable())]
    if strange:
        raise UpdateError(
            f"Update has a name with characters outside of printable ASCII: {strange[0]!a}. A "
            "look-alike letter would make batch-norm statistics pass for weights. Rename the layer."
        )
    return list(update)


def _check_value(name: str, value: object, kind: Kind, fixed: bool) -> None:
    if not isinstance(value, np.generic) and type(value) is not np.ndarray:
        raise UpdateError(
            f"{name} is a {type(value).__name__}, not a numpy array: it would leave without noise, "
            "or computes in a way of its own. Send plain arrays (server_expected_format numpy) or "
            "plain torch tensors."
        )
    dtype = value.dtype
    if kind == "counter":
        # A counter leaves as it is, so the name must not be a way round the noise.
        if value.size != 1 or not (dtype.type in _FLOATS or np.issubdtype(dtype, np.integer)):
            raise UpdateError(
                f"{name} should be one number but is {dtype} of shape {value.shape}: counters are "
                "sent without noise, so anything larger under this name is refused."
            )
    elif fixed:
        if dtype.kind not in "iubf" or np.any(value):
            raise UpdateError(
                f"{name} has dtype {dtype} and differs from what the server sent: integer and "
                "boolean entries are never noised, as another index is another network, so they "
                f"must be as they came. Keep training from changing it, or {_withhold(name)}."
            )
    elif dtype.type not in _FLOATS:
        raise UpdateError(
            f"{name} has dtype {dtype}, on which noise is not defined (float16, float32, float64 "
            f"are). Train in float32; if the network keeps it in this type, {_withhold(name)}."
        )


def _check_against(update: Update, state: Mapping[str, object]) -> None:
    unknown = sorted(set(update) - set(state))
    if unknown:
        raise UpdateError(
            f"The global model has no entry {_some(unknown)}: the server cannot use it, and what "
            "slipped in cannot be vouched for. Send the state_dict of the model received."
        )
    for name, value in update.items():
        sent = np.asarray(state[name])
        if sent.shape != value.shape:
            raise UpdateError(
                f"{name} has shape {value.shape}, the global model {sent.shape}: this is not a "
                "difference to the model of this round. Check the client's training script."
            )


def _dtype_kind(value: object) -> str:
    return value.dtype.kind if isinstance(value, np.ndarray | np.generic) else "?"


def _withhold(name: str) -> str:
    return f'list medleak.filters.adapters.Withhold("send", ["{name}"]) before the other filters'


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return (shown or "none") + (f" and {len(names) - 3} more" if len(names) > 3 else "")

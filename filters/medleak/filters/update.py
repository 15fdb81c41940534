"""What an update is: names, kinds of entries, and the check that every defence makes first.

An update maps the names of ``model.state_dict()`` to local minus global, buffers included. The kind
of an entry is read off its *name*: federated averaging turns the integer ``num_batches_tracked``
into a float, so a dtype says nothing.
"""

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


def check_update(update: Update, global_state: Mapping[str, object] | None = None) -> None:
    """Raise :class:`UpdateError` unless every entry of ``update`` can be protected.

    Args:
        update: Name to delta; arrays of any shape or numpy scalars, float16/32/64. A counter
            (``num_batches_tracked``) may also be an integer.
        global_state: The model that the site trained from: same shapes, all names. None skips the
            comparison.

    Raises:
        UpdateError: Empty; a name that is no string; not a numpy value; an unsupported dtype; NaN
            or inf; all zero; a counter that is not a single whole number; a name that
            ``global_state`` has not, or another shape. Entries may be missing: what is not there
            does not leak (that none went missing *by accident* is the adapters' check).
    """
    if not isinstance(update, Mapping) or not update:
        raise UpdateError(
            "The update is empty: there is nothing to protect, and an empty reply would hide that "
            "training failed. Check the client's training script."
        )
    kind_of = kinds(_names(update))
    for name, value in update.items():
        _check_value(name, value, kind_of[name])
    bad = [name for name, value in update.items() if not np.isfinite(value).all()]
    if bad:
        raise UpdateError(
            f"Update holds NaN or inf in {_some(bad)}: noise cannot be scaled to it nor its norm "
            "bounded. Training diverged; skip this round or lower the learning rate."
        )
    if not any(np.any(v) for n, v in update.items() if kind_of[n] != "counter"):
        raise UpdateError(
            "The update is zero in every entry: nothing was trained, and noise scaled to the "
            "update would be zero too. Check that the client trains, and sends a DIFF."
        )
    if global_state is not None:
        _check_against(update, kind_of, global_state)


def _names(update: Update) -> list[str]:
    wrong = [n for n in update if not isinstance(n, str) or not n]
    if wrong:
        raise UpdateError(
            f"Update has names that are no text: {wrong[:3]!r}. Names decide what is noised: "
            "send the state_dict's own names."
        )
    return list(update)


def _check_value(name: str, value: object, kind: Kind) -> None:
    if not isinstance(value, np.ndarray | np.generic):
        raise UpdateError(
            f"{name} is a {type(value).__name__}, not a numpy array: it would leave without noise. "
            "Send arrays (server_expected_format numpy) or plain torch tensors."
        )
    dtype = value.dtype
    if kind == "counter":
        # A counter leaves as it is, so the name must not be a way round the noise.
        if value.size != 1 or not (dtype.type in _FLOATS or np.issubdtype(dtype, np.integer)):
            raise UpdateError(
                f"{name} should be one number but is {dtype} of shape {value.shape}: counters are "
                "sent without noise, so anything larger under this name is refused."
            )
    elif dtype.type not in _FLOATS:
        raise UpdateError(
            f"{name} has dtype {dtype}, on which noise is not defined (float16, float32, float64 "
            "are). Withhold this entry or convert it in the training script."
        )


def _check_against(update: Update, kind_of: dict[str, Kind], state: Mapping[str, object]) -> None:
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
        if kind_of[name] == "counter":
            count = float(sent.item()) + float(value.item())
            # The local counter is whole, the averaged global one need not be.
            if abs(count - round(count)) > 1e-3 + 1e-6 * abs(count) or count < 0:
                raise UpdateError(
                    f"{name} gives {count:g} batches after training, not a whole number: another "
                    "filter noised it, or it carries something else. Remove that filter."
                )


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return (shown or "none") + (f" and {len(names) - 3} more" if len(names) > 3 else "")

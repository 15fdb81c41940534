"""An update as it reaches the server: its tensors, and whether they may be recorded."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from nvflare.apis.dxo import DXO, DataKind

from medleak.custom.record import RecordError
from medleak.custom.record.sent_models import SentModel
from medleak.custom.record.tensors import as_arrays, check_update, difference
from medleak.filters.privacy.controls import AGREE, k_eta_of, told_update


def update_of(where: str, dxo: DXO, sent: SentModel) -> dict[str, np.ndarray]:
    """local - global of an update of either kind, after all checks."""
    if dxo.data_kind not in (DataKind.WEIGHT_DIFF, DataKind.WEIGHTS):
        raise RecordError(
            f"{where}: an update of kind {dxo.data_kind!s} cannot be recorded: it must be "
            "WEIGHT_DIFF (params_transfer_type DIFF) or WEIGHTS."
        )
    if dxo.data_kind == DataKind.WEIGHT_DIFF:
        update = as_arrays(where, dxo.data)
    else:
        update = {}
        for name, value in dxo.data.items():  # one at a time: each may be read from a file
            update |= difference(where, as_arrays(where, {name: value}), sent.arrays)
    check_update(where, sent.arrays, update)
    return update


def control_of(where: str, meta: Mapping[str, Any], key: str) -> dict[str, np.ndarray]:
    """SCAFFOLD's control variates in ``meta``, which name no more than weights; often empty.

    Raises:
        RecordError: They are no tensors of a record.
    """
    found = meta.get(key)
    return as_arrays(where, found) if isinstance(found, Mapping) and found else {}


def told_by_controls(
    update: Mapping[str, np.ndarray],
    controls: Mapping[str, np.ndarray],
    sent: SentModel,
    schedule: object,
) -> dict[str, np.ndarray] | None:
    """The update that ``controls`` tell where it is another than the one that was sent.

    Returns:
        None: they tell nothing but ``update``. Empty: they tell another, up to a factor that is not
        known, as the site says neither its steps nor its learning rate.
    """
    shared = {n: v for n, v in controls.items() if n in sent.arrays}
    within = {n: v for n, v in shared.items() if n in update}
    if len(within) == len(controls) and k_eta_of(update, within, sent.beside)[1] <= AGREE:
        return None
    said = schedule if isinstance(schedule, Mapping) else {}
    try:
        rates = said.get("lr_schedule") or [said["lr"]] * said["n_steps"]
        k_eta = float(sum(rates))
    except (KeyError, TypeError, ValueError):
        return {}
    told = told_update(shared, sent.beside, k_eta)
    return {n: v.astype(sent.arrays[n].dtype) for n, v in told.items()}


def encrypted(dxo: DXO) -> str:
    """Why an encrypted DXO is not recorded; empty if it is in clear."""
    hidden = [n for n, v in dxo.data.items() if type(v).__module__.startswith("tenseal")]
    if not hidden:
        return ""
    if len(hidden) == len(dxo.data):
        return "encrypted homomorphically: there is nothing to audit at the server"
    return (
        f"{len(hidden)} of {len(dxo.data)} tensors are encrypted homomorphically; what is in clear "
        "beside them is not recorded, and not audited"
    )

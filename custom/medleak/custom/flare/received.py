"""An update as it reaches the server: its tensors, and whether they may be recorded."""

import numpy as np
from nvflare.apis.dxo import DXO, DataKind

from medleak.custom.record import RecordError
from medleak.custom.record.sent_models import SentModel
from medleak.custom.record.tensors import as_arrays, check_update, difference


def update_of(where: str, dxo: DXO, sent: SentModel) -> dict[str, np.ndarray]:
    """local - global of an update of either kind, after all checks."""
    if dxo.data_kind not in (DataKind.WEIGHT_DIFF, DataKind.WEIGHTS):
        raise RecordError(
            f"{where}: an update of kind {dxo.data_kind!s} cannot be recorded: it must be "
            "WEIGHT_DIFF (params_transfer_type DIFF) or WEIGHTS."
        )
    update = as_arrays(where, dxo.data)
    if dxo.data_kind == DataKind.WEIGHTS:
        update = difference(where, update, sent.arrays)
    check_update(where, sent.arrays, update)
    return update


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

"""Does the spectrum of a layer stay where honest training keeps it?

The statistic of a layer is the logarithm by which its stable rank ‖W‖_F² / ‖W‖_2² leaves the band
of this run's earlier rounds. The largest singular value comes from a few steps of the power method,
which only underestimates it: the stable rank is then too large by some per cent.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from medleak.filters.sentinel.layers import FEWEST_ROWS, Layer
from medleak.filters.sentinel.result import Result, against_earlier, not_examined, nothing_there

CHECK = "spectra"
LIMIT = 0.9
_STEPS = 8


def ranks(layers: Sequence[Layer]) -> dict[str, float]:
    """Logarithm of the stable rank of each layer of enough rows and columns."""
    return {
        layer.name: float(np.log(stable_rank(layer)))
        for layer in layers
        if len(layer.rows) >= FEWEST_ROWS and layer.rows.shape[1] >= FEWEST_ROWS
    }


def stable_rank(layer: Layer) -> float:
    """Between 1 and the number of rows; 1 of a layer that is zero."""
    total = float(np.square(layer.norms).sum())
    if not total > 0 or not np.isfinite(total):
        return 1.0
    vector = np.random.default_rng(0).normal(size=len(layer.rows)).astype(np.float32)
    value = 0.0
    for _ in range(_STEPS):
        vector /= np.linalg.norm(vector)
        vector = layer.rows @ (vector @ layer.rows)
        value = float(np.linalg.norm(vector))
        if value <= 0:
            return 1.0
    return max(total / value, 1.0)


def check(now: Mapping[str, float], earlier: Mapping[str, tuple[float, float]] | None) -> Result:
    """``now`` as :func:`ranks`; ``earlier``: least and largest of the earlier rounds."""
    if not now:
        return nothing_there(CHECK, "there is no layer of enough rows")
    if earlier is None:
        return not_examined(CHECK, "no earlier round to compare it with")
    words = "logarithm by which the stable rank leaves the band of earlier rounds"
    return against_earlier(CHECK, now, earlier, LIMIT, words)

"""Are there kernels of one tap, which copy an image instead of looking at it; and zeros by rule?

The statistic of a layer is the share of its kernels of 3 x 3 and more that have 95 % of their
energy in one tap and are no weaker than a tenth of the layer's usual kernel, or the share of
weights that are exactly zero, whichever is larger. Training makes neither.
"""

from collections.abc import Sequence

import numpy as np

from medleak.filters.sentinel.layers import Layer
from medleak.filters.sentinel.result import Result, judged

CHECK = "kernels"
LIMIT = 0.05
_TAP = 0.95
_FEWEST = 64


def check(layers: Sequence[Layer]) -> Result:
    """Judge the layer with the largest share."""
    found = {layer.name: copying(layer) for layer in layers if layer.rows.size >= _FEWEST}
    words = "share of single-tap kernels, or of weights that are exactly zero"
    return judged(CHECK, found, LIMIT, words, "there is no layer of enough weights")


def copying(layer: Layer) -> float:
    """The larger of the two shares."""
    zeros = 1.0 - np.count_nonzero(layer.rows) / layer.rows.size
    if layer.taps < 9:
        return float(zeros)
    kernels = layer.rows.reshape(-1, layer.taps)
    energy = np.einsum("kt,kt->k", kernels, kernels)
    strongest = np.maximum(kernels.max(1), -kernels.min(1)) ** 2
    heard = energy > 0.01 * max(float(np.median(energy)), float(energy.mean()) * 0.01, 1e-20)
    single = heard & (strongest > _TAP * energy)
    return float(max(zeros, single.mean()))

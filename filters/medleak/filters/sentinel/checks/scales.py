"""Are biases or scales extreme: thresholds that hardly any image passes, outputs that saturate?

Two statistics of a layer, each over its own limit: the largest abs(bias) sqrt(D) / ‖row‖ (PyTorch
starts below 1.8; a threshold at which few images pass needs tens), and the largest norm of a row.
Of norm layers, the largest scale or shift.
"""

from collections.abc import Sequence

import numpy as np

from medleak.filters.sentinel.layers import Layer, State, norm_layers
from medleak.filters.sentinel.result import Result, judged

CHECK = "scales"
SLACK = 1.5
BIAS, CONVOLVED_BIAS, NORM, AFFINE = 16.0, 60.0, 25.0, 20.0


def check(layers: Sequence[Layer], state: State, own: float = 0.0) -> Result:
    """Judge the layer furthest beyond its limit; the statistic is in units of the limit.

    ``own``: the largest such statistic of what the site's own updates made of earlier models, as
    they were sent. Under strong noise that is beyond the limit, and so may the next model be.
    """
    limit = max(1.0, SLACK * own)
    words = "bias or scale over its limit"
    return judged(CHECK, extremes(layers, state), limit, words, "there is no layer")


def extremes(layers: Sequence[Layer], state: State) -> dict[str, float]:
    """For each layer, its largest statistic over that statistic's limit."""
    found: dict[str, float] = {}
    normed = {n for n, _ in norm_layers(state)}
    for layer in layers:
        norms = layer.norms
        wide = np.sqrt(max(1.0, layer.rows.shape[1] / 512))
        found[layer.name] = float(norms.max() / (NORM * wide))
        if layer.bias is not None and layer.name.rpartition(".")[0] not in normed:
            width = np.sqrt(layer.rows.shape[1])
            floor = max(float(np.median(norms)), 1e-12) * 0.1
            ratio = np.abs(layer.bias) * width / np.maximum(norms, floor)
            limit = BIAS if layer.taps == 1 else CONVOLVED_BIAS
            found[f"{layer.name} and its bias"] = float(ratio.max()) / limit
    for name, norm in norm_layers(state):
        for leaf in ("weight", "bias"):
            if leaf in norm and norm[leaf].size:
                found[f"{name}.{leaf}"] = float(np.abs(norm[leaf]).max()) / AFFINE
    return found

"""Are channels switched off or held open?

The statistic of a layer is the share of its rows that are dead (no weight to speak of beside the
layer's usual row), or, of a norm layer, of channels whose shift drowns their scale (its size more
than 8 times the scale's): a constant, on which thresholds can be built.
"""

from collections.abc import Sequence

from medleak.filters.sentinel.layers import FEWEST_ROWS, Layer, State, norm_layers
from medleak.filters.sentinel.result import Result, judged

CHECK = "channels"
LIMIT, SLACK = 0.3, 1.5
"""Pretrained networks have dead channels: a fifth of a layer, in some."""
_DEAD, _SHIFT, _HELD = 1e-3, 8.0, 0.05


def check(layers: Sequence[Layer], state: State, own: float = 0.0) -> Result:
    """Judge the layer with the largest share.

    ``own``: the largest share in what the site's own updates made of earlier models, as they were
    sent: under strong noise many shifts drown their scales.
    """
    limit = max(LIMIT, SLACK * own)
    words = "share of channels that are dead or constant"
    return judged(
        CHECK, shares(layers, state), limit, words, "there is no layer of enough channels"
    )


def shares(layers: Sequence[Layer], state: State) -> dict[str, float]:
    """Of each layer, the share of its channels that are dead or held open."""
    found: dict[str, float] = {}
    for layer in layers:
        if len(layer.rows) >= FEWEST_ROWS:
            norms = layer.norms
            found[layer.name] = float((norms <= _DEAD * norms.max()).mean())
    for name, norm in norm_layers(state):
        if {"weight", "bias"} <= set(norm) and norm["weight"].size >= FEWEST_ROWS:
            held = (abs(norm["bias"]) > _SHIFT * abs(norm["weight"])) & (abs(norm["bias"]) > _HELD)
            found[name] = float(held.mean())
    return found

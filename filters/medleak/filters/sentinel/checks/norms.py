"""Do batch norm's statistics contradict the weights before them?

A channel's running variance comes from its row of weights: the ratio of the two, in logarithms,
spreads little over a layer, and a server that scales weights and leaves statistics breaks it. The
statistic is the largest change, since first sight, of the mean of log(sqrt(var + mean^2) / ‖row‖)
over a layer; at first sight only impossible statistics (negative, not finite) are odd.
"""

from collections.abc import Mapping

import numpy as np

from medleak.filters.sentinel.layers import State, norm_layers
from medleak.filters.sentinel.result import Result, against_earlier, not_examined, nothing_there

CHECK = "norms"
LIMIT = 2.5
"""Honest runs from random weights moved by up to 1.6 while the statistics settled."""


def levels(state: State) -> dict[str, float]:
    """For each norm layer after a layer of as many rows: the mean logarithm of the ratio."""
    found = {}
    before = ""
    norms = dict(norm_layers(state))
    for name, value in state.items():
        if value.ndim >= 2 and value.dtype.kind == "f":
            before = name
        layer, _, leaf = name.rpartition(".")
        if leaf != "running_var" or not before or len(state[before]) != value.size:
            continue
        rows = np.asarray(state[before], np.float32).reshape(value.size, -1)
        size = np.sqrt(np.einsum("rd,rd->r", rows, rows, dtype=np.float64))
        norm = norms[layer]
        spread = np.sqrt(np.maximum(norm["running_var"], 0) + norm["running_mean"] ** 2)
        alive = (size > 1e-3 * size.max()) & (spread > 1e-6)
        if alive.any():
            found[layer] = float(np.log(spread[alive] / size[alive]).mean())
    return found


def check(
    state: State, now: Mapping[str, float], earlier: Mapping[str, tuple[float, float]] | None
) -> Result:
    """``now`` as :func:`levels`; ``earlier``: least and largest of the earlier rounds."""
    for layer, norm in norm_layers(state):
        if not np.isfinite(norm["running_var"]).all() or (norm["running_var"] < 0).any():
            words = f"{layer}: a running variance is negative or not finite"
            return Result(check=CHECK, status="odd", words=words, where=layer)
    if not now:
        return nothing_there(CHECK, "no statistics of batches follow a layer of their size")
    if earlier is None:
        return not_examined(CHECK, "possible statistics; no earlier round to compare them with")
    words = "logarithm by which statistics and weights part"
    return against_earlier(CHECK, now, earlier, LIMIT, words)

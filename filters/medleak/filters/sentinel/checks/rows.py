"""Do rows of a layer look for the same thing, or for one single input?

The statistic of a layer is, over its limit, the share of its rows that another row repeats (cosine
above 0.95, either sign) or that have 9/10 of their energy in one entry. Random rows of 32 and more
entries have a cosine of 0.95 less than once in 1e15 pairs; trained layers have a few alike.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medleak.filters.sentinel.layers import FEWEST_ROWS, Layer
from medleak.filters.sentinel.result import Result, judged

CHECK = "rows"
LIMIT, CONVOLVED = 0.06, 0.25
"""Of linear layers, of convolutions: rows of few pixels come to look alike in long training."""
ALIKE, ALIGNED = 0.95, 0.9
_NARROW = 32  # entries: below it, chance makes rows alike
_SKETCH = 64


def check(layers: Sequence[Layer], rng: np.random.Generator | None = None) -> Result:
    """Judge the layer with the largest share; ``rng`` draws the sketches (fresh by default)."""
    rng = np.random.default_rng() if rng is None else rng
    found = {
        layer.name: repeated(layer, rng) / (LIMIT if layer.taps == 1 else CONVOLVED)
        for layer in layers
        if len(layer.rows) >= FEWEST_ROWS and layer.rows.shape[1] >= _NARROW
    }
    words = "share, over its limit, of rows that repeat another one or see a single input"
    return judged(CHECK, found, 1.0, words, "there is no layer of enough rows")


def repeated(layer: Layer, rng: np.random.Generator) -> float:
    """Share of rows that are another's multiple, or a single entry's.

    Pairs are looked for in a sketch of 64 random signs, unknown to who made the model, and looked
    at in full.
    """
    norms = layer.norms
    alive = np.flatnonzero(norms > 1e-6 * max(float(np.median(norms)), 1e-12))
    if len(alive) < 2:
        return 0.0
    rows = layer.rows[alive] / norms[alive, None].astype(np.float32)
    signs = rng.integers(0, 2, (rows.shape[1], _SKETCH), dtype=np.int8).astype(np.float32) * 2 - 1
    sketch = rows @ signs
    sketch /= np.linalg.norm(sketch, axis=1, keepdims=True).clip(1e-12)
    odd = np.max(np.square(rows), axis=1) > ALIGNED
    odd |= _alike(rows, sketch)
    return float(odd.sum()) / len(layer.rows)


def _alike(rows: NDArray[np.float32], sketch: NDArray[np.float32]) -> NDArray[np.bool_]:
    found = np.zeros(len(rows), bool)
    for start in range(0, len(rows), 512):
        close = np.abs(sketch[start : start + 512] @ sketch.T) > 0.8
        for i, others in enumerate(close, start):
            others[i] = False
            if found[i] or not others.any():
                continue
            there = np.flatnonzero(others)[:16]
            cosines = np.abs(rows[there] @ rows[i])
            found[i] = bool((cosines > ALIKE).any())
    return found

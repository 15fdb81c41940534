"""Are the signs of a layer's weights arranged: rows that mirror themselves, or all lean one way?

Two statistics, each over its own limit. *Mirror*: the share of rows whose positive weights are the
negative ones, scaled: sorted, the two agree to a thousandth. Rows of a hundred and more weights
that were drawn or trained differ by some per cent. *Lean*: of a layer whose weights are still where
PyTorch starts them (within 1 / sqrt(D)), the absolute mean over the rows of sum(w) / ‖w‖, which is
about normal with a deviation of 1 / sqrt(R). A layer that was trained leans by far more, in either
direction, so that nothing is known of its lean.
"""

from collections.abc import Sequence

import numpy as np

from medleak.filters.sentinel.layers import FEWEST_ROWS, Layer
from medleak.filters.sentinel.result import Result, judged

CHECK = "asymmetry"
MIRROR, LEAN = 0.05, 6.0
_NARROW = 128
_AGREE = 1e-3
_LOOKED_AT = 64  # rows of a layer, drawn: sorting all of them takes too long


def check(layers: Sequence[Layer], rng: np.random.Generator | None = None) -> Result:
    """Judge the wide layer furthest beyond its limit; ``rng`` draws rows (fresh by default)."""
    rng = np.random.default_rng() if rng is None else rng
    found = {}
    for layer in layers:
        if layer.taps != 1 or len(layer.rows) < FEWEST_ROWS or layer.rows.shape[1] < _NARROW:
            continue
        found[layer.name] = max(mirrored(layer, rng) / MIRROR, lean(layer) / LEAN)
    words = "rows that mirror themselves, or lean one way together, over the limit"
    return judged(CHECK, found, 1.0, words, "there is no wide linear layer")


def mirrored(layer: Layer, rng: np.random.Generator) -> float:
    """Share of up to 64 rows, drawn, whose positive weights are their negative ones, scaled."""
    count = min(_LOOKED_AT, len(layer.rows))
    chosen = rng.choice(len(layer.rows), count, replace=False)
    return sum(_mirrors(layer.rows[r]) for r in chosen) / count


def lean(layer: Layer) -> float:
    """Common lean in deviations of chance; 0 of a layer that has left its start."""
    width = layer.rows.shape[1]
    furthest = max(float(layer.rows.max()), -float(layer.rows.min()))
    if not 0 < furthest <= 1.0001 / np.sqrt(width):
        return 0.0
    t = layer.rows.sum(1, dtype=np.float64) / np.maximum(layer.norms, 1e-20)
    return float(abs(t.mean()) * np.sqrt(len(t)))


def _mirrors(row: np.ndarray) -> bool:
    above, below = np.sort(row[row > 0]), np.sort(-row[row < 0])
    if min(len(above), len(below)) < _NARROW // 4 or abs(len(above) - len(below)) > 2:
        return False
    above, below = above[-min(len(above), len(below)) :], below[-min(len(above), len(below)) :]
    ratio = above / below
    middle = ratio[len(ratio) // 4 :]
    return bool(middle.std() < _AGREE * middle.mean())

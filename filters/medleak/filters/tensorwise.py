"""What the compressing defences share: they act on each tensor by itself.

Compression was proposed to save bandwidth; what it hides is a by-product, and none of these has a
privacy guarantee. Tensor by tensor as in Lin et al. 2018 (deep gradient compression,
arXiv:1712.01887v3): over the whole update, batch-norm statistics, a thousand times larger than
weights, would take every place. ``buffers="noise"`` compresses the statistics like weights.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from medleak.filters.buffers import protect_entries
from medleak.filters.update import Buffers, Kind, Update, Value

Flat = NDArray[np.floating]


def each_tensor(
    update: Update,
    compress: Callable[[Flat], Flat],
    buffers: Buffers,
    global_state: Mapping[str, object] | None,
) -> dict[str, Value]:
    """Apply ``compress`` to the flat view of each selected entry; see ``protect_entries``."""

    def one(value: Value) -> Value:
        flat = compress(np.asarray(value).reshape(-1))
        return flat[0] if isinstance(value, np.generic) else flat.reshape(value.shape)

    def step(chosen: dict[str, Value], _: Mapping[str, Kind]) -> dict[str, Value]:
        return {n: one(v) if v.size else v for n, v in chosen.items()}

    return protect_entries(update, step, buffers=buffers, global_state=global_state)


def kept(size: int, fraction: float) -> int:
    """How many of ``size`` entries a ``fraction`` between 0 and 1 is, at least one."""
    return min(size, max(1, round(size * fraction)))

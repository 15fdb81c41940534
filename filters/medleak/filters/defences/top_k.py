"""Send the entries of largest magnitude: gradient sparsification. ε: none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from medleak.filters import checks
from medleak.filters.noise import NoiseSource
from medleak.filters.tensorwise import Flat, each_tensor, kept
from medleak.filters.update import Buffers, Update, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class TopK:
    """Keep the ``fraction`` of entries largest in magnitude, at least one a tensor; zero the rest.

    Args:
        fraction: Between 0 and 1; 0.01 keeps one entry in a hundred. Equal magnitudes at the
            threshold are all kept.
        buffers: See :mod:`medleak.filters.buffers`.

    Source: Aji & Heafield 2017, arXiv:1704.05021v2; arXiv:1712.01887v3.
    """

    name: ClassVar[str] = "top_k"

    fraction: float
    buffers: Buffers = "noise"

    def __post_init__(self) -> None:
        """Reject fractions that keep nothing or everything."""
        checks.require_fraction("fraction", self.fraction, "it is the share of entries sent.")
        checks.require_choice("buffers", self.buffers, checks.BUFFERS)

    def __call__(
        self,
        update: Update,
        *,
        rng: NoiseSource,
        global_state: Mapping[str, object] | None = None,
    ) -> dict[str, Value]:
        """The sparse update, same shapes; ``rng`` is not used: top-k is deterministic."""

        def keep_largest(flat: Flat) -> Flat:
            magnitudes = np.abs(flat)
            first = flat.size - kept(flat.size, self.fraction)
            threshold = np.partition(magnitudes, first)[first]
            return np.where(magnitudes >= threshold, flat, flat.dtype.type(0))

        return each_tensor(update, keep_largest, self.buffers, global_state)

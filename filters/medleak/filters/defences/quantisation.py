"""Send b-bit entries, rounded at random. ε: none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from medleak.filters import checks
from medleak.filters.noise import NoiseSource, chunks, uniform
from medleak.filters.tensorwise import Flat, each_tensor
from medleak.filters.update import Buffers, Update, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantisation:
    """Round every entry at random to one of 2^bits - 1 levels between ±(largest magnitude).

    Unbiased: the expectation over the rounding is the update itself.

    Args:
        bits: 2 to 16. The levels are s·k/n, k = -n … n, with n = 2^(bits - 1) - 1 and s the
            tensor's largest magnitude.
        buffers: See :mod:`medleak.filters.buffers`.

    Source: Alistarh et al. 2017 (QSGD), arXiv:1610.02132v4, section 3, with the maximum norm.
    """

    name: ClassVar[str] = "quantisation"

    bits: int
    buffers: Buffers = "noise"

    def __post_init__(self) -> None:
        """Reject a width that the levels cannot be built from."""
        checks.require_whole("bits", self.bits, 2, 16, "it is the width of one sent entry.")
        checks.require_choice("buffers", self.buffers, checks.BUFFERS)

    def __call__(
        self,
        update: Update,
        *,
        rng: NoiseSource,
        global_state: Mapping[str, object] | None = None,
    ) -> dict[str, Value]:
        """The quantised update, same shapes and dtypes; rounding is drawn from ``rng``."""
        levels = 2 ** (self.bits - 1) - 1

        def quantise(flat: Flat) -> Flat:
            largest = float(np.abs(flat).max())
            if largest == 0:
                return flat.copy()
            out = np.empty_like(flat)
            for part in chunks(flat.size):
                position = flat[part].astype(np.float64)
                position *= levels / largest
                position += uniform(rng, position.size)
                np.floor(position, out=position)
                # The top level is reached only by the largest entry; rounding must not pass it.
                np.clip(position, -levels, levels, out=position)
                out[part] = position * (largest / levels)
            return out

        return each_tensor(update, quantise, self.buffers, global_state)

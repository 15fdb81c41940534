"""Send entries chosen at random: random sparsification. ε: none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from medleak.filters import checks
from medleak.filters.noise import NoiseSource
from medleak.filters.tensorwise import Flat, each_tensor, kept
from medleak.filters.update import Buffers, Update, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomK:
    """Keep a random ``fraction`` of the entries, at least one a tensor; zero the rest.

    Args:
        fraction: Between 0 and 1.
        rescale: Multiply what is kept by 1/fraction, so that its expectation is the update. Off
            with error feedback, which makes up for the loss itself.
        buffers: See :mod:`medleak.filters.buffers`.

    Source: Stich et al. 2018, arXiv:1809.07599v2, Definition 2.2; Konečný et al. 2016,
    arXiv:1610.05492v2 (subsampling).
    """

    name: ClassVar[str] = "random_k"

    fraction: float
    rescale: bool = False
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
        """The sparse update, same shapes; which entries are kept is drawn anew from ``rng``."""

        def keep_random(flat: Flat) -> Flat:
            count = kept(flat.size, self.fraction)
            # Each entry draws a lot; the lowest win, ties by position.
            lots = rng.words((flat.size + 1) // 2).view(np.uint32)[: flat.size]
            highest = np.partition(lots, count - 1)[count - 1]
            chosen = lots < highest
            tied = np.flatnonzero(lots == highest)
            chosen[tied[: count - np.count_nonzero(chosen)]] = True
            gain = flat.size / count if self.rescale else 1.0
            return np.where(chosen, flat * flat.dtype.type(gain), flat.dtype.type(0))

        return each_tensor(update, keep_random, self.buffers, global_state)

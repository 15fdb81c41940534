"""Send signs only. ε: none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from medleak.filters import checks
from medleak.filters.noise import NoiseSource
from medleak.filters.tensorwise import Flat, each_tensor
from medleak.filters.update import Buffers, Update, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """Replace every entry by its sign times the tensor's mean magnitude; zero stays zero.

    Args:
        buffers: See :mod:`medleak.filters.buffers`.

    Source: Bernstein et al. 2018, arXiv:1802.04434v3; scaled as in Karimireddy et al. 2019,
    arXiv:1901.09847v2, Algorithm 1.
    """

    name: ClassVar[str] = "sign"

    buffers: Buffers = "noise"

    def __post_init__(self) -> None:
        """Reject an unknown policy."""
        checks.require_choice("buffers", self.buffers, checks.BUFFERS)

    def __call__(
        self,
        update: Update,
        *,
        rng: NoiseSource,
        global_state: Mapping[str, object] | None = None,
    ) -> dict[str, Value]:
        """The signs, same shapes; ``rng`` is not used: signs are deterministic."""

        def signs(flat: Flat) -> Flat:
            mean = np.abs(flat).mean(dtype=np.float64)
            return np.sign(flat) * flat.dtype.type(mean)

        return each_tensor(update, signs, self.buffers, global_state)

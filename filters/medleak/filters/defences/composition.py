"""Several defences, one after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from medleak.filters.defences.defence import Defence
from medleak.filters.noise import NoiseSource
from medleak.filters.update import Update, Value


@dataclass(frozen=True, slots=True)
class Composition:
    """Apply ``steps`` from first to last, as NVFlare applies a chain of filters.

    Order decides what is protected. After a mechanism with a guarantee, any step is post-processing
    and the guarantee stands. Before one, clipping bounds whatever arrives, so it stands too. But a
    step that rescales (random-k with ``rescale``) after noise rescales the noise, and top-k after
    noise selects by noise: compress first, then add noise. Withhold first, so that a percentile
    is not taken over what never leaves.
    """

    name: ClassVar[str] = "composition"

    steps: Sequence[Defence]

    def __post_init__(self) -> None:
        """Reject an empty chain, which would protect nothing."""
        if not self.steps:
            raise ValueError("A composition needs at least one defence.")
        object.__setattr__(self, "steps", tuple(self.steps))

    def __call__(
        self,
        update: Update,
        *,
        rng: NoiseSource,
        global_state: Mapping[str, object] | None = None,
    ) -> dict[str, Value]:
        """The update after every step; raises as the first step that raises."""
        result = dict(update)
        for step in self.steps:
            result = step(result, rng=rng, global_state=global_state)
        return result

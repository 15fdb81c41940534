"""What the additive defences share: the same noise on every chosen entry, clipped before or not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from medleak.filters import checks
from medleak.filters.buffers import protect_entries
from medleak.filters.defences.clipping import clipping_factor
from medleak.filters.noise import NoiseSource
from medleak.filters.update import Buffers, Kind, Update, Value

Relation = Literal["replace", "zero_out"]

# Below, value / noise could exceed the 2^29 scales that the noise's grid can hold exactly.
LEAST_NOISE_MULTIPLIER = 1e-6


class AddNoise(Protocol):
    """``add_gaussian`` or ``add_laplace`` of :mod:`medleak.filters.noise`."""

    def __call__(
        self, value: Value, scale: float, source: NoiseSource, /, *, factor: float = 1.0, name: str
    ) -> Value:
        """``factor`` · ``value`` plus noise of ``scale``; ``name`` is for the message."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Perturbation:
    """Noise of a fixed scale in every chosen entry. Abstract: a subclass says which.

    Guarantee: **none** (ε: none), as nothing bounds the update; see :class:`ClippedMechanism`.
    """

    name: ClassVar[str]
    add: ClassVar[AddNoise]

    scale: float | None = None
    level: float | None = None
    lr: float = 1.0
    buffers: Buffers = "noise"

    def __post_init__(self) -> None:
        """Reject settings that would not protect."""
        scale_of(self.scale, self.level, self.lr)
        checks.require_choice("buffers", self.buffers, checks.BUFFERS)

    def __call__(
        self,
        update: Update,
        *,
        rng: NoiseSource,
        global_state: Mapping[str, object] | None = None,
    ) -> dict[str, Value]:
        """The noised update; raises as :func:`medleak.filters.buffers.protect_entries` does."""
        scale = scale_of(self.scale, self.level, self.lr)

        def step(chosen: dict[str, Value], _: Mapping[str, Kind]) -> dict[str, Value]:
            return {n: type(self).add(v, scale, rng, name=n) for n, v in chosen.items()}

        return protect_entries(update, step, buffers=self.buffers, global_state=global_state)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClippedMechanism:
    """Clip the update as one vector, then add noise in proportion to the bound. Abstract.

    Batch counters are dropped: they tell how many batches a site trained on, exactly.
    """

    name: ClassVar[str]
    add: ClassVar[AddNoise]
    norm: ClassVar[Callable[[Update], float]]

    max_grad_norm: float
    noise_multiplier: float
    relation: Relation = "replace"
    buffers: Buffers = "drop"

    def __post_init__(self) -> None:
        """Reject settings without a guarantee."""
        require_mechanism(self.max_grad_norm, self.noise_multiplier, self.relation, self.buffers)

    def __call__(
        self,
        update: Update,
        *,
        rng: NoiseSource,
        global_state: Mapping[str, object] | None = None,
    ) -> dict[str, Value]:
        """The clipped and noised update; raises as ``buffers.protect_entries`` does."""

        def step(chosen: dict[str, Value], _: Mapping[str, Kind]) -> dict[str, Value]:
            mechanism = type(self)
            factor = clipping_factor(mechanism.norm(chosen), self.max_grad_norm)
            scale = self.noise_multiplier * self.max_grad_norm
            return {
                n: mechanism.add(v, scale, rng, factor=factor, name=n) for n, v in chosen.items()
            }

        return protect_entries(
            update, step, buffers=self.buffers, global_state=global_state, counters="drop"
        )


def scale_of(scale: float | None, level: float | None, lr: float) -> float:
    """Scale of the noise on the update, from exactly one of ``scale`` and MedPFL ``level``.

    Args:
        scale: Noise on the gradient: Laplace's b or the Gaussian's standard deviation, > 0.
        level: MedPFL's noise level L > 0; the scale is 1/L.
        lr: An update is -lr times a gradient, so the noise on it is lr times as large. Leave 1.0
            to mean the noise on the update itself.
    """
    checks.require_positive("lr", lr, "the update is -lr times the gradient.")
    if scale is not None and level is None:
        checks.require_positive("scale", scale, "0 would send the bare update.")
        return scale * lr
    if level is not None and scale is None:
        checks.require_positive("level", level, "it is one over the scale of the noise.")
        return lr / level
    raise ValueError(f"Give either scale or level, got scale={scale!r} and level={level!r}.")


def require_mechanism(
    max_grad_norm: object, noise_multiplier: object, relation: object, buffers: object
) -> None:
    """Raise ValueError unless clip + noise with these parameters has a guarantee."""
    checks.require_positive("max_grad_norm", max_grad_norm, "it bounds the update's norm.")
    checks.require_positive("noise_multiplier", noise_multiplier, "without noise, ε is infinite.")
    if isinstance(noise_multiplier, float) and noise_multiplier < LEAST_NOISE_MULTIPLIER:
        raise ValueError(
            f"noise_multiplier must be at least {LEAST_NOISE_MULTIPLIER}, got {noise_multiplier}: "
            "below it the noise vanishes in floating point. Values around 1 and above protect."
        )
    checks.require_choice("relation", relation, ("replace", "zero_out"))
    checks.require_choice("buffers", buffers, checks.BUFFERS)
    if buffers == "pass":
        raise ValueError(
            'buffers="pass" would send batch-norm statistics outside the mechanism, which voids '
            'its guarantee. Use "drop" or "noise", or a GroupNorm network.'
        )

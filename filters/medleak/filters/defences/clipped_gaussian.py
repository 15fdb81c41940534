"""Clip the whole update in L2, then add Gaussian noise: a client-level (ε, δ) guarantee."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from medleak.filters import checks
from medleak.filters.buffers import protect_entries
from medleak.filters.defences.clipping import clipping_factor, global_l2_norm
from medleak.filters.noise import NoiseSource, add_gaussian
from medleak.filters.update import Buffers, Kind, Update, Value

Relation = Literal["replace", "zero_out"]

# Below, value / noise could exceed the 2^29 scales that the noise's grid can hold exactly.
LEAST_NOISE_MULTIPLIER = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class ClippedGaussian:
    """min(1, C / ‖Δ‖₂) · Δ + N(0, (zC)²), all noised entries as one vector.

    Guarantee: a Gaussian mechanism for the client's whole data set, and hence for each of its
    patients and images. Under ``relation="replace"`` (the data set is exchanged for any other) the
    sensitivity is 2C and one round costs what ``GaussianDpEvent(z / 2)`` costs; under
    ``"zero_out"`` (exchanged for a zero update) it is C: ``GaussianDpEvent(z)``. Rounds compose:
    :mod:`medleak.filters.privacy.accounting`. No amplification by sampling is claimed, as the
    server sees which client answers.

    Not covered: what leaves beside the update (the number of local steps, metrics, the fact that an
    update was withheld), see the adapter; and the sampler's precision, see
    :mod:`medleak.filters.noise`.

    Args:
        max_grad_norm: C > 0, in the units of the update.
        noise_multiplier: z > 0, noise over C. A meaningful ε needs z well above 1, as one
            client's noise must hide it alone.
        relation: What is hidden; see above.
        buffers: ``drop`` or ``noise`` (then the statistics are part of the clipped vector, and
            dominate its norm). ``pass`` is refused, as it would void the guarantee.

    Source: Dwork & Roth 2014, Theorem A.1; clipping as in arXiv:1607.00133v2, Algorithm 1.
    """

    name: ClassVar[str] = "clipped_gaussian"

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
            factor = clipping_factor(global_l2_norm(chosen), self.max_grad_norm)
            sigma = self.noise_multiplier * self.max_grad_norm
            return {n: add_gaussian(v, sigma, rng, factor=factor) for n, v in chosen.items()}

        return protect_entries(update, step, buffers=self.buffers, global_state=global_state)


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

"""Clip the whole update in L1, then add Laplace noise: a pure ε guarantee at client level."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from medleak.filters.buffers import protect_entries
from medleak.filters.defences.clipped_gaussian import Relation, require_mechanism
from medleak.filters.defences.clipping import clipping_factor, global_l1_norm
from medleak.filters.noise import NoiseSource, add_laplace
from medleak.filters.update import Buffers, Kind, Update, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class ClippedLaplace:
    """min(1, C / ‖Δ‖₁) · Δ + Laplace(zC), all noised entries as one vector.

    Guarantee: one round is ε-differentially private (δ = 0) for the client's whole data set, with
    ε = 2/z under ``relation="replace"`` and 1/z under ``"zero_out"``; see
    :class:`medleak.filters.defences.clipped_gaussian.ClippedGaussian` for the relations and what
    is not covered. The L1 norm of an update grows with the number of parameters d, that of the
    noise too: for deep networks prefer the Gaussian, whose noise grows with √d only.

    Args:
        max_grad_norm: C > 0, bound on the **L1** norm, in the units of the update.
        noise_multiplier: z = b / C > 0.
        relation: ``replace`` or ``zero_out``.
        buffers: ``drop`` or ``noise``.

    Source: Dwork, McSherry, Nissim, Smith 2006; Dwork & Roth 2014, Theorem 3.6.
    """

    name: ClassVar[str] = "clipped_laplace"

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
            factor = clipping_factor(global_l1_norm(chosen), self.max_grad_norm)
            scale = self.noise_multiplier * self.max_grad_norm
            return {n: add_laplace(v, scale, rng, factor=factor) for n, v in chosen.items()}

        return protect_entries(update, step, buffers=self.buffers, global_state=global_state)

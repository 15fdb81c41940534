"""Clip the whole update in L1, then add Laplace noise: a pure ε guarantee at client level."""

from dataclasses import dataclass
from typing import ClassVar

from medleak.filters.defences.additive import AddNoise, ClippedMechanism
from medleak.filters.defences.clipping import global_l1_norm
from medleak.filters.noise import add_laplace


@dataclass(frozen=True, slots=True, kw_only=True)
class ClippedLaplace(ClippedMechanism):
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
    add: ClassVar[AddNoise] = staticmethod(add_laplace)
    norm: ClassVar = staticmethod(global_l1_norm)

"""Clip the whole update in L2, then add Gaussian noise: a client-level (ε, δ) guarantee."""

from dataclasses import dataclass
from typing import ClassVar

from medleak.filters.defences.additive import AddNoise, ClippedMechanism, Relation
from medleak.filters.defences.clipping import global_l2_norm
from medleak.filters.noise import add_gaussian

__all__ = ["ClippedGaussian", "Relation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClippedGaussian(ClippedMechanism):
    """min(1, C / ‖Δ‖₂) · Δ + N(0, (zC)²), all noised entries as one vector.

    Guarantee: a Gaussian mechanism for the client's whole data set, and hence for each of its
    patients and images. Under ``relation="replace"`` (the data set is exchanged for any other) the
    sensitivity is 2C and one round costs what ``GaussianDpEvent(z / 2)`` costs; under
    ``"zero_out"`` (exchanged for a zero update) it is C: ``GaussianDpEvent(z)``. Rounds compose:
    :mod:`medleak.filters.privacy.accounting`. No amplification by sampling is claimed, as the
    server sees which client answers.

    Not covered: what leaves beside the update (the fact that one was withheld, and what the adapter
    is told to disclose); and the sampler's precision, see :mod:`medleak.filters.noise`.

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
    add: ClassVar[AddNoise] = staticmethod(add_gaussian)
    norm: ClassVar = staticmethod(global_l2_norm)

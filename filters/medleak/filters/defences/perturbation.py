"""Plain gradient perturbation: additive Laplace or Gaussian noise of a fixed scale.

Source: Wei et al. 2020 (CPL, arXiv:2004.10397v2) and Das et al. 2024 (MedPFL, arXiv:2409.18907v1),
section V-D. MedPFL names "noise levels" 100, 200, 300 and 400 and does not define them. In the
authors' published code (github.com/solidlabnetwork/Med-PFL, Defense/*.ipynb, headed "Noise Level
200" for ``gau_rate = 200``; taken over from git-disl/CPL_attack, LFW_defense.ipynb) **the level L
means Laplace noise of scale 1/L** (or, commented out, Gaussian noise of standard deviation 1/L),
added to the gradient of one image. A higher level is therefore *less* noise: level 100 is scale
0.01, level 400 is 0.0025. The paper's text and its Table III say the opposite. We follow the code.
"""

from dataclasses import dataclass
from typing import ClassVar

from medleak.filters.defences.additive import AddNoise, Perturbation, scale_of
from medleak.filters.noise import add_gaussian, add_laplace

__all__ = ["GaussianPerturbation", "LaplacePerturbation", "scale_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaplacePerturbation(Perturbation):
    """Update + Laplace(``scale`` · ``lr``) in every chosen entry.

    Guarantee: **none** (ε: none), as nothing bounds the update; see
    :class:`medleak.filters.defences.clipped_laplace.ClippedLaplace` for one.

    Args:
        scale: Noise scale b on the gradient, > 0; or give ``level``.
        level: MedPFL's noise level L, scale 1/L; see the module.
        lr: Learning rate that turned the gradient into this update; 1.0: scale is the update's.
        buffers: See :mod:`medleak.filters.buffers`.
    """

    name: ClassVar[str] = "laplace_perturbation"
    add: ClassVar[AddNoise] = staticmethod(add_laplace)


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianPerturbation(Perturbation):
    """Update + N(0, (``scale`` · ``lr``)²) in every chosen entry. ε: none.

    Arguments and errors as :class:`LaplacePerturbation`; ``scale`` is the standard deviation.
    """

    name: ClassVar[str] = "gaussian_perturbation"
    add: ClassVar[AddNoise] = staticmethod(add_gaussian)

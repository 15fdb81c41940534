"""Plain gradient perturbation: additive Laplace or Gaussian noise of a fixed scale.

Source: Wei et al. 2020 (CPL, arXiv:2004.10397v2) and Das et al. 2024 (MedPFL, arXiv:2409.18907v1),
section V-D. MedPFL names "noise levels" 100, 200, 300 and 400 and does not define them. In the
authors' published code (github.com/solidlabnetwork/Med-PFL, Defense/*.ipynb, headed "Noise Level
200" for ``gau_rate = 200``; taken over from git-disl/CPL_attack, LFW_defense.ipynb) **the level L
means Laplace noise of scale 1/L** (or, commented out, Gaussian noise of standard deviation 1/L),
added to the gradient of one image. A higher level is therefore *less* noise: level 100 is scale
0.01, level 400 is 0.0025. The paper's text and its Table III say the opposite. We follow the code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from medleak.filters import checks
from medleak.filters.buffers import protect_entries
from medleak.filters.noise import NoiseSource, add_gaussian, add_laplace
from medleak.filters.update import Buffers, Kind, Update, Value


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


@dataclass(frozen=True, slots=True, kw_only=True)
class LaplacePerturbation:
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
            return {n: add_laplace(v, scale, rng) for n, v in chosen.items()}

        return protect_entries(update, step, buffers=self.buffers, global_state=global_state)


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianPerturbation:
    """Update + N(0, (``scale`` · ``lr``)²) in every chosen entry. ε: none.

    Arguments and errors as :class:`LaplacePerturbation`; ``scale`` is the standard deviation.
    """

    name: ClassVar[str] = "gaussian_perturbation"

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
            return {n: add_gaussian(v, scale, rng) for n, v in chosen.items()}

        return protect_entries(update, step, buffers=self.buffers, global_state=global_state)

"""Patches from the updates of a position embedding and of a patch projection, by least squares.

A token is W x + b + p: patch x [V], projection W [D, V], position embedding p. The gradient of p is
therefore the token's back-propagated signal d_t [D], and that of W is the sum of d_t x_t^T over the
tokens. For one image this is D equations for the n patches of each of V places, whatever the
labels and the loss; and as both are linear in d_t, momentum, clipping and several steps on the one
image scale or add up both alike. n <= D in what people train (196 and 768 in ViT-B/16, 216 and 768
in UNETR).

What limits it is the rounding of the weights that the update is a difference of. Tokens of like
content have like signals, so that differences between like patches are known worst. But the
signals' errors weigh with the patches' values: nearly all of what they do is to shift the level of
a patch, while its detail is known far better, and the level is seen at its edges. So noise is taken
as it is, correlated from place to place, and what it leaves open is filled by a smooth image.

Source: Lu et al. 2022, "APRIL: Finding the Achilles' Heel on Privacy for Vision Transformers",
arXiv:2112.14087v1, section 3.1, for exact gradients.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

_ITERATIONS = (12, 25)  # of conjugate gradients, two times; more of them sharpen nothing
_SPREAD = 0.25  # of pixels in [0, 1] about a guess: what is lost where nothing is known
_UNEXPLAINED = 0.25  # misfit from which the guess is as good
_FAR = 0.5  # and what they may be off at most
_STEP = 0.03  # between neighbours where there is no edge
_TRUSTED = 0.5  # of a direction's square size, what must not be error
_TINY = 1e-30


class Neighbours(Protocol):
    """Which values of the patches lie beside each other, and how alike these are."""

    @property
    def weight(self) -> float:
        """Mean inverse variance of the difference of two neighbours."""
        ...

    def pull(self, patches: Tensor) -> Tensor:
        """[n, V] to half of the derivative of the neighbours' weighted squared differences."""
        ...

    def adapted(self, patches: Tensor, step: float) -> "Neighbours":
        """Differences of variance ``step``^2, and of more at the edges that ``patches`` have."""
        ...


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Patches:
    """What the equations say.

    Attributes:
        values: [n, V].
        error: Expected root mean square error of ``values``, from the noise of the equations.
        misfit: Relative distance of both sides of the equations, 0 to 1. Far above rounding, the
            gradient is not that of n patches: there were several images.
        rank: Directions that stand out of the noise, of n.
    """

    values: Tensor
    error: float
    misfit: float
    rank: int

    @property
    def explained(self) -> bool:
        """Whether ``values`` are more than the guess."""
        return self.misfit <= _UNEXPLAINED


def solve_patches(
    signal: Tensor,
    gradient: Tensor,
    guess: Tensor,
    *,
    origin: Tensor,
    signal_variance: Tensor,
    gradient_variance: Tensor,
    neighbours: Neighbours | None = None,
) -> Patches:
    """Patches x of tokens t with ``gradient`` = sum over t of signal[t] (x[t] - origin)^T.

    Args:
        signal: [n, D], of the tokens; at any scale, that of ``gradient``.
        gradient: [D, V], of the projection's weight, per unit of a value of ``guess``.
        guess: [n, V], what is returned where the equations say nothing.
        origin: [V], the values that are zero to the network.
        signal_variance: [n, D], of the error of each entry.
        gradient_variance: [D, V], likewise; as large as the equations show it to be, where there
            are more of them than patches (D > n).
        neighbours: Which values lie beside each other; None: it is not known.

    Raises:
        ValueError: Shapes do not go together, or the signal is zero.
    """
    (tokens, width), places = signal.shape, gradient.shape[1]
    if gradient.shape[0] != width or guess.shape != (tokens, places):
        raise ValueError(
            f"Signals {tuple(signal.shape)}, gradient {tuple(gradient.shape)} and guess "
            f"{tuple(guess.shape)} are not of one projection: they must be [n, D], [D, V], [n, V]."
        )
    if not signal.any():
        raise ValueError("The tokens' signal is zero: nothing of the patches is in the update.")
    d, g, zero = signal.double(), gradient.double(), origin.double()
    start, of_signal = guess.double() - zero, signal_variance.double()
    own = gradient_variance.double().mean(1)
    rest = g - d.T @ start
    system, own = _calibrated(d, rest, start, of_signal, own)
    x = start + system.solved(start, neighbours, _ITERATIONS[0])
    # How noisy the equations are depends on the patches, which are known well enough now, and so
    # are the edges in them, over which nothing is smoothed.
    x = (x + zero).clamp(-_FAR, 1 + _FAR) - zero
    system, _ = _calibrated(d, rest, x, of_signal, own)
    edges = None if neighbours is None else neighbours.adapted(x + zero, _STEP)
    x = start + system.solved(start, edges, _ITERATIONS[1])
    misfit = (g - d.T @ x).norm() / g.norm().clamp_min(_TINY)
    if not misfit <= _UNEXPLAINED:
        x = start
    return Patches(
        values=x + zero,
        error=system.error(tokens, places),
        misfit=float(misfit.clamp_max(1)),
        rank=int((system.squares * system.level[0] > 1 / _SPREAD**2).sum()),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _System:
    """Equations in units of their noise, whose covariance from place to place is of low rank.

    Attributes:
        directions: [k, n], orthonormal: of the signals.
        squares: [k], how well each is heard; 0 where it is error alone.
        side: [n, V], right side of the normal equations, before `white`.
        modes: [r, V], orthonormal: of the patches, along which signals' errors add noise.
        level: [r + 1] inverse variances of the noise, along each mode and orthogonal to all.
        near: Likewise, of the patches about a guess.
    """

    directions: Tensor
    squares: Tensor
    side: Tensor
    modes: Tensor
    level: Tensor
    near: Tensor

    def white(self, values: Tensor) -> Tensor:
        """[…, V] times the inverse of the noise's covariance."""
        return self._weighted(values, self.level)

    def _weighted(self, values: Tensor, by: Tensor) -> Tensor:
        more = (values @ self.modes.T) * (by[:-1] - by[-1])
        return by[-1] * values + more @ self.modes

    def solved(self, start: Tensor, neighbours: Neighbours | None, iterations: int) -> Tensor:
        """What is to be added to ``start``, by preconditioned conjugate gradients."""
        weight = 0.0 if neighbours is None else neighbours.weight

        def product(x: Tensor) -> Tensor:
            heard = self.directions.T @ (self.squares[:, None] * (self.directions @ x))
            y = self.white(heard) + self._weighted(x, self.near)
            return y if neighbours is None else y + neighbours.pull(x)

        def conditioned(x: Tensor) -> Tensor:
            floor = self.near + 2 * weight
            rows = self.directions @ x
            along = rows @ self.modes.T
            apart = rows - along @ self.modes
            along = along / (self.squares[:, None] * self.level[:-1] + floor[:-1])
            apart = apart / (self.squares * self.level[-1] + floor[-1])[:, None]
            inside = self.directions.T @ (along @ self.modes + apart)
            if len(self.directions) == len(x):  # the rest is rounding, and the floor would raise it
                return inside
            return inside + (x - self.directions.T @ rows) / floor[-1]

        found, left = torch.zeros_like(start), self.white(self.side)
        if neighbours is not None:
            left = left - neighbours.pull(start)
        way = towards = conditioned(left)
        size = first = (left * towards).sum()
        for _ in range(iterations):
            if not size > 1e-16 * first:
                break
            changed = product(way)
            length = size / (way * changed).sum()
            found, left = found + length * way, left - length * changed
            towards = conditioned(left)
            size, before = (left * towards).sum(), size
            way = towards + (size / before) * way
        return found

    def error(self, tokens: int, places: int) -> float:
        """Expected root mean square of the values, as if nothing were known of neighbours."""
        along = 1 / (self.squares[:, None] * self.level[:-1] + self.near[:-1])
        apart = (places - len(self.modes)) / (self.squares * self.level[-1] + self.near[-1])
        unheard = (tokens - len(self.squares)) * places * _SPREAD**2
        return float((along.sum() + apart.sum() + unheard) / (tokens * places)) ** 0.5


def _calibrated(
    d: Tensor, rest: Tensor, x: Tensor, of_signal: Tensor, own: Tensor
) -> tuple[_System, Tensor]:
    """The equations and the gradient's variance, raised where they leave more than was told.

    More than rounding leaves is laid to the gradient: noise, or other images.
    """
    system, unexplained = _system(d, rest, x, of_signal, own)
    if unexplained <= 1:
        return system, own
    own = own * unexplained
    return _system(d, rest, x, of_signal, own)[0], own


def _system(
    d: Tensor, rest: Tensor, x: Tensor, of_signal: Tensor, own: Tensor
) -> tuple[_System, float]:
    """The equations, if ``x`` are the patches; and the variance that they leave, 1 if as told."""
    _, sizes, modes = torch.linalg.svd(x, full_matrices=False)
    shared = of_signal.mean(0)
    noise = own + shared * sizes.square().sum() / x.shape[1]
    weights = (noise + noise.mean() * 1e-6 + _TINY).rsqrt()
    own_share, shared_share = ((v * weights.square()).mean() for v in (own, shared))
    level = 1 / torch.cat([own_share + shared_share * sizes.square(), own_share[None]])
    level = level.clamp_max(1e12)
    # Most of a patch is its level, which a guess tells less well than a detail's size.
    energy = (sizes.square() / len(x)).clamp_min(_SPREAD**2)
    near = 1 / torch.cat([energy, energy.new_tensor([_SPREAD**2])])
    left, values, directions = torch.linalg.svd(d.T * weights[:, None], full_matrices=False)
    seen = rest * weights[:, None]
    along = left.T @ seen
    # Errors of the signals alone give a direction this size, and weaken what is found along it.
    floor = directions.square() @ (of_signal @ weights.square())
    trust = 1 - floor / values.square().clamp_min(_TINY)
    heard = (trust > _TRUSTED) & (values > 1e-12 * values[0])
    system = _System(
        directions=directions,
        squares=torch.where(heard, values.square() * trust, 0),
        side=directions.T @ (torch.where(heard, values, 0)[:, None] * along),
        modes=modes,
        level=level,
        near=near,
    )
    surplus = (d.shape[1] - len(values)) * x.shape[1]
    if surplus <= 0:
        return system, 1.0
    gap = seen - left @ along
    return system, float((gap * system.white(gap)).sum()) / surplus

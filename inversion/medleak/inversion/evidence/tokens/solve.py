"""Patches from the updates of a position embedding and of a patch projection, by least squares.

A token is W x + b + p: patch x [V], projection W [D, V], position embedding p. The gradient of p is
therefore the token's back-propagated signal d_t [D], and that of W is the sum of d_t x_t^T over the
tokens. For one image this is D equations for the n patches of each of V places, whatever the
labels and the loss; and as both are linear in d_t, momentum, clipping and several steps on the one
image scale or add up both alike. n <= D in what people train (196 and 768 in ViT-B/16, 216 and 768
in UNETR).

What limits it is the rounding of the weights that the update is a difference of. Tokens of like
content have like signals, so that the smallest singular values belong to differences between like
patches, which are small themselves. So each singular direction is kept as far as it stands out of
the noise that the surplus equations show (James-Stein; positive part), and the rest is the guess.

Source: Lu et al. 2022, "APRIL: Finding the Achilles' Heel on Privacy for Vision Transformers",
arXiv:2112.14087v1, section 3.1, for exact gradients.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_ROUNDS = 3  # noise depends on the patches, and these on what is taken for noise
_SPREAD = 0.25  # of pixels in [0, 1] about a guess: what is lost where nothing is known
_TRUSTED = 0.5  # of a direction's square size, what must not be error
_TINY = 1e-30


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


def solve_patches(
    signal: Tensor,
    gradient: Tensor,
    guess: Tensor,
    *,
    origin: Tensor,
    signal_variance: Tensor,
    gradient_variance: Tensor,
) -> Patches:
    """Patches x_t with ``gradient`` = sum of ``signal``_t (x_t - origin)^T.

    Args:
        signal: [n, D], of the tokens; at any scale, that of ``gradient``.
        gradient: [D, V], of the projection's weight, per unit of a value of ``guess``.
        guess: [n, V], what is returned where the equations say nothing.
        origin: [V], the values that are zero to the network.
        signal_variance: [n, D], of the error of each entry.
        gradient_variance: [D, V], likewise; as large as the equations show it to be, where there
            are more of them than patches (D > n).

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
    x, error, rank, scale = start, _SPREAD, 0, 1.0
    for _ in range(_ROUNDS):
        shared = of_signal.T @ x.square().mean(1)
        weights = (own + shared + (own + shared).mean() * 1e-6 + _TINY).rsqrt()
        left, sizes, right = torch.linalg.svd(d.T * weights[:, None], full_matrices=False)
        seen = rest * weights[:, None]
        along = left.T @ seen
        if (surplus := width - len(sizes)) > 0:
            unexplained = (seen - left @ along).square().sum(0).mean() / surplus
            scale = min(float(unexplained), 1.0)
            # More than rounding leaves is laid to the gradient: noise, or other images.
            own = own * max(float(unexplained), 1.0)
        energy = along.square().mean(1)
        # Errors of the signals alone give a direction this size, and weaken what is found along it.
        floor = right.square() @ (of_signal @ weights.square())
        trust = 1 - floor / sizes.square().clamp_min(_TINY)
        heard = (trust > _TRUSTED) & (sizes > 1e-12 * sizes[0])
        gain = torch.where(heard, (1 - scale / energy.clamp_min(_TINY)).clamp_min(0), 0)
        found = torch.where(heard, gain / (sizes * trust), 0)
        x = start + right.T @ (found[:, None] * along)
        error = _error(torch.where(heard, gain, torch.nan), sizes * trust, scale, tokens, places)
        rank = int((gain > 0.5).sum())
    misfit = (g - d.T @ x).norm() / g.norm().clamp_min(_TINY)
    return Patches(values=x + zero, error=error, misfit=float(misfit.clamp_max(1)), rank=rank)


def _error(gain: Tensor, sizes: Tensor, scale: float, tokens: int, places: int) -> float:
    """Root mean square over the patches' values, never more than a guess is off.

    A direction that was not told from noise may still hold as much as the chance of the test; one
    that was not heard (gain NaN), anything.
    """
    share = gain.clamp_min(2 * (2 / places) ** 0.5)
    lost = share * scale / sizes.square().clamp_min(_TINY)
    lost = lost.nan_to_num(torch.inf).clamp_max(_SPREAD**2)
    unseen = (tokens - len(sizes)) * _SPREAD**2
    return float((lost.sum() + unseen) / tokens) ** 0.5

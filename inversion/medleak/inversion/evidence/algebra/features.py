"""A convolution's inputs, recovered from the row space of its update by linear algebra alone.

The row space of an update is spanned by the input patches, but does not say which patches these
are. They overlap, though: of all feature maps, only those of the images, up to a factor, and their
mixtures have every patch in the row space. They are the null space of a linear map, which block
Krylov iterations find in some fifty products an image. After a ReLU the mixture can be undone
(:mod:`medleak.inversion.evidence.algebra.unmixing`). Images are then sought whose features point
that way, a far smoother descent than into the row space: whole images come back where the row space
leads astray (docs/measurements/attacks.md).

Who shared a step shows as well. In a step patches are centred by their mean over all of its images,
so that the row space holds the differences of its images' means, but not these means: outside of
it, the means of a step's images are the same vector.
"""

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse.linalg import LinearOperator, lobpcg
from torch import Tensor
from torch.nn import functional

from medleak.inversion.evidence.algebra.row_spaces import centre
from medleak.inversion.evidence.algebra.unmixing import unmixed
from medleak.inversion.evidence.layers import ConvLayer

_ITERATIONS = 200
_TOLERANCE = 3e-4  # of residuals, where the largest eigenvalue is 9
_OUTSIDE = 0.01  # of its energy, what noise and drift in a round may put a map out of the row space
_EXACT = 1e-4  # likewise, float32
_APART = 5.0  # times as much of a map lies outside if it does not fit

_Array = NDArray[np.float32]


def recover_features(
    conv: ConvLayer, basis: Tensor, shape: tuple[int, ...], n_images: int
) -> Tensor | None:
    """The feature maps whose patches all lie in a row space.

    Args:
        conv: Stride 1 and a kernel larger than 1, else too few patches share a value.
        basis: [rank, D] float32, orthonormal rows (`row_spaces.RowBasis`) of an update by images
            that each count once or more.
        shape: (C, H, W), or of other dimensions, of the convolution's input.
        n_images: N, the number of these images, in one step or several.

    Returns:
        [N, C, H, W], each of norm 1, the sum positive, as after a ReLU, in no order; None where
        not N maps stand out, or where they are no mixture of maps without negative values.
    """
    if set(conv.stride) != {1} or conv.groups > 1 or conv.pointwise:
        return None
    mixtures = _fitting(conv, basis, shape, n_images)
    maps = mixtures if mixtures is None or n_images == 1 else unmixed(mixtures)
    if maps is None:
        return None
    maps = maps * np.sign(maps.sum(1, keepdims=True))
    return torch.as_tensor(maps, device=basis.device).view(n_images, *shape)


def step_of_each(
    conv: ConvLayer, basis: Tensor, features: Tensor, sizes: Sequence[int]
) -> list[list[int]] | None:
    """Which of ``features`` shared a local step.

    Args:
        conv: With its ``basis``, as for `recover_features`.
        features: [N, C, H, W], at any scale each.
        sizes: Images in each step.

    Returns:
        Indices into ``features``, a list a step, as long as ``sizes`` say; in what order steps of
        one size came stays open. None where the row space does not tell.
    """
    if conv.centred != "batch":
        return None
    means = conv.patches(features).mean(1)
    outside = means - (means @ basis.T) @ basis
    directions = functional.normalize(outside).cpu().double().numpy()
    labels = fcluster(linkage(directions, "complete"), len(sizes), "maxclust")
    groups = [np.flatnonzero(labels == k).tolist() for k in np.unique(labels)]
    groups.sort(key=len)
    by_size = sorted(range(len(sizes)), key=lambda k: sizes[k])  # the last batch may be smaller
    if [len(group) for group in groups] != [sizes[k] for k in by_size]:
        return None
    cosines, shared = directions @ directions.T, labels[:, None] == labels
    if len(sizes) > 1 and cosines[shared].min() <= cosines[~shared].max():
        return None
    return [groups[by_size.index(k)] for k in range(len(sizes))]


def misaligned_share(features: Tensor, direction: Tensor) -> Tensor:
    """Share of the energy of ``features`` [B, C, H, W] not along ``direction``, of norm 1 each.

    Scalar in [0, 1]; free of every map's scale. As a difference of energies it would cancel near
    the truth.
    """
    along = (features * direction).flatten(1).sum(1)
    rest = features - along.view(-1, *(1,) * (features.ndim - 1)) * direction
    return rest.square().sum() / (features.square().sum() + 1e-12)


def _fitting(conv: ConvLayer, basis: Tensor, shape: tuple[int, ...], count: int) -> _Array | None:
    """Orthonormal rows [count, C H W] that span the maps that fit; None where not ``count`` do."""
    size = math.prod(shape)
    outside = _outside(conv, basis, shape)
    operator = LinearOperator((size, size), matvec=outside, matmat=outside, dtype=np.float32)  # pyright: ignore[reportCallIssue]
    start = np.random.default_rng(0).random((size, count + 1), dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the last digits, which float32 lacks
        try:
            values, vectors = lobpcg(
                operator, start, tol=_TOLERANCE, maxiter=_ITERATIONS, largest=False
            )
        except ValueError:  # as it calls a last step that failed
            return None
    # A value is in as many patches as it has places in one: that is the whole energy.
    shares = values / math.prod(conv.kernel_size)
    fit, next_one = shares[count - 1], shares[count]
    if fit > _OUTSIDE or next_one < _APART * max(fit, _EXACT):
        return None
    return np.linalg.qr(vectors[:, :count]).Q.T


def _outside(conv: ConvLayer, basis: Tensor, shape: tuple[int, ...]) -> Callable[[_Array], _Array]:
    """Multiply by M^T M, M from features to the part of their patches out of the row space."""

    def product(columns: _Array) -> _Array:
        flat = torch.as_tensor(columns.T, dtype=torch.float32, device=basis.device)
        patches = conv.patches(flat.reshape(-1, *shape))
        rest = centre(patches, per_image=True) if conv.normed else patches
        rest = rest - (rest @ basis.T) @ basis
        rest = centre(rest, per_image=True) if conv.normed else rest
        back = conv.folded(rest, shape[1:])
        return back.flatten(1).T.cpu().numpy().reshape(columns.shape)

    return product

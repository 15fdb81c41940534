"""A convolution's input, recovered from the row space of its update by linear algebra alone.

The row space of an update is spanned by the input patches, but does not say which patches these
are. They overlap, though: of all feature maps, only the true one (up to a factor) has every patch
in the row space. It is the null vector of a linear map, which a Krylov method finds in some fifty
products. An image is then sought whose features point that way, a far smoother descent than into
the row space: whole images come back where the row space leads astray (docs/attacks.md).
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor
from torch.nn import functional

from medleak.inversion.row_space import centre
from medleak.inversion.survey import ConvLayer

_RESTARTS = 40  # of the Krylov method, some ten products each
_TOLERANCE = 1e-6  # of the largest eigenvalue
_OUTSIDE = 0.01  # of it, what noise and drift in a round may put out of the row space
_SAME = 0.999  # cosine of what two starts find, where only one map fits


def recover_features(conv: ConvLayer, basis: Tensor, shape: tuple[int, int, int]) -> Tensor | None:
    """The one feature map whose patches all lie in a row space.

    Args:
        conv: One image's; stride 1, else too few patches share a value.
        basis: [rank, D] float32, orthonormal rows (:class:`medleak.inversion.row_space.RowBasis`).
        shape: (C, H, W) of the convolution's input.

    Returns:
        [C, H, W] of norm 1, the sum positive, as after a ReLU; None where no map stands out.
    """
    if conv.stride != (1, 1):
        return None
    kept = _inside(conv, basis, shape)
    size = shape[0] * shape[1] * shape[2]
    operator = LinearOperator((size, size), matvec=kept, dtype=np.float32)  # pyright: ignore[reportCallIssue]
    found: list[NDArray[np.float32]] = []
    for seed in range(2):
        start = np.random.default_rng(seed).random(size, dtype=np.float32)
        try:
            values, vectors = eigsh(
                operator,
                k=1,
                which="LA",
                v0=start,
                tol=_TOLERANCE,  # pyright: ignore[reportArgumentType]  Annotated as int.
                maxiter=_RESTARTS,
            )
        except ArpackNoConvergence:
            return None
        if values[0] < (1 - _OUTSIDE) * _overlap(conv):
            return None
        found.append(vectors[:, 0])
    if abs(float(found[0] @ found[1])) < _SAME:
        return None
    features = torch.as_tensor(found[0], device=basis.device).view(shape)
    return features * features.sum().sign()


def misaligned_share(features: Tensor, direction: Tensor) -> Tensor:
    """Share of the energy of ``features`` [B, C, H, W] not along ``direction`` [C, H, W] (norm 1).

    Scalar in [0, 1]; scale-free. As a difference of energies it would cancel near the truth.
    """
    rest = features - (features * direction).sum((1, 2, 3), keepdim=True) * direction
    return rest.square().sum() / (features.square().sum() + 1e-12)


def _inside(
    conv: ConvLayer, basis: Tensor, shape: tuple[int, int, int]
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Multiply by ``overlap - M^T M``, M from features to the part of patches out of the basis."""
    overlap = _overlap(conv)

    def product(flat: NDArray[np.float32]) -> NDArray[np.float32]:
        features = torch.as_tensor(flat, dtype=torch.float32, device=basis.device)
        patches = conv.patches(features.view(1, *shape))
        outside = centre(patches) if conv.normed else patches
        outside = outside - (outside @ basis.T) @ basis
        outside = centre(outside) if conv.normed else outside
        back = functional.fold(
            outside.transpose(1, 2), shape[1:], conv.kernel_size, conv.dilation, conv.padding
        )
        return (overlap * features - back.flatten()).cpu().numpy()

    return product


def _overlap(conv: ConvLayer) -> int:
    """Patches that share a value: no eigenvalue of M^T M is larger."""
    return conv.kernel_size[0] * conv.kernel_size[1]

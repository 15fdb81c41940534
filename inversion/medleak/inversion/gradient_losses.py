"""Gradient distances that attacks name in their settings, beside those in ``losses``."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from medleak.inversion.losses import (
    GradientLoss,
    cosine_distance,
    layerwise_cosine_distance,
    layerwise_relative_distance,
    squared_distance,
)


def relative_gradient_distance(candidate: Sequence[Tensor], observed: Sequence[Tensor]) -> Tensor:
    """‖candidate - observed‖ / ‖observed‖, all parameters as one vector.

    The minimum is that of the squared distance, but its scale is not the gradient's: a network
    that is sure of the label sends a gradient of 1e-4, whose square an optimiser takes for zero.

    Returns:
        Scalar, 0 where all agree, 1 for a zero candidate.
    """
    size = torch.stack([o.square().sum() for o in observed]).sum()
    # A square root has no gradient at 0: the shift makes it 0 there instead of NaN.
    return (squared_distance(candidate, observed) / size.clamp_min(1e-30) + 1e-24).sqrt()


def layerwise_distance(candidate: Sequence[Tensor], observed: Sequence[Tensor]) -> Tensor:
    """Sum over the parameters of their L2 distances.

    Source: TMI 2023 (arXiv:2202.06924v2), eq. 2.
    """
    return torch.stack(
        [((c - o).square().sum() + 1e-30).sqrt() for c, o in zip(candidate, observed, strict=True)]
    ).sum()


Match = Literal[
    "squared", "relative", "cosine", "layerwise", "layerwise_relative", "layerwise_cosine"
]
MATCHES: Mapping[Match, GradientLoss] = {
    "squared": squared_distance,
    "relative": relative_gradient_distance,
    "cosine": cosine_distance,
    "layerwise": layerwise_distance,
    "layerwise_relative": layerwise_relative_distance,
    "layerwise_cosine": layerwise_cosine_distance,
}
"""Gradient distances by the names that settings and results use."""

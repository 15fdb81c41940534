"""Gradient distances, statistics distances and image priors: tensors in, scalar tensor out."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from medleak.custom.record import Criterion

REPLAYED = ("cross_entropy", "bce")
"""Losses that `task_loss` computes."""
Statistics = Mapping[str, tuple[Tensor, Tensor]]
"""Name of a norm layer -> (mean [C], unbiased variance [C]) of its input over one batch."""
GradientLoss = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]
"""(candidate, observed), one tensor per parameter in the same order -> scalar."""

_Three = tuple[Tensor, Tensor, Tensor]
_TINY = 1e-12
_CENTRED = 0.1  # of ResNet-18's means, the smallest is at 0.57


def task_loss(criterion: Criterion, logits: Tensor, labels: Tensor) -> Tensor:
    """The client's training loss, mean over the batch.

    Args:
        criterion: ``cross_entropy``, or ``bce`` on logits.
        logits: [B, K].
        labels: [B] int64 classes, or [B, K] probabilities (attacks that optimise labels).

    Returns:
        Scalar. With ``bce`` and K = 1, class 1 is the positive one; with K > 1 classes are one-hot.

    Raises:
        ValueError: ``criterion`` is another loss.
    """
    if criterion not in REPLAYED:
        raise ValueError(
            f"The loss {criterion!r} is recorded, but not computed here, where it is one of "
            f"{', '.join(REPLAYED)}: what needs it says nothing about this update."
        )
    if criterion == "cross_entropy":
        return functional.cross_entropy(logits, labels)
    if labels.ndim == 1:
        classes = logits.shape[1]
        labels = labels[:, None] if classes == 1 else functional.one_hot(labels, classes)
    return functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))


def first_output(output: object) -> Tensor:
    """The first tensor of what a network returns: a tensor, a tuple or list, or a mapping.

    What training scripts take, of those that also return hidden states or auxiliary heads.

    Raises:
        ValueError: It holds no tensor.
    """
    while isinstance(output, tuple | list | Mapping) and output:
        if isinstance(output, Mapping):
            output = output["logits"] if "logits" in output else next(iter(output.values()))
        else:
            output = output[0]
    if not isinstance(output, Tensor):
        raise ValueError(
            f"The network returns {type(output).__name__} and no tensor: no loss of it can be "
            "computed, so attacks that need one say nothing about this update."
        )
    return output


def relative_distance(candidate: Tensor, observed: Tensor) -> Tensor:
    """‖candidate - observed‖ / ‖observed‖ (L2): else a layer's scale decides how much it counts."""
    # A square root has no gradient at 0: the shift makes it 0 there instead of NaN.
    gap = (candidate - observed).square().sum() + 1e-30
    return gap.sqrt() / (observed.norm() + 1e-8)


def squared_distance(candidate: Sequence[Tensor], observed: Sequence[Tensor]) -> Tensor:
    """Sum of squared differences over all parameters (Zhu et al. 2019, arXiv:1906.08935, eq. 4)."""
    return torch.stack(
        [(c - o).square().sum() for c, o in zip(candidate, observed, strict=True)]
    ).sum()


def cosine_distance(candidate: Sequence[Tensor], observed: Sequence[Tensor]) -> Tensor:
    """1 - cos of all parameters as one vector, in [0, 2].

    Geiping et al. 2020, arXiv:2003.14053, eq. 4, without the image prior.
    """
    dot = torch.stack([(c * o).sum() for c, o in zip(candidate, observed, strict=True)]).sum()
    return 1 - dot / (_norm(candidate) * _norm(observed)).clamp_min(_TINY)


def layerwise_cosine_distance(candidate: Sequence[Tensor], observed: Sequence[Tensor]) -> Tensor:
    """Mean over the parameters of 1 - cos, each tensor for itself; in [0, 2]."""
    return torch.stack(
        [cosine_distance([c], [o]) for c, o in zip(candidate, observed, strict=True)]
    ).mean()


def layerwise_relative_distance(candidate: Sequence[Tensor], observed: Sequence[Tensor]) -> Tensor:
    """Mean over the parameters of the relative L2 distance."""
    return torch.stack(
        [relative_distance(c, o) for c, o in zip(candidate, observed, strict=True)]
    ).mean()


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

StepMatch = Match | Literal["weighted"]
"""``weighted``: relative, each entry as far as rounding lets it be known."""


def statistics_distance(
    candidate: Statistics, observed: Statistics, trust: Mapping[str, float] | None = None
) -> Tensor:
    """Mean over the layers in ``candidate`` of the relative distances of mean and of variance.

    Zero where all agree; a mean near zero is relative to its standard deviation. Layers of
    ``observed`` that ``candidate`` lacks do not count, so that a forward pass may stop early. TMI
    2023 (arXiv:2202.06924) eq. 4, made relative per layer.

    Args:
        candidate, observed: By layer.
        trust: Weights of the layers in the mean, at least 0; None for 1 each.

    Raises:
        ValueError: ``candidate`` is empty, or names a layer that was not observed.
    """
    _check_layers(candidate, observed)
    terms = [
        # A square root has no gradient at 0: the shift makes it 0 there instead of NaN.
        ((value - target).square().sum() + 1e-30).sqrt() / (size + 1e-8) * _weight(trust, name)
        for name, pair in candidate.items()
        for value, target, size in zip(
            pair, observed[name], statistics_sizes(observed[name]), strict=True
        )
    ]
    return torch.stack(terms).sum() / sum(_weight(trust, name) for name in candidate)


def _weight(trust: Mapping[str, float] | None, name: str) -> float:
    return 1.0 if trust is None else trust[name]


def squared_statistics_distance(
    candidate: Statistics, observed: Statistics, trust: Mapping[str, float] | None = None
) -> Tensor:
    """As `statistics_distance`, with squared relative distances: smooth at the truth.

    Raises:
        ValueError: See there.
    """
    _check_layers(candidate, observed)
    terms = [
        (value - target).square().sum() / (size.square() + _TINY) * _weight(trust, name)
        for name, pair in candidate.items()
        for value, target, size in zip(
            pair, observed[name], statistics_sizes(observed[name]), strict=True
        )
    ]
    return torch.stack(terms).sum() / sum(_weight(trust, name) for name in candidate)


def _compared(pair: tuple[Tensor, Tensor], observed: tuple[Tensor, Tensor]) -> Iterable[_Three]:
    return zip(pair, observed, statistics_sizes(observed), strict=True)


def statistics_sizes(observed: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """What distances of mean and variance are relative to.

    A mean may be zero by construction (a convolution of what a batch norm centred), and its
    rounding must not count: a tenth of the standard deviation is the least.
    """
    mean, variance = observed
    return mean.norm().clamp_min(_CENTRED * variance.sum().clamp_min(0).sqrt()), variance.norm()


def total_variation(images: Tensor) -> Tensor:
    """Mean absolute difference of neighbours, summed over the axes of images [B, C, *size]."""
    return sum((d.abs().mean() for d in _differences(images)), images.new_zeros(()))


def smooth_variation(images: Tensor, eps: float = 1e-6) -> Tensor:
    """As `total_variation`, with `sqrt(d^2 + eps)` for `|d|`: a line search needs a derivative."""
    smoothed = ((d.square() + eps).sqrt().mean() for d in _differences(images))
    return sum(smoothed, images.new_zeros(()))


def _differences(images: Tensor) -> Iterator[Tensor]:
    """Of neighbours, the last axis first."""
    for axis in range(images.dim() - 1, 1, -1):
        yield images.diff(dim=axis)


def outside_box(images: Tensor) -> Tensor:
    """Mean squared excess over [0, 1]; 0 inside the box."""
    return (images - images.clamp(0, 1)).square().mean()


def _check_layers(candidate: Statistics, observed: Statistics) -> None:
    if not candidate or not candidate.keys() <= observed.keys():
        raise ValueError(
            f"Candidate layers {sorted(candidate)} must be some of the observed "
            f"{sorted(observed)}: without a common layer the loss would be a constant."
        )


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([t.square().sum() for t in tensors]).sum().sqrt()

"""Labels from the gradient of the last linear layer: no images needed, or images already guessed.

One fact does all the work. With cross-entropy the gradient at the logits of image i is
``p_i - y_i`` (softmax minus one-hot), with BCE it is ``(s_i - y_i) / C`` (sigmoid, mean over the
C outputs); so the head's bias gradient is the mean of these over the batch, and its weight
gradient the mean of their outer products with the features that enter the head.

Gradients here are means over the images, in float; with K local steps pass
``-update / (lr * K)`` and the number of images of all K steps: the answers are then as good as
the weights are constant over the steps. Integer labels under BCE mean one-hot targets, or a
single output where the head has one.
"""

import torch
from torch import Tensor, nn

from medleak.inversion.losses import Criterion


def head(model: nn.Module) -> str:
    """Name of the last ``nn.Linear`` of ``model``, in the order of ``named_modules()``.

    Raises:
        ValueError: There is none.
    """
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not names:
        raise ValueError(
            f"{type(model).__name__} has no nn.Linear: labels are read from the gradient of a "
            "linear head. Attack it with known or optimised labels."
        )
    return names[-1]


def label_of_one(bias_gradient: Tensor) -> Tensor:
    """Label [1] of the only image of a step, from the head's bias gradient [C].

    Exact without noise: one entry alone is negative, the label's. Under noise this is the most
    negative entry. With one output (BCE) the label is 1 where the gradient is negative.

    Raises:
        ValueError: The gradient is not finite, or zero everywhere (the network is so sure of
            the right label that float32 has nothing left, or the head was not trained).

    Source: Zhao et al. 2020, iDLG, arXiv:2001.02610v1, eq. 4-6.
    """
    _require_gradient(bias_gradient, 1)
    if len(bias_gradient) == 1:
        return (bias_gradient < 0).long()
    return bias_gradient.argmin()[None]


def label_counts(
    bias_gradient: Tensor, mean_output: Tensor, n_images: int, criterion: Criterion
) -> Tensor:
    """How many of ``n_images`` have each label: integers [C] (two for one output), sum n_images.

    ``n_c = N (mean_output_c - g_c)``, with ``C g_c`` for BCE, rounded to the nearest counts
    that add up. Exact where ``mean_output`` is the true mean; a guess of it from a prior image
    or from noise is enough while the network is not sure of itself.

    Args:
        bias_gradient: The head's bias gradient [C], a mean over the images.
        mean_output: Softmax (cross-entropy) or sigmoid (BCE) of the logits [C], mean over the
            images or over stand-ins for them.
        n_images: Images in the step, at least 1.
        criterion: The task loss.

    Raises:
        ValueError: Shapes differ, the gradient is not finite or zero, or ``n_images`` < 1.

    Source: Geng et al. 2021, arXiv:2110.09074v2, section 3.2; Wainakh et al. 2022 (LLG),
    arXiv:2105.09369v4, section 4.
    """
    _require_gradient(bias_gradient, 1)
    if mean_output.shape != bias_gradient.shape:
        raise ValueError(
            f"mean_output has shape {tuple(mean_output.shape)}, the head's bias gradient "
            f"{tuple(bias_gradient.shape)}: both need one value a class."
        )
    if n_images < 1:
        raise ValueError(f"n_images must be at least 1, got {n_images}.")
    outputs = len(bias_gradient)
    scale = outputs if criterion == "bce" else 1
    share = mean_output.double() - scale * bias_gradient.double()
    if outputs == 1:
        share = torch.cat([1 - share, share])
    return _round_to_sum(share.clamp_min(0) * n_images, n_images)


def labels_without_repeats(weight_gradient: Tensor, n_images: int) -> Tensor:
    """Labels [n_images] of a batch in which no label occurs twice, ascending.

    Takes the classes whose weight gradient [C, F] has the most negative entries; needs features
    that are never negative (a ReLU before the pooling).

    Raises:
        ValueError: More images than classes (then a label must repeat: use
            :func:`label_counts`), or the gradient is not finite or zero.

    Source: Yin et al. 2021, GradInversion, arXiv:2104.07586v1, eq. 4.
    """
    _require_gradient(weight_gradient, 2)
    classes = len(weight_gradient)
    if not 1 <= n_images <= classes:
        raise ValueError(
            f"n_images is {n_images} with {classes} classes: labels without repeats need 1 to "
            f"{classes} images. Use label_counts for larger batches."
        )
    lowest = weight_gradient.amin(dim=1)
    return lowest.argsort()[:n_images].sort().values


def labels_of_features(
    features: Tensor,
    outputs: Tensor,
    weight_gradient: Tensor,
    bias_gradient: Tensor,
    criterion: Criterion,
) -> Tensor:
    """Label scores [N, C] of reconstructed images: the argmax of a row (C > 1) is its label.

    The head's gradient is ``1/N sum_i d_i [f_i, 1]`` with ``d_i = outputs_i - y_i`` (over C for
    BCE); with the features known, least squares gives d and so y. A score is 1 at the label and
    0 elsewhere when the images are right. With one output (BCE) the label is ``score > 0.5``.

    Args:
        features: What enters the head [N, F].
        outputs: Softmax or sigmoid of the logits [N, C].
        weight_gradient: [C, F], a mean over the N images.
        bias_gradient: [C], likewise.
        criterion: The task loss.

    Raises:
        ValueError: Shapes that do not belong together, or a gradient that is not finite.
    """
    n, width = features.shape
    classes = outputs.shape[1]
    expected = {"weight_gradient": (classes, width), "bias_gradient": (classes,)}
    found = {"weight_gradient": weight_gradient, "bias_gradient": bias_gradient}
    for name, shape in expected.items():
        if tuple(found[name].shape) != shape:
            raise ValueError(
                f"{name} has shape {tuple(found[name].shape)}, expected {shape} for {width} "
                f"features and {classes} classes: they must come from the same head."
            )
    _require_gradient(weight_gradient, 2)
    _require_gradient(bias_gradient, 1)
    scale = n * (classes if criterion == "bce" else 1)
    design = torch.cat([features.double(), features.new_ones(n, 1).double()], dim=1)
    seen = torch.cat([weight_gradient.double(), bias_gradient.double()[:, None]], dim=1)
    # pinv, not lstsq: two reconstructions that are alike make the features rank-deficient,
    # and the minimum-norm answer then shares the label between them instead of failing.
    residual = torch.linalg.pinv(design.T, rtol=1e-6) @ (seen.T * scale)
    return (outputs.double() - residual).to(outputs.dtype)


def soft_labels(logits: Tensor, criterion: Criterion) -> Tensor:
    """Label probabilities [N, C] from unconstrained unknowns: softmax, or sigmoid for BCE."""
    return logits.softmax(1) if criterion == "cross_entropy" else logits.sigmoid()


def classes_of(logits: Tensor) -> Tensor:
    """Classes [N] int64 that unknowns [N, C] of :func:`soft_labels` mean."""
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)


def _require_gradient(gradient: Tensor, dims: int) -> None:
    if gradient.dim() != dims:
        raise ValueError(f"The head's gradient has {gradient.dim()} dimensions, expected {dims}.")
    if not torch.isfinite(gradient).all():
        raise ValueError(
            "The head's gradient holds NaN or inf: no label can be read from it. The update is "
            "broken, or a defence broke it."
        )
    if not gradient.any():
        raise ValueError(
            "The head's gradient is zero: no label can be read from it. The network was surer "
            "of the labels than float32 can tell, or the head was not trained."
        )


def _round_to_sum(shares: Tensor, total: int) -> Tensor:
    """Nearest non-negative integers to ``shares`` that sum to ``total`` (largest remainders)."""
    if float(shares.sum()) <= 0:
        shares = torch.ones_like(shares)
    shares = shares * (total / shares.sum())
    counts = shares.floor()
    missing = total - int(counts.sum())
    largest = (shares - counts).argsort(descending=True)[:missing]
    counts[largest] += 1
    return counts.long()

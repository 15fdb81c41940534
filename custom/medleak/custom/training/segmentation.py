"""How well a network draws masks: Dice of each image, with a 95 % interval."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.metrics.meandice import compute_dice
from torch import Tensor, nn

from medleak.custom.intervals import bootstrap_of


def dice(logits: Tensor, masks: Tensor) -> Tensor:
    """Dice of each image [N], in [0, 1], mean over the kinds of pixels that it has.

    Background (kind 0) does not count. An image without any other kind counts as 1 if the network
    draws none, else as 0.

    Args:
        logits: [N, K, H, W], K at least 2.
        masks: [N, H, W], kinds of pixels.
    """
    classes = logits.shape[1]
    drawn, truth = (
        nn.functional.one_hot(m, classes).movedim(-1, 1) for m in (logits.argmax(1), masks)
    )
    of_kind = compute_dice(drawn, truth, include_background=False)  # NaN where a kind is absent
    empty = (drawn[:, 1:].flatten(1).sum(1) == 0).to(of_kind.dtype)
    return torch.where(of_kind.isnan().all(1), empty, of_kind.nanmean(1))


def scores(logits: Tensor, masks: Tensor) -> dict[str, float]:
    """Mean Dice of the images and loss (mean cross-entropy of the pixels)."""
    return {
        "dice": dice(logits, masks).double().mean().item(),
        "loss": nn.functional.cross_entropy(logits, masks).item(),
    }


def report(
    logits: Tensor, masks: Tensor, classes: Sequence[str], patients: Sequence[str] = ()
) -> dict[str, Any]:
    """As :func:`.scores.report`: ``n``, ``loss``, ``dice`` with its interval.

    ``empty`` is the mean Dice of a network that draws nothing: what to compare with.
    """
    of_image = dice(logits, masks).double().numpy()
    nothing = torch.zeros_like(logits)
    nothing[:, 0] = 1
    bounds = bootstrap_of(
        lambda index: {"dice": float(of_image[index].mean())}, patients or range(len(of_image))
    )
    lower, upper = bounds["dice"]
    return {
        "n": len(of_image),
        "loss": scores(logits, masks)["loss"],
        "dice": {"value": float(np.mean(of_image)), "lower95": lower, "upper95": upper},
        "empty": dice(nothing, masks).double().mean().item(),
        "classes": list(classes),
    }

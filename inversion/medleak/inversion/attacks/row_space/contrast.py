"""Contrast of images that are known but for it.

Where the first layers are a convolution and a batch norm, multiplying the pixels (about the level
of zero padding) changes neither the network's features nor any gradient: without norm statistics
an update cannot tell contrast. Brightness it can, because padding stays while the image moves. So
contrast is a guess, and this is the place where it is made. Where the network does see contrast (a
batch norm in evaluation mode, a short cut without a norm), what was found is kept.
"""

import numpy as np
import torch
from torch import Tensor

from medleak.inversion.evidence.probe import Probe

_EXTREME = 0.002  # share of the pixels at either end that may be the attack's overshoot
_NOTHING = 1e-9  # an image with nothing on one side of the level tells no gain there


_LESS, _SAME = 0.7, 0.999  # a gain, and the cosine of features up to which it was not seen


def sees_contrast(probe: Probe, layer: str, images: Tensor, level: float) -> bool:
    """Whether the input of ``layer`` changes by more than a factor when contrast does."""
    with torch.no_grad():
        there, less = (
            probe.run(x, inputs=[layer]).inputs[layer].flatten()
            for x in (images, (images - level) * _LESS + level)
        )
    cosine = there.double() @ less.double() / (there.double().norm() * less.double().norm() + 1e-30)
    return float(cosine) < _SAME


def guess_contrast(images: Tensor, level: float) -> Tensor:
    """Multiply ``images`` about ``level`` until they fill what [0, 1] has room for; clamp.

    Medical images have a black background or border, so the most contrast that pixels allow is
    close to the truth: the root mean square error of the gain's logarithm was 0.07 on X-rays (their
    brightest pixel tells it to 0.21, a public mean image's energy to 0.34), 0 on brain MRI and
    fundus images with their black surround, and 0.3 to 0.4 on dermoscopy, which has none and where
    the other two know no better.

    Args:
        images: [N, C, H, W], one gain for all: a batch norm ties the images of a batch together.
        level: Pixel value of zero padding, the mean of the input's normalisation.
    """
    offset = images - level
    darkest, brightest = np.quantile(offset.cpu().numpy(), (_EXTREME, 1 - _EXTREME))
    room = [
        limit / found
        for limit, found in ((-level, darkest), (1 - level, brightest))
        if limit * found > _NOTHING
    ]
    return (offset * min(room, default=1.0) + level).clamp(0, 1)

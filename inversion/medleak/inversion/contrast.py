"""Contrast of images that are known but for it.

Where the first layers are a convolution and a batch norm, multiplying the pixels (about the level
of zero padding) changes neither the network's features nor any gradient: without norm statistics
an update cannot tell contrast. Brightness it can, because padding stays while the image moves. So
contrast is a guess, and this is the place where it is made.
"""

import math

from torch import Tensor

_USUAL_MAXIMUM = 0.95  # Of an X-ray at 8 bits, resized: 0.90 +- 0.07 over 300 images.


def guess_contrast(images: Tensor, prior: Tensor | None, level: float) -> Tensor:
    """Multiply ``images`` about ``level`` until they look like images; clamp to [0, 1].

    The gain is the geometric mean of two guesses: the one with which the brightest pixel is as
    bright as usual, and the one that gives the images the prior's root mean square. On X-rays the
    first scatters by 8 %, the second by 14 %; SSIM falls by less than 0.01 for 15 %.

    Args:
        images: [N, C, H, W], one gain for all: a batch norm ties the images of a batch together.
        prior: [1, C, H, W] in [0, 1]; without it the first guess alone.
        level: Pixel value of zero padding, the mean of the input's normalisation.
    """
    offset = images - level
    brightest = float(offset.amax((1, 2, 3)).mean())
    guesses = [math.log((_USUAL_MAXIMUM - level) / max(brightest, 1e-6))]
    if prior is not None:
        rms = (prior.to(images.device) - level).square().mean().sqrt()
        guesses.append(float((rms / offset.square().mean().sqrt().clamp_min(1e-6)).log()))
    gain = math.exp(sum(guesses) / len(guesses))
    return (offset * gain + level).clamp(0, 1)

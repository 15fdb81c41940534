"""How close reconstructions are to the images they were made from: SSIM, PSNR, RDLV, assignment.

All functions take images [N, C, H, W] or volumes [N, C, H, W, D], float in [0, 1], on any device,
and return float64 [N] on that device. Values outside [0, 1] are clipped before they are compared.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

SSIM_WINDOW = 7
RDLV_MIN_PRIOR_SSIM = 0.05
PSNR_CAP_DB = 100.0
ASR_THRESHOLD = 0.9
# What the sums of windows need must lie in a core's cache, or a CPU is several times slower.
_CPU_VALUES_AT_ONCE = 2**18
_GPU_VALUES_AT_ONCE = 2**24  # bounds the memory


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which reconstruction stands for which truth: indices [P], and the SSIM [P] of each pair."""

    reconstruction: Tensor
    truth: Tensor
    ssim: Tensor


def ssim(truth: Tensor, image: Tensor) -> Tensor:
    """Structural similarity with scikit-image's default window, ``data_range=1``, no rescaling.

    Window 7 x 7 uniform (7 x 7 x 7 of a volume), K1 = 0.01, K2 = 0.03, sample covariance, mean over
    windows that lie inside the image and then over channels:
    `skimage.metrics.structural_similarity(truth, image, data_range=1, channel_axis=0)`, with which
    it agrees to 1e-9 in float64.

    Args:
        truth: [N, C, H, W] in [0, 1], or [N, C, H, W, D].
        image: Same shape.

    Returns:
        [N] in [-1, 1]; 1 for identical images.

    Raises:
        ValueError: Shapes differ, a side is below 7 px, or a value is NaN or infinite.

    Source: Wang et al. 2004, doi:10.1109/TIP.2003.819861, eq. 13.
    """
    return _in_parts(
        lambda t, i: _similarity(_Windows.of(t), _Windows.of(i), data_range=1.0), truth, image
    )


def ssim_tmi(truth: Tensor, image: Tensor) -> Tensor:
    """The variant behind the figures of TMI 2023: each reconstruction is stretched to its range.

    Both images at 0..255 with ``data_range=256``; ``image`` is rescaled so that its minimum is 0
    and its maximum 255, which hides errors of brightness and contrast. For comparison with
    published figures only. A constant ``image`` has no range and is compared as it is.

    Args, returns and errors as `ssim`.

    Source: Hatamizadeh et al. 2023, arXiv:2202.06924v2; window and ranges as in its public code.
    """
    return _in_parts(_ssim_tmi, truth, image)


def mse(truth: Tensor, image: Tensor) -> Tensor:
    """Mean squared error over channels and pixels; args and errors as `ssim`."""
    return _in_parts(lambda t, i: (t - i).square().flatten(1).mean(1), truth, image)


def psnr(truth: Tensor, image: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB at peak 1: -10 log10(MSE); args and errors as `mse`.

    Capped at 100 dB, where the MSE (1e-10) is beneath the rounding of float32 images: identical
    images would else put an infinity into every mean that they enter.
    """
    return (-10 * mse(truth, image).log10()).clamp_max(PSNR_CAP_DB)


def rdlv(ssim_image: Tensor, ssim_prior: Tensor) -> Tensor:
    """Relative data leakage value: (SSIM(T, I) - SSIM(T, P)) / SSIM(T, P).

    Args:
        ssim_image: [N], similarity of each truth T to its reconstruction I.
        ssim_prior: [N], similarity of each truth T to the prior image P.

    Returns:
        [N] float64; above 0 the reconstruction shows more of the image than the prior did. NaN
        (undefined, never infinite) where SSIM(T, P) < 0.05: the quotient says nothing there.

    Source: Hatamizadeh et al. 2023, arXiv:2202.06924v2, eq. 6.
    """
    image, prior = ssim_image.double(), ssim_prior.double()
    defined = prior >= RDLV_MIN_PRIOR_SSIM
    return torch.where(defined, (image - prior) / prior.clamp_min(RDLV_MIN_PRIOR_SSIM), torch.nan)


def attack_success(ssim: Tensor, threshold: float = ASR_THRESHOLD) -> Tensor:
    """Whether each attacked image [N] was recovered: SSIM at the threshold or above, bool [N].

    The mean is the attack success rate, ASR. An undefined SSIM (NaN) is no success.

    Raises:
        ValueError: The threshold is no SSIM, which lies in [-1, 1].

    Source: Das et al., "In-depth Analysis of Privacy Threats in Federated Learning for Medical
    Data" (MedPFL), section VI: 0.9.
    """
    if not -1 <= threshold <= 1:
        raise ValueError(
            f"ASR counts SSIMs of a threshold or above, and {threshold} is none: give one in "
            "[-1, 1], the published one is 0.9."
        )
    return ssim >= threshold


def pairwise_ssim(reconstructions: Tensor, truths: Tensor) -> Tensor:
    """`ssim` of every reconstruction [N, C, ...] with every truth [M, C, ...]: [N, M]."""
    if reconstructions.shape[1:] != truths.shape[1:]:
        raise ValueError(
            f"Reconstructions are {tuple(reconstructions.shape[1:])} and truths "
            f"{tuple(truths.shape[1:])} (channels, sides): they cannot be compared. Load "
            "the truth at the size and channels that the record's manifest states."
        )
    similarity = reconstructions.new_empty((len(reconstructions), len(truths)), dtype=torch.float64)
    at_once = _at_once(truths)
    for rows in torch.arange(len(reconstructions)).split(at_once):
        guesses = _Windows.of(_checked(reconstructions[rows], "reconstructions"))
        for columns in torch.arange(len(truths)).split(at_once):
            true = _Windows.of(_checked(truths[columns], "truths"))
            for k, row in enumerate(rows):
                similarity[row, columns] = _similarity(true, guesses.only(k), data_range=1.0)
    return similarity


def assign(reconstructions: Tensor, truths: Tensor) -> Assignment:
    """Pair reconstructions with truths one to one by the best total SSIM (Hungarian).

    Args:
        reconstructions: [N, C, H, W] in [0, 1].
        truths: [M, C, H, W], all images that the client may have trained on; M may differ from N.

    Returns:
        min(N, M) pairs, in the order of the reconstructions.

    Raises:
        ValueError: As `ssim`.
    """
    similarity = pairwise_ssim(reconstructions, truths)
    rows, columns = linear_sum_assignment(similarity.cpu().numpy(), maximize=True)
    reconstruction, truth = torch.as_tensor(rows), torch.as_tensor(columns)
    return Assignment(reconstruction, truth, similarity.cpu()[reconstruction, truth])


def best_of_any(reconstructions: Tensor, truths: Tensor) -> Assignment:
    """Pair each reconstruction with the truth it resembles most; a truth may be taken repeatedly.

    TMI's way (section III-D, "highest SSIM with any of the original training images"): an upper
    bound of `assign`, flattering for sites with many images. Args and errors as `assign`; N pairs.
    """
    best = pairwise_ssim(reconstructions, truths).cpu().max(dim=1)
    return Assignment(torch.arange(len(reconstructions)), best.indices, best.values)


def as_channels(images: Tensor, channels: int) -> Tensor:
    """Images with ``channels`` channels: colour is averaged to gray, gray repeated to colour.

    Raises:
        ValueError: Neither they nor what is asked for are gray.
    """
    if images.shape[1] == channels:
        return images
    if channels == 1:
        return images.mean(1, keepdim=True)
    if images.shape[1] != 1:
        raise ValueError(
            f"Images of {images.shape[1]} channels cannot be compared with those of {channels}: "
            "which channel is which is not known. Load both as the record's manifest states."
        )
    return images.expand(-1, channels, *images.shape[2:])


@dataclass(frozen=True, slots=True)
class _Windows:
    """Images in float64, and mean and sample variance of their windows."""

    images: Tensor
    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, images: Tensor) -> "_Windows":
        mean = _window_mean(images)
        return cls(images, mean, _sample(images) * (_window_mean(images * images) - mean**2))

    def only(self, k: int) -> "_Windows":
        return _Windows(*(t[k : k + 1] for t in (self.images, self.mean, self.variance)))


def _ssim_tmi(truth: Tensor, image: Tensor) -> Tensor:
    every = tuple(range(1, image.dim()))
    low, high = image.amin(every, keepdim=True), image.amax(every, keepdim=True)
    stretched = torch.where(high > low, (image - low) / (high - low).clamp_min(1e-12), image)
    # SSIM does not change when images and range are scaled alike: 0..255 at 256 is 0..1 at 256/255.
    return _similarity(_Windows.of(truth), _Windows.of(stretched), data_range=256 / 255)


def _similarity(a: _Windows, b: _Windows, data_range: float) -> Tensor:
    # Own lines, not monai.metrics: MONAI divides covariances by 49 instead of 48 and computes in
    # float32, where flat regions of an X-ray cancel to an error of 2e-4.
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    covariance = _sample(a.images) * (_window_mean(a.images * b.images) - a.mean * b.mean)
    luminance = (2 * a.mean * b.mean + c1) / (a.mean**2 + b.mean**2 + c1)
    structure = (2 * covariance + c2) / (a.variance + b.variance + c2)
    return (luminance * structure).flatten(1).mean(1)


def _window_mean(x: Tensor) -> Tensor:
    # Five times as fast on a CPU as avg_pool2d, whose float64 kernel adds all 49 pixels.
    axes = range(2, x.dim())
    for axis in axes:
        x = _seven(x, axis)
    return x / SSIM_WINDOW ** len(axes)


def _sample(images: Tensor) -> float:
    """Sample over population variance of a window."""
    values = SSIM_WINDOW ** (images.dim() - 2)
    return values / (values - 1)


def _seven(x: Tensor, axis: int) -> Tensor:
    """Sums of seven neighbours along ``axis``, as 4 + 2 + 1."""
    n = x.shape[axis]
    two = x.narrow(axis, 0, n - 1) + x.narrow(axis, 1, n - 1)
    four = two.narrow(axis, 0, n - 3) + two.narrow(axis, 2, n - 3)
    windows = n - SSIM_WINDOW + 1
    return (
        four.narrow(axis, 0, windows)
        .add(two.narrow(axis, 4, windows))
        .add_(x.narrow(axis, 6, windows))
    )


def _in_parts(figure: Callable[[Tensor, Tensor], Tensor], truth: Tensor, image: Tensor) -> Tensor:
    """``figure`` of a few pairs at a time: bounded memory, and on a CPU its cache."""
    _check_same_shape(truth, image)
    at_once = _at_once(truth)
    parts = [
        figure(_checked(t, "truth"), _checked(i, "image"))
        for t, i in zip(truth.split(at_once), image.split(at_once), strict=True)
    ]
    return torch.cat(parts)


def _at_once(images: Tensor) -> int:
    """Images of this size that are compared at a time."""
    values = _GPU_VALUES_AT_ONCE if images.is_cuda else _CPU_VALUES_AT_ONCE
    return max(1, values // max(1, images[:1].numel()))


def _check_same_shape(truth: Tensor, image: Tensor) -> None:
    if truth.shape != image.shape:
        raise ValueError(
            f"Images to compare are {tuple(truth.shape)} and {tuple(image.shape)}: both must be "
            "the same [N, C, H, W]. Resize or repeat one of them first."
        )


def _checked(images: Tensor, name: str) -> Tensor:
    """``images`` in float64, clipped to [0, 1]."""
    if images.dim() not in (4, 5):
        raise ValueError(
            f"The {name} has shape {tuple(images.shape)}: metrics compare images [N, C, H, W] and "
            "volumes [N, C, H, W, D]. Add the missing axis."
        )
    if min(images.shape[2:]) < SSIM_WINDOW:
        raise ValueError(
            f"The {name} has {' x '.join(map(str, images.shape[2:]))} px, fewer than the window of "
            f"SSIM, {SSIM_WINDOW} px a side, which is undefined there. Use images of {SSIM_WINDOW} "
            "px or more."
        )
    if not torch.isfinite(images).all():
        raise ValueError(
            f"The {name} holds NaN or infinity: any similarity to it is meaningless. Look at the "
            "attack's losses, or at the file it was read from."
        )
    return images.double().clamp(0, 1)

"""Find the transformation under which a listed image is most like one that came back.

Coarse to fine. A bank of some 2,500 zooms, rotations and shifts of the listed image at 20 px, and
the eight flips and turns, are correlated with all other images by one matrix product: some 10 ms
an image, however many others. The best two starts of the few pairs that matter are then registered
by SimpleITK (affine, normalised correlation) in at most four ways, some 30 ms each at 64 px.

SimpleITK and not scikit-image, which has phase correlation and optical flow alone, no affine
registration: its log-polar phase correlation knows no crop. SimpleITK's is ITK's (C++, maintained
since 1999), takes 27 ms where a search in Python over scikit-image's `warp` takes longer, and does
volumes.

Whatever is compared with a truth goes through `compare`: a reconstruction, and every image that
cannot have leaked. So the best of many transformations is no evidence by itself.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor
from torch.nn import functional

from medleak.inversion.measures.augmentation import BORDERS, Transformation
from medleak.inversion.measures.similarity import pairwise_ssim, ssim

THUMBNAIL_PX = 20
WORTH = 0.03
"""SSIM that a transformation must add, to be said: near-identical attacks scatter by 0.02, and each
finer step of the search (geometry, then intensities) must add a third of it to be kept."""

_ZOOMS = (0.81, 0.9, 1.0, 1.15, 1.32, 1.52, 1.75)
_DEGREES = (-24.0, -16.0, -8.0, 0.0, 8.0, 16.0, 24.0)
_STEP, _FARTHEST = 0.07, 0.125  # shifts, share of the side; a crop may lie anywhere in the image
_LEAST_SHOWN = 0.6  # of the view: less of an image is like anything
_STARTS = 2
_FINEST_PX = 96  # registered at; enough for a tenth of a pixel of an image of 224
_ITERATIONS = 100
_FIRST_STEP_PX = 0.5
_MOVED, _TURNED, _ZOOMED = (0, 0, 1, 1), (0, 1, 1, 1), (1, 1, 1, 1)  # of zoom, angle, shift
_WAYS = ((_MOVED, (1,)), (_TURNED, (1,)), (_ZOOMED, (1,)), (_ZOOMED, (2, 1)))
"""What is free, and the sizes at which it is searched for, one way after the other.

Each begins at the start: the more is free, the more an image that is shifted alone drifts off. Blur
sees further, and draws the border of what is seen into it.
"""
_SETTLED = 1 - WORTH  # SSIM to which no further way can add anything of worth
_STEP_KEPT = WORTH / 3

sitk.ProcessObject.SetGlobalWarningDisplay(False)  # it warns of each start that leads nowhere


@dataclass(frozen=True, slots=True)
class Match:
    """The best that an image is like a listed one.

    Attributes:
        ssim: With the listed image under ``transformation``.
        plain: With the listed image as it is.
        transformation: None: as it is, or nothing adds `WORTH`.
    """

    ssim: float
    plain: float
    transformation: Transformation | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """Where a fine search begins, and the correlation there."""

    transformation: Transformation
    correlation: float


def compare(truth: Tensor, image: Tensor) -> Match:
    """The best SSIM of ``image`` [C, H, W] with ``truth`` [C, H, W] under usual augmentations.

    What the network saw is the truth transformed, so the truth is moved and ``image`` is not.

    Raises:
        ValueError: As `medleak.inversion.measures.similarity.ssim`.
    """
    return refine(truth, image, coarse(truth, image[None])[0])


def augmented_ssim(truths: Tensor, images: Tensor) -> Tensor:
    """SSIM [N] of pairs of images [N, C, H, W] under the usual augmentations; see `compare`."""
    found = [compare(t, i).ssim for t, i in zip(truths, images, strict=True)]
    return torch.tensor(found, dtype=torch.float64)


def coarse(truth: Tensor, images: Tensor) -> list[list[Start]]:
    """The most promising starts for each of ``images`` [N, C, h, w] with ``truth`` [C, H, W].

    Images of any size will do: they are compared as thumbnails.

    Returns:
        For each image at most `_STARTS`, of different flips and turns, best first; none where one
        of the two is flat.
    """
    height, width = truth.shape[-2:]
    bank = _bank(*_thumbnail_size(height, width))
    turns = symmetries(height, width)
    thumbs = _thumbnails(images, _thumbnail_size(height, width))
    # Instead of all symmetries of the bank: the inverse ones of the images.
    turned = torch.cat([s.undone(thumbs) for s in turns]).flatten(1)
    # Twice as fine: a view that enlarges it shows more of it than its thumbnail has.
    h, w = _thumbnail_size(height, width)
    correlation = bank.correlate(_thumbnails(truth[None], (2 * h, 2 * w)), turned)
    best = correlation.max(dim=0)
    values = best.values.view(len(turns), len(images))
    places = best.indices.view(len(turns), len(images))
    found = []
    for n in range(len(images)):
        order = values[:, n].argsort(descending=True)[:_STARTS].tolist()
        found.append(
            [
                Start(
                    replace(
                        turns[s],
                        matrix=bank.matrices[int(places[s, n])],
                        shift=bank.shift(int(places[s, n]), height, width),
                    ),
                    float(values[s, n]),
                )
                for s in order
                if values[s, n] > 0
            ]
        )
    return found


def refine(truth: Tensor, image: Tensor, starts: Sequence[Start]) -> Match:
    """The fine search from ``starts``; simpler transformations first, finer ones must be worth it.

    Args:
        truth: [C, H, W].
        image: Likewise.
        starts: See `coarse`.
    """
    truth, image = truth.detach().cpu()[None], image.detach().cpu()[None]
    if min(truth.shape[-2:]) < THUMBNAIL_PX:  # nothing is left of a detail to register by
        plain = float(ssim(truth, image))
        return Match(plain, plain)
    turns = symmetries(*truth.shape[-2:])
    turned = torch.cat([s(truth) for s in turns])
    values = pairwise_ssim(image, turned)[0]
    plain, k = float(values[0]), int(values.argmax())
    best, value = turns[k], float(values[k])
    for start in starts:
        for free, levels in _WAYS:
            if value >= _SETTLED:
                break
            for moved in _registered(truth, image, start.transformation, free, levels):
                for candidate in _bordered(truth, image, moved):
                    reached = float(ssim(candidate(truth), image))
                    if reached > value + (_STEP_KEPT if best in turns else 0):
                        best, value = candidate, reached
    scaled = _scaled(truth, image, best)
    if scaled is not None and (reached := float(ssim(scaled(truth), image))) > value + _STEP_KEPT:
        best, value = scaled, reached
    if value <= plain + WORTH:
        return Match(plain, plain)
    return Match(value, plain, best)


def _thumbnail_size(height: int, width: int) -> tuple[int, int]:
    least = min(height, width)
    return round(THUMBNAIL_PX * height / least), round(THUMBNAIL_PX * width / least)


def _thumbnails(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Gray, [N, 1, *size]."""
    gray = images.detach().float().cpu().mean(1, keepdim=True)
    return functional.adaptive_avg_pool2d(gray, size)


def symmetries(height: int, width: int) -> list[Transformation]:
    """Flips and quarter turns that leave images of ``height`` x ``width`` px that size; as it is
    first.
    """
    turns = (0, 1, 2, 3) if height == width else (0, 2)
    return [Transformation(flip=f, turns=t) for t in turns for f in (False, True)]


@dataclass(frozen=True, slots=True, eq=False)
class _Bank:
    """Affine views of any image: where [K, h, w, 2] each pixel looks, and whether at the image."""

    matrices: Sequence[tuple[float, float, float, float]]
    shifts: Sequence[tuple[float, float]]  # shares of the side
    grids: Tensor
    shown: Tensor  # [K, h * w]

    def shift(self, k: int, height: int, width: int) -> tuple[float, float]:
        """Of view ``k``, px."""
        return self.shifts[k][0] * width, self.shifts[k][1] * height

    def correlate(self, truth: Tensor, images: Tensor) -> Tensor:
        """[K, N]: of each view of ``truth`` [1, 1, *, *] with ``images`` [N, h * w]."""
        k, h, w, _ = self.grids.shape
        views = functional.grid_sample(
            truth, self.grids.reshape(1, k * h, w, 2), align_corners=False
        ).view(k, h * w)
        shown, n = self.shown, self.shown.sum(1, keepdim=True)
        views = (views - (views * shown).sum(1, keepdim=True) / n) * shown
        covariance = views @ images.T
        variance = shown @ images.T.square() - (shown @ images.T).square() / n
        scale = views.norm(dim=1, keepdim=True) * variance.clamp_min(0).sqrt()
        return torch.where(scale > 1e-3, covariance / scale.clamp_min(1e-3), -1.0)


@functools.lru_cache(maxsize=4)
def _bank(height: int, width: int) -> _Bank:
    matrices, shifts, grids, shown = [], [], [], []
    for zoom, degrees in itertools.product(_ZOOMS, _DEGREES):
        c, s = (f(math.radians(degrees)) / zoom for f in (math.cos, math.sin))
        # In shares of the image's side: a crop of 1 / zoom moves within what it leaves out.
        farthest = max(_FARTHEST / zoom, (1 - 1 / zoom) / 2)
        n = math.ceil(farthest * zoom / _STEP)
        places = [farthest * k / n for k in range(-n, n + 1)]
        for x, y in itertools.product(places, places):
            view = Transformation(matrix=(c, -s, s, c), shift=(x * width, y * height))
            inside = view.shown(height, width)
            if float(inside.float().mean()) >= _LEAST_SHOWN:
                matrices.append(view.matrix)
                shifts.append((x, y))
                grids.append(view._grid(height, width)[0])
                shown.append(inside.flatten().float())
    return _Bank(matrices, shifts, torch.stack(grids), torch.stack(shown))


def _registered(
    truth: Tensor,
    image: Tensor,
    start: Transformation,
    free: tuple[int, ...],
    levels: Sequence[int],
) -> list[Transformation]:
    """``start`` with the similarity of the best correlation nearby; where that is free in all, also
    the affine map from there. Fewer where it leads nowhere.

    Six unknowns at once drift off from where four arrive: the second step is made from the first.

    Args:
        truth: [1, C, H, W], likewise ``image``.
        start: Where to begin.
        free: See `_WAYS`, likewise ``levels``.
    """
    height, width = truth.shape[-2:]
    factor = min(1.0, _FINEST_PX / max(height, width))
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    fixed, moving = (
        sitk.GetImageFromArray(
            np.ascontiguousarray(functional.adaptive_avg_pool2d(i.mean(1), size)[0].numpy())
        )
        for i in (start.undone(image).float(), truth.float())
    )
    ratio = (size[1] / width, size[0] / height)
    found: list[Transformation] = []
    steps: list[
        tuple[sitk.Similarity2DTransform | sitk.AffineTransform, tuple[int, ...], Sequence[int]]
    ] = [(sitk.Similarity2DTransform(), free, levels)]
    if free == _ZOOMED:
        steps.append((sitk.AffineTransform(2), (1,) * 6, (1,)))
    for affine, weights, sizes in steps:
        affine.SetCenter(((size[1] - 1) / 2, (size[0] - 1) / 2))
        affine.SetMatrix(_of_its_kind(start, affine))
        affine.SetTranslation([s * r for s, r in zip(start.shift, ratio, strict=True)])
        try:
            _descend(fixed, moving, affine, weights, sizes)
        except RuntimeError:  # flat images, or no overlap left
            return found
        shift = [t / r for t, r in zip(affine.GetTranslation(), ratio, strict=True)]
        reached = replace(start, matrix=tuple(affine.GetMatrix()), shift=(shift[0], shift[1]))
        if not _sound(reached, height, width):
            return found
        found.append(start := reached)
    return found


def _of_its_kind(start: Transformation, transform: sitk.Transform) -> tuple[float, ...]:
    """A matrix that a similarity takes: none but a rotation and a zoom, to the last digit."""
    if not isinstance(transform, sitk.Similarity2DTransform):
        return start.matrix
    angle = math.radians(start.degrees)
    c, s = math.cos(angle) / start.zoom, math.sin(angle) / start.zoom
    return c, -s, s, c


def _descend(
    fixed: sitk.Image,
    moving: sitk.Image,
    transform: sitk.Transform,
    weights: Sequence[int],
    levels: Sequence[int],
) -> None:
    """Move ``transform`` to the best correlation nearby; parameters of weight 0 stay."""
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsCorrelation()
    method.SetInterpolator(sitk.sitkLinear)
    method.SetInitialTransform(transform, inPlace=True)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=_FIRST_STEP_PX, minStep=1e-3, numberOfIterations=_ITERATIONS
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetOptimizerWeights([float(w) for w in weights])
    method.SetShrinkFactorsPerLevel(list(levels))
    method.SetSmoothingSigmasPerLevel([level - 1 for level in levels])
    method.Execute(fixed, moving)


def _sound(found: Transformation, height: int, width: int) -> bool:
    """Whether it is a usual augmentation that shows enough of the image."""
    if not all(map(math.isfinite, (*found.matrix, *found.shift))) or not found.usual:
        return False
    return float(found.shown(height, width).float().mean()) >= _LEAST_SHOWN


def _bordered(truth: Tensor, image: Tensor, found: Transformation) -> list[Transformation]:
    """``found`` with every border, where it shows one."""
    outside = ~found.shown(*truth.shape[-2:])
    if not outside.any():
        return [found]
    fill = float(found.undone(image).mean(1)[0][outside].mean().clamp(0, 1))
    return [replace(found, border=b, fill=fill if b == "constant" else 0.0) for b in BORDERS]


def _scaled(truth: Tensor, image: Tensor, found: Transformation) -> Transformation | None:
    """``found`` with the mean and the contrast of ``image``; None: not by a usual augmentation.

    The ratio of the standard deviations, not a regression: noise would make that too small.
    """
    seen = found(truth)
    spread = float(seen.std())
    if spread < 1e-3:
        return None
    gain = float(image.std()) / spread
    offset = float(image.mean()) - gain * float(seen.mean())
    scaled = replace(found, gain=gain, offset=offset)
    return scaled if scaled.usual else None

"""Figures that say nothing of a leak: what any image scores against a truth.

An SSIM alone says little: two unrelated chest films have 0.4. Beside every figure stand what the
prior scores, and three images that the attacked update cannot have leaked:

- the class mean over the other clients' images: what everyone knows of the class;
- the nearest non-member: the image most like the truth that the client did not train on. An
  attacker who only guessed a similar patient could do no better;
- a coarse copy of the truth itself, where there is no list of another client's images to look in;
- the reconstruction from another client's update under the same attack, defence, knowledge, round
  and seed: what the attack makes of an update that has never met the image. It needs a whole
  audit, see `medleak.inversion.audit.other_sites`.
"""

import torch
from torch import Tensor
from torch.nn import functional

from medleak.custom.data.transforms import load_images
from medleak.custom.record import InputSpec
from medleak.inversion.measures import similarity
from medleak.inversion.measures.gallery import THUMBNAIL_PX, Gallery, thumbnails_of
from medleak.inversion.measures.registration import coarse, compare

NEAREST = 16
"""Non-members, nearest by thumbnail, whose SSIM is computed."""

NEAREST_SEARCHED = 8
"""Likewise under augmentation, by the coarse search's correlation; each takes a tenth of a second.
"""

COARSE_CELLS, COARSE_CELLS_SEARCHED = 8, 12
"""Of a side of `ssim_of_coarse`, for truths as they are listed and under augmentation. Measured on
X-rays, brain, skin and fundus images at 64 px: with 8 cells a copy has 0.73, 0.35, 0.78 and 0.72 (a
class mean 0.48, 0.38, 0.57 and 0.59); with 12 it is on average above the nearest of 120 non-members
of each (0.83 and 0.61 on X-rays), which a search may make of any image."""


def ssim_of_class_mean(gallery: Gallery, site: str, truths: Tensor, labels: Tensor) -> Tensor:
    """SSIM of truths [M, C, H, W] of ``site`` with the mean of the other clients' class.

    Returns:
        [M] float64; NaN where no other client has an image of that class.
    """
    found = torch.full((len(truths),), torch.nan, dtype=torch.float64)
    for label in labels.unique().tolist():
        mean = gallery.class_mean(label, without=site)
        if mean is not None:
            of_class = truths[labels == label]
            found[labels == label] = similarity.ssim(of_class, mean.expand_as(of_class)).cpu()
    return found


def ssim_of_nonmember(
    gallery: Gallery, site: str, truths: Tensor, spec: InputSpec, nearest: int = NEAREST
) -> Tensor:
    """The best SSIM of each truth [M, C, H, W] with an image that ``site`` did not train on.

    Of all non-members only those few are loaded whose thumbnails (16 x 16 block means) are nearest.
    That is a lower bound of the search over all; on chest X-rays at 64 px it missed by 0.005 on
    average. Embeddings choose no better, and would tie this figure to a network.

    Returns:
        [M] float64; NaN where the gallery has no other image.

    Raises:
        DataError: An image cannot be read.
    """
    found = torch.full((len(truths),), torch.nan, dtype=torch.float64)
    members = set(gallery.training.get(site, ()))
    others = [place for place in range(len(gallery)) if place not in members]
    if not others:
        return found
    distance = torch.cdist(thumbnails_of(truths), gallery.thumbnails[others])
    candidates = distance.topk(min(nearest, len(others)), largest=False).indices
    for k, row in enumerate(candidates.tolist()):
        images, _ = load_images(
            [gallery.items[others[i]] for i in row],
            spatial_size=spec.spatial_size,
            channels=spec.channels,
        )
        found[k] = similarity.ssim(truths[k : k + 1].expand_as(images), images).max()
    return found


def searched(
    gallery: Gallery, site: str, truth: Tensor, label: int, prior: Tensor, spec: InputSpec
) -> dict[str, float]:
    """The nulls of ``truth`` [C, H, W] where its transformations are searched: each by the same.

    Args:
        gallery: Of all clients.
        site: Whose image it is; ``label``: its class.
        truth: As it is listed.
        prior: [1, C, H, W].
        spec: Of the record's images.

    Returns:
        ``ssim_prior``, and where there are such images ``ssim_class_mean`` and ``ssim_nonmember``.

    Raises:
        DataError: An image cannot be read.
    """
    found = {"ssim_prior": compare(truth, prior[0]).ssim}
    mean = gallery.class_mean(label, without=site)
    if mean is not None:
        found["ssim_class_mean"] = compare(truth, mean).ssim
    members = set(gallery.training.get(site, ()))
    others = [place for place in range(len(gallery)) if place not in members]
    if not others:
        return found
    size, channels = spec.picture()
    thumbnails = gallery.thumbnails[others].unflatten(1, (channels, THUMBNAIL_PX, THUMBNAIL_PX))
    starts = coarse(truth, thumbnails)
    likeness = torch.tensor([s[0].correlation if s else -1.0 for s in starts])
    nearest = likeness.topk(min(NEAREST_SEARCHED, len(others))).indices.tolist()
    images, _ = load_images(
        [gallery.items[others[i]] for i in nearest],
        spatial_size=size,
        channels=channels,
    )
    found["ssim_nonmember"] = max(compare(truth, image).ssim for image in images)
    return found


def ssim_of_coarse(truths: Tensor, cells: int = COARSE_CELLS) -> Tensor:
    """SSIM [M] of truths [M, C, *size] with copies of themselves of ``cells`` a side.

    Where no list of another client is at hand, nothing says how like each other unrelated images of
    the kind are. A copy this coarse is more like its image than they are: a reconstruction that
    beats it shows more of that very image than its rough shape.
    """
    volumes = truths.dim() == 5
    pooled = functional.adaptive_avg_pool3d if volumes else functional.adaptive_avg_pool2d
    copies = functional.interpolate(
        pooled(truths, cells),
        size=truths.shape[2:],
        mode="trilinear" if volumes else "bicubic",
        align_corners=False,
    )
    return similarity.ssim(truths, copies.clamp(0, 1))

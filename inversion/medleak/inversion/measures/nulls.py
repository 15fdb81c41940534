"""Figures that say nothing of a leak: what any image scores against a truth.

An SSIM alone says little: two unrelated chest films have 0.4. Beside every figure stand what the
prior scores, and three images that the attacked update cannot have leaked:

- the class mean over the other clients' images: what everyone knows of the class;
- the nearest non-member: the image most like the truth that the client did not train on. An
  attacker who only guessed a similar patient could do no better;
- the reconstruction from another client's update under the same attack, defence, knowledge, round
  and seed: what the attack makes of an update that has never met the image. It needs a whole
  audit, see `medleak.inversion.audit.other_sites`.
"""

import torch
from torch import Tensor

from medleak.custom.data.transforms import load_images
from medleak.custom.record import InputSpec
from medleak.inversion.measures import similarity
from medleak.inversion.measures.gallery import Gallery, thumbnails_of

NEAREST = 16
"""Non-members, nearest by thumbnail, whose SSIM is computed."""


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
    size, channels = spec.picture()
    candidates = distance.topk(min(nearest, len(others)), largest=False).indices
    for k, row in enumerate(candidates.tolist()):
        images, _ = load_images(
            [gallery.items[others[i]] for i in row],
            spatial_size=size,
            channels=channels,
        )
        found[k] = similarity.ssim(truths[k : k + 1].expand_as(images), images).max()
    return found

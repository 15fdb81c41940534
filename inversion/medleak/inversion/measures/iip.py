"""Image identifiability precision: does a reconstruction point to the image that it came from?

Of each reconstruction the nearest neighbours are sought, by the cosine of embeddings, among all
training and validation images of all clients (`medleak.inversion.measures.gallery`).

- IIP: the neighbours hold the very image of the attacked client that the reconstruction was
  assigned to. Images are assigned one to one, so every match is of another image.
- site-IIP: they hold any training image of the attacked client, each image counted once.

Both are shares of the client's training images, attacked or not.

Source: Hatamizadeh et al. 2023, arXiv:2202.06924v2, section II-D, whose "exact match" is worded
both ways; after Yin et al. 2021, arXiv:2104.07586v1.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medleak.custom.data.transforms import load_images
from medleak.custom.record import InputSpec
from medleak.inversion.measures.gallery import Embed, Gallery, unit_length
from medleak.inversion.measures.registration import compare, symmetries

OTHER_CLASS = "-"

RIVALS = 8
"""Images most like a reconstruction that are transformed as suits them best, if its truth was."""


@dataclass(frozen=True, slots=True, eq=False)
class Identified:
    """What the gallery says of P reconstructions; fields [P].

    Attributes:
        match: The truth is among the k nearest.
        site_match: A training image of the client is that no reconstruction before found.
        cosine: Of reconstruction and truth.
        neighbours: Places in the gallery of the k nearest, joined by spaces, `OTHER_CLASS` for
            those of another class than the truth.
        class_mates: Images of the truth's class in the gallery, itself included.
    """

    match: Sequence[bool]
    site_match: Sequence[bool]
    cosine: Tensor
    neighbours: Sequence[str]
    class_mates: Sequence[int]


@dataclass(frozen=True, slots=True)
class ChanceTest:
    """Matches that reconstructions would have which tell nothing but the class.

    Attributes:
        p: Probability of as many matches as were found, or more, at most.
        mean: Matches expected, at most.
        lower95: And `upper95`: hold at least the central 95 % of the number of matches.
    """

    p: float
    mean: float
    lower95: int
    upper95: int


def identify(
    gallery: Gallery,
    site: str,
    features: Tensor,
    truths: Sequence[int],
    k: int = 1,
    seen: Mapping[int, Mapping[int, float]] | None = None,
) -> Identified:
    """Look the reconstructions of one case up in the gallery.

    Args:
        gallery: With features.
        site: The attacked client.
        features: [P, D] of the reconstructions.
        truths: [P] places in the client's training list of the images they were assigned to.
        k: Neighbours, at least 1; all images where the gallery has fewer.
        seen: Reconstruction to `seen_cosines`, where the network saw its truth transformed.

    Raises:
        ValueError: k is below 1, or the gallery has no features.
    """
    if k < 1:
        raise ValueError(f"k-IIP looks at k neighbours, at least 1, not at {k}.")
    if gallery.features is None:
        raise ValueError(
            "The gallery has no features, so no neighbours: build it with an embedding network."
        )
    similarity = unit_length(features.cpu()) @ gallery.features.T
    for p, cosines in (seen or {}).items():
        for place, cosine in cosines.items():
            similarity[p, place] = max(float(similarity[p, place]), cosine)
    nearest = similarity.topk(min(k, len(gallery)), dim=1).indices.tolist()
    places = [gallery.training[site][t] for t in truths]
    members, found = set(gallery.training[site]), set()
    site_match = []
    for row in nearest:
        fresh = (members & set(row)) - found
        site_match.append(bool(fresh))
        found |= fresh
    labels = gallery.labels.tolist()
    count = Counter(labels)
    return Identified(
        match=[place in row for place, row in zip(places, nearest, strict=True)],
        site_match=site_match,
        cosine=similarity[torch.arange(len(places)), places],
        neighbours=[
            " ".join(str(n) if labels[n] == labels[place] else OTHER_CLASS for n in row)
            for place, row in zip(places, nearest, strict=True)
        ],
        class_mates=[count[labels[place]] for place in places],
    )


def seen_cosines(
    gallery: Gallery,
    embed: Embed,
    site: str,
    truth: int,
    image: Tensor,
    features: Tensor,
    spec: InputSpec,
) -> dict[int, float]:
    """Cosines of a reconstruction with gallery images as a network may have seen them.

    A truth that was flipped or cropped is looked for among images of which each may be flipped or
    cropped as suits it best: the truth, and those most like the reconstruction as it is and under
    flips and turns. To the others nothing is done, as they are the least like it.

    Args:
        gallery: With features.
        embed: The network behind them.
        site: The attacked client.
        truth: Place in its training list of the image that the reconstruction was assigned to.
        image: The reconstruction, [C, H, W].
        features: [D], its own.
        spec: Of the record's images.

    Returns:
        Place in the gallery to cosine.

    Raises:
        DataError: An image cannot be read.
    """
    if gallery.features is None:
        return {}
    versions = torch.stack([s.undone(image) for s in symmetries(*image.shape[-2:])])
    of_versions = unit_length(embed(versions).cpu()) @ gallery.features.T
    own = unit_length(features[None].cpu()) @ gallery.features.T
    n = min(RIVALS, len(gallery))
    chosen = {gallery.training[site][truth]}
    for likeness in (own[0], of_versions.amax(0)):
        chosen |= set(likeness.topk(n).indices.tolist())
    places = sorted(chosen)
    size, channels = spec.picture()
    images, _ = load_images(
        [gallery.items[place] for place in places],
        spatial_size=size,
        channels=channels,
    )
    seen = [_as_seen(listed, image) for listed in images]
    cosines = unit_length(embed(torch.stack(seen)).cpu()) @ unit_length(features[None].cpu()).T
    return dict(zip(places, cosines[:, 0].tolist(), strict=True))


def _as_seen(listed: Tensor, image: Tensor) -> Tensor:
    found = compare(listed, image).transformation
    return listed if found is None else found(listed[None])[0]


def chance_test(
    images: Sequence[tuple[Sequence[str], int]],
    matches: int,
    candidates: Sequence[int] | None = None,
) -> ChanceTest:
    """Permutation test of the number of exact matches, within classes.

    Under the null hypothesis a reconstruction shows the class and no more, so that any gallery
    image of the class could as well have been the truth. All reconstructions of one image (rounds,
    seeds) are permuted together: hundred runs that end in the same picture are one finding. Images
    are permuted independently of each other. The law of the sum is computed exactly.

    The truth of a reconstruction is assigned by similarity, out of the client's images. So a
    neighbour counts as a match if it is any of these ``candidates``: an upper bound, as the
    assignment has to pick it too. Without it, unrelated X-rays of a client with 40 images had p
    of 0.01 or less in 58 of 100 audits.

    Args:
        images: For each attacked image the neighbours of its reconstructions, as in
            `Identified.neighbours`, and its class mates.
        matches: What was found.
        candidates: Of each attacked image: how many of the class mates it was chosen from, the
            client's training images of the class. None: one, nothing was chosen.

    Raises:
        ValueError: More different neighbours than class mates: they are of different galleries.
    """
    chosen_from = [1] * len(images) if candidates is None else candidates
    law = _law_of_matches(images, chosen_from)
    upper_tail = law[::-1].cumsum()[::-1]
    fixed = _law_of_matches(images, [1] * len(images))
    return ChanceTest(
        p=float(min(1.0, upper_tail[matches])) if matches < len(law) else 0.0,
        mean=float(law @ np.arange(len(law))),
        lower95=int(np.searchsorted(fixed.cumsum(), 0.025)),
        upper95=int(np.searchsorted(law.cumsum(), 0.975 - 1e-12)),
    )


def _law_of_matches(
    images: Sequence[tuple[Sequence[str], int]], candidates: Sequence[int]
) -> NDArray[np.float64]:
    """Probability of 0, 1, … matches if each class mate is a candidate with equal chance."""
    law = np.ones(1)
    for (neighbours, class_mates), chosen_from in zip(images, candidates, strict=True):
        found = Counter(n for text in neighbours for n in text.split() if n != OTHER_CLASS)
        if len(found) > class_mates:
            raise ValueError(
                f"{len(found)} different neighbours of {class_mates} images of the class: these "
                "rows were measured with different galleries and cannot be counted together."
            )
        one = np.zeros(len(neighbours) + 1)
        left = 1.0
        for times in sorted(found.values(), reverse=True):  # of too much, what matches most often
            chance = min(left, chosen_from / class_mates)
            one[min(times, len(neighbours))] += chance
            left -= chance
        one[0] += left
        law = np.convolve(law, one)
    return law

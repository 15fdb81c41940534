"""Which listed image each reconstruction shows, and as what the network saw it.

Only what the network saw can have left a site. Where the listed images as they are do not explain a
reconstruction, the usual augmentations of them are searched
(`medleak.inversion.measures.registration`). A transformation is believed only if the reconstruction
is then more like the truth than every image that cannot have leaked, each of which went through
the very same search: unrelated chest X-rays at 64 px have 0.37 as they are and 0.57 at their best.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from medleak.inversion.measures import nulls
from medleak.inversion.measures.augmentation import Transformation
from medleak.inversion.measures.registration import WORTH, Match, Start, coarse, refine
from medleak.inversion.measures.similarity import ASR_THRESHOLD, Assignment, pairwise_ssim

CANDIDATES = 2
"""Listed images, most alike by the coarse search, that the fine one tries for a reconstruction."""

FAR = 0.15
"""A lead over the nearest non-member that no chance explains: of 24,000 pairs of unrelated chest
X-rays, skin and brain images at 64 px it was reached by neighbouring slices of one brain alone."""

Matches = Mapping[tuple[int, int], Match]
"""By (reconstruction, truth): what the fine search made of the few likeliest."""

Nulls = Mapping[str, float]
"""SSIM of a truth with images that cannot have leaked, by name; those that there are."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A truth as the network saw it.

    Attributes:
        transformation: Of the listed image.
        image: [C, H, W], transformed.
        ssim: With the reconstruction.
        nulls: Of the same truth, by the same search.
    """

    transformation: Transformation
    image: Tensor
    ssim: float
    nulls: Nulls


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Reconstructions and truths, one to one.

    Attributes:
        reconstruction: [P], in ascending order; ``truth`` [P].
        listed: [P] SSIM with the truth as it is listed.
        seen: By reconstruction, where the network saw the truth transformed.
        searched: Whether transformations were looked for.
    """

    reconstruction: Tensor
    truth: Tensor
    listed: Tensor
    seen: Mapping[int, Seen] = field(default_factory=dict)
    searched: bool = False

    @property
    def ssim(self) -> Tensor:
        """[P], with the truth as the network saw it."""
        seen = [self.seen.get(k) for k in self.reconstruction.tolist()]
        pairs = zip(seen, self.listed.tolist(), strict=True)
        found = [listed if s is None else s.ssim for s, listed in pairs]
        return torch.tensor(found, dtype=torch.float64)


def pair(
    images: Tensor,
    truths: Tensor,
    listed_nulls: Tensor,
    searched_nulls: Callable[[int], Nulls],
    *,
    stuck: bool = False,
    matches: Matches | None = None,
) -> Pairs:
    """Assign reconstructions to truths, as they are listed or as the network saw them.

    Args:
        images: [N, C, H, W] in [0, 1].
        truths: [M, C, H, W], all images that the client may have trained on.
        listed_nulls: [M], the best SSIM of each truth as it is with what cannot have leaked.
        searched_nulls: Place of a truth -> its nulls under the search; asked for only where a
            transformation leads over ``listed_nulls``, as it takes seconds.
        stuck: The attack knows by its own loss that it failed. What it left is believed to show a
            transformed truth only if it leads by `FAR`.
        matches: Of `search` with the same images and truths, where it was made before.

    Where there is no other client's image to compare with, a transformed truth is believed only if
    the reconstruction is like it by any standard (`ASR_THRESHOLD`).

    Returns:
        min(N, M) pairs; of volumes, as they are listed. Where no transformation is believed, they
        are those of `medleak.inversion.measures.similarity.assign`.

    Raises:
        ValueError: As `medleak.inversion.measures.similarity.ssim`.
    """
    listed = pairwise_ssim(images, truths).cpu()
    pairs = _assigned(listed)
    plain = listed[pairs.reconstruction, pairs.truth]
    shown = (plain >= ASR_THRESHOLD) & (plain > listed_nulls.cpu()[pairs.truth])
    if images.ndim != 4 or bool(shown.all()):  # transformations are of pictures, not of volumes
        return Pairs(pairs.reconstruction, pairs.truth, plain)
    shown_by = set(pairs.reconstruction[shown].tolist())
    rest = [k for k in range(len(images)) if k not in shown_by]
    known = {pair: match for pair, match in (matches or {}).items() if pair[0] in rest}
    left = sorted(set(rest) - {k for k, _ in known})
    found = known | _matches(images, truths, left)
    believed = _believed(found, listed, listed_nulls.tolist(), searched_nulls, truths, stuck)
    # Those are settled; the others are assigned as ever.
    others = listed.clone()
    for (k, t), _ in believed.items():
        others[k, :], others[:, t] = -2.0, -2.0
        others[k, t] = 2.0
    pairs = _assigned(others)
    return Pairs(
        pairs.reconstruction,
        pairs.truth,
        listed[pairs.reconstruction, pairs.truth],
        {k: seen for (k, _), seen in believed.items()},
        searched=True,
    )


def search(images: Tensor, truths: Tensor) -> Matches:
    """What takes `pair` longest, and needs no image of anybody else's, so that it can come first.

    Reconstructions [N, C, H, W] that are like a truth [M, C, H, W] as it is listed are left out.
    """
    if images.ndim != 4:
        return {}
    pairs = _assigned(pairwise_ssim(images, truths).cpu())
    alike = set(pairs.reconstruction[pairs.ssim >= ASR_THRESHOLD].tolist())
    return _matches(images, truths, [k for k in range(len(images)) if k not in alike])


def found_in(image: Tensor, truths: Tensor) -> tuple[int, Match]:
    """The place of the truth that ``image`` [C, H, W] shows best under augmentation, and how.

    For a benchmark, where it is known that one of ``truths`` [M, C, H, W] was seen: nothing is
    compared with nulls.
    """
    matches = _matches(image[None], truths, [0])
    (_, place), best = max(matches.items(), key=lambda found: found[1].ssim)
    return place, best


def most_alike(truth: Tensor, images: Tensor) -> float:
    """The best SSIM of ``truth`` [C, H, W] under augmentation with any of ``images`` [N, C, H, W].

    The fine search is made for the few likeliest, as for reconstructions.
    """
    starts = coarse(truth, images)
    likely = sorted(range(len(images)), key=lambda k: -_correlation(starts[k]))
    return max(refine(truth, images[k], starts[k]).ssim for k in likely[:CANDIDATES])


def _assigned(similarity: Tensor) -> Assignment:
    rows, columns = linear_sum_assignment(similarity.numpy(), maximize=True)
    reconstruction, truth = torch.as_tensor(rows), torch.as_tensor(columns)
    return Assignment(reconstruction, truth, similarity[reconstruction, truth])


def _matches(images: Tensor, truths: Tensor, which: list[int]) -> dict[tuple[int, int], Match]:
    """Of reconstructions ``which``, the fine search's result with the few likeliest truths."""
    if not which:
        return {}
    starts = [coarse(truth, images[which]) for truth in truths]
    found = {}
    for n, k in enumerate(which):
        likely = sorted(range(len(truths)), key=lambda t: -_correlation(starts[t][n]))
        for t in likely[:CANDIDATES]:
            found[k, t] = refine(truths[t], images[k], starts[t][n])
    return found


def _correlation(starts: list[Start]) -> float:
    return starts[0].correlation if starts else -1.0


def _believed(
    matches: Matches,
    listed: Tensor,
    listed_nulls: list[float],
    searched_nulls: Callable[[int], Nulls],
    truths: Tensor,
    stuck: bool,
) -> dict[tuple[int, int], Seen]:
    """The transformations that lead over all that cannot have leaked."""
    similarity = listed.clone()
    for (k, t), match in matches.items():
        # A transformation has to pay for being one.
        similarity[k, t] = max(float(listed[k, t]), match.ssim - WORTH)
    pairs = _assigned(similarity)
    found = {}
    for k, t in torch.stack([pairs.reconstruction, pairs.truth], 1).tolist():
        match = matches.get((k, t))
        if match is None or match.transformation is None:
            continue
        if match.ssim <= listed_nulls[t] + WORTH:  # under the search they are higher still
            continue
        seen = match.transformation(truths[t : t + 1].cpu())
        known = dict(searched_nulls(t))
        lead = match.ssim - max(known.values())
        if alone := "ssim_nonmember" not in known:
            known["ssim_coarse"] = float(nulls.ssim_of_coarse(seen, nulls.COARSE_CELLS_SEARCHED))
            lead = min(lead, match.ssim - known["ssim_coarse"])
        enough = match.ssim >= ASR_THRESHOLD if alone else lead > FAR or not stuck
        if lead > WORTH and enough:
            found[k, t] = Seen(match.transformation, seen[0], match.ssim, known)
    return found

"""Which images shared a local step: a search over swaps, by the attack's own loss."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from medleak.inversion.evidence import Evidence, Part

_SWEEPS = 2  # swaps a step at most, on average: each one costs a pass over all pairs


def regroup(evidence: Evidence, images: Tensor) -> Tensor:
    """Swap images between steps while that lowers the misfit of the update.

    The statistics of a batch and the centre of its patches depend on who was in it; a candidate
    that is roughly right tells by them where it belongs. Greedy: the best swap of all, again and
    again. Costs two forward passes of a batch for every pair of images in different steps.

    Args:
        evidence: Of the update.
        images: [N, C, H, W], in the order of ``evidence.steps``.

    Returns:
        The images in a new order; those of one batch stand together.
    """
    order = list(range(len(images)))
    places = [range(s.images.start, s.images.stop) for s in evidence.steps]
    parts = [evidence.part(k, images[list(p)]) for k, p in enumerate(places)]
    best = evidence.misfit(parts)
    for _ in range(_SWEEPS * len(places)):
        found = min(
            (
                _swapped(evidence, images, order, places, parts, pair)
                for pair in itertools.combinations(range(len(places)), 2)
            ),
            key=lambda candidate: candidate[0],
            default=None,
        )
        if found is None or found[0] >= best:
            break
        best, order, parts = found
    return images[order]


def _swapped(
    evidence: Evidence,
    images: Tensor,
    order: Sequence[int],
    places: Sequence[range],
    parts: Sequence[Part],
    pair: tuple[int, int],
) -> tuple[float, list[int], list[Part]]:
    """The best swap between two steps: (misfit, order, parts)."""
    a, b = pair
    best: tuple[float, list[int], list[Part]] | None = None
    for i, j in itertools.product(places[a], places[b]):
        swapped, changed = list(order), list(parts)
        swapped[i], swapped[j] = order[j], order[i]
        for k in pair:
            changed[k] = evidence.part(k, images[torch.tensor([swapped[p] for p in places[k]])])
        misfit = evidence.misfit(changed)
        if best is None or misfit < best[0]:
            best = misfit, swapped, changed
    assert best is not None  # a step has an image
    return best

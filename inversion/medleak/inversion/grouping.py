"""Which images shared a local step: a search over swaps, by the attack's own loss."""

import itertools

import torch
from torch import Tensor

from medleak.inversion.evidence import Evidence
from medleak.inversion.optimise import Meter

_TRIALS = 500  # Each costs two forward passes of a batch; eight images in two steps have 16 swaps.
_SHARE = 0.2  # of the seconds that are left


def regroup(evidence: Evidence, images: Tensor, meter: Meter) -> Tensor:
    """Swap images between steps while that lowers the misfit of the update.

    The statistics of a batch and the centre of its patches depend on who was in it; a candidate
    that is roughly right tells by them where it belongs. A swap that helps is kept at once; the
    search ends when none does, or when it has used up its trials or its share of the time.

    Args:
        evidence: Of the update.
        images: [N, C, H, W], in the order of ``evidence.steps``.
        meter: Knows the seconds that are left.

    Returns:
        The images in a new order; those of one batch stand together.
    """
    order = torch.arange(len(images))
    places = [torch.arange(s.images.start, s.images.stop) for s in evidence.steps]
    parts = [evidence.part(k, images[p]) for k, p in enumerate(places)]
    best, trials, deadline = evidence.misfit(parts), 0, meter.seconds + _SHARE * meter.left
    improved = True
    while improved:
        improved = False
        for a, b in itertools.combinations(range(len(places)), 2):
            for i, j in itertools.product(places[a].tolist(), places[b].tolist()):
                if trials >= _TRIALS or meter.seconds >= deadline:
                    return images[order]
                trials += 1
                swapped, changed = order.clone(), list(parts)
                swapped[[i, j]] = order[[j, i]]
                for k in (a, b):
                    changed[k] = evidence.part(k, images[swapped[places[k]]])
                misfit = evidence.misfit(changed)
                if misfit < best:
                    best, order, parts, improved = misfit, swapped, changed, True
    return images[order]

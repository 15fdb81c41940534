"""Which images shared a local step, and when: a search over swaps, by the attack's own loss."""

import itertools
from collections.abc import Iterable

import torch
from torch import Tensor

from medleak.inversion.descent.meter import Meter
from medleak.inversion.evidence.one_round import Evidence
from medleak.inversion.evidence.terms import misfit, part

_TRIALS = 500  # Each costs two forward passes of a batch; eight images in two steps have 16 swaps.
_SHARE = 0.2  # of the seconds that are left


def regroup(evidence: Evidence, images: Tensor, meter: Meter) -> list[int]:
    """The order of images in which, by swaps between steps, the update's misfit is lower.

    The statistics of a batch and the centre of its patches depend on who was in it; a candidate
    that is roughly right tells by them where it belongs. A swap that helps is kept at once; the
    search ends when none does, or when it has used up its trials or its share of the time. Where
    features told who shared a step, whole steps are swapped, as only their order is open.

    Args:
        evidence: Of the update.
        images: [N, C, H, W], in the order of ``evidence.steps``.
        meter: Knows the seconds that are left.

    Returns:
        Indices into ``images``; those of one batch stand together.
    """
    order = torch.arange(len(images))
    places = [torch.arange(s.images.start, s.images.stop) for s in evidence.steps]
    parts = [part(evidence, k, images[p]) for k, p in enumerate(places)]
    best, trials, deadline = misfit(evidence, parts), 0, meter.seconds + _SHARE * meter.left
    improved = True
    while improved:
        improved = False
        for a, b in itertools.combinations(range(len(places)), 2):
            for here, there in _swaps(places[a], places[b], whole=evidence.grouped):
                if trials >= _TRIALS or meter.seconds >= deadline:
                    break
                trials += 1
                swapped, changed = order.clone(), list(parts)
                swapped[here], swapped[there] = order[there], order[here]
                for k in (a, b):
                    changed[k] = part(evidence, k, images[swapped[places[k]]])
                found = misfit(evidence, changed)
                if found < best:
                    best, order, parts, improved = found, swapped, changed, True
    return order.tolist()


def _swaps(a: Tensor, b: Tensor, *, whole: bool) -> Iterable[tuple[Tensor, Tensor]]:
    """Pairs of places in two steps to swap: every image of one with every one of the other."""
    if whole:
        return [(a, b)] if len(a) == len(b) else []
    return itertools.product(a, b)

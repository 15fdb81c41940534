"""Contrast for the best attempt, where row spaces alone led to it."""

import torch
from torch import Tensor

from medleak.inversion.attacks.row_space.contrast import (
    Fitted,
    fit_contrast,
    guess_contrast,
    sees_contrast,
)
from medleak.inversion.attacks.row_space.recipes import first_visit
from medleak.inversion.attacks.row_space.stages import Matching
from medleak.inversion.attacks.row_space.visits import with_visits
from medleak.inversion.descent.meter import DivergedError, Meter
from medleak.inversion.descent.pyramid_descent import descend
from medleak.inversion.evidence.several_rounds import Rounds
from medleak.inversion.observation import Observation


def with_contrast(
    observation: Observation, rounds: Rounds, images: Tensor, meter: Meter, *, stuck: bool
) -> Tensor:
    """``images`` [N, C, ...], not clamped, as they are likely to have been; in [0, 1].

    Kept where the network sees contrast. Else fitted to the statistics that mix all visits of a
    batch, which then tell detail too, or guessed.

    Args:
        observation: The client.
        rounds: Whose spans led to the images, without norm statistics.
        images: The best found.
        meter: Of the attack.
        stuck: They are no reconstruction, and so have no contrast of their own.
    """
    level = sum(observation.mean) / len(observation.mean)
    probe, layer = next(iter(rounds.last.probes.values())), next(iter(rounds.spans))
    if not stuck and sees_contrast(probe, layer, images, level):
        return images.clamp(0, 1)
    once = len(rounds.steps) == 1 and not rounds.last.frozen
    fitted = fit_contrast(observation, images) if once else None
    if fitted is None:
        return guess_contrast(images, level)
    return fitted.images if stuck else _with_statistics(observation, rounds, fitted, meter)


def _with_statistics(
    observation: Observation, rounds: Rounds, fitted: Fitted, meter: Meter
) -> Tensor:
    """The images with what the statistics of all visits tell of them."""
    stage = first_visit(fitted.misfit)
    told = Matching(with_visits(observation, rounds, fitted.images, fitted.progress), stage)
    try:
        images, _ = descend(stage.descent, told.loss, fitted.images, meter)
    except DivergedError:
        return fitted.images
    with torch.no_grad():
        better = told.loss(images, 0.0) < told.loss(fitted.images, 0.0)
    return images.clamp(0, 1) if better else fitted.images

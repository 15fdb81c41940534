"""Tests of iDLG."""

from typing import Any

import pytest
import torch

from medleak.inversion.attacks import idlg
from medleak.inversion.attacks.idlg import IDLG
from medleak.inversion.client.single_step import single_step
from medleak.inversion.measures.similarity import ssim

pytestmark = pytest.mark.slow

SHORT: dict[str, Any] = {"iterations": 300, "attempts": 1}


def attack(module, settings, observation, prior=None, seed=0, **kwargs):
    generator = torch.Generator().manual_seed(seed)
    return module.run(settings, observation, prior, generator=generator, **kwargs)


def test_colour_is_recovered(observed, smooth_images):
    truth = smooth_images(channels=3, seed=5)
    observation = observed(truth, torch.tensor([1]), mean=(0.5, 0.4, 0.3), std=(0.3, 0.2, 0.2))
    found = attack(idlg, IDLG(iterations=400, attempts=1), observation)
    assert found.images.shape == (1, 3, 16, 16)
    assert float(ssim(truth, found.images)) > 0.9


def test_an_update_that_rounding_has_nearly_swallowed_still_leaks(observed, smooth_images):
    """Small learning rate, sure network: the weights' spacing is a tenth of the update."""
    truth = smooth_images(seed=3)
    observation = observed(truth, torch.tensor([0]), lr=1e-3, seed=4)
    step = single_step(observation)
    plain = float(step.distance("relative", truth.double(), torch.tensor([0])).detach())
    weighted = float(step.distance("weighted", truth.double(), torch.tensor([0])).detach())
    assert plain > 0.02
    assert weighted == pytest.approx(step.floor, rel=0.5)
    found, unweighted = (
        attack(idlg, IDLG(match=m, **SHORT), observation) for m in ("weighted", "relative")
    )
    assert not found.stuck
    assert unweighted.stuck
    assert float(ssim(truth, found.images)) > float(ssim(truth, unweighted.images)) + 0.01


def test_idlg_refuses_a_batch(observed, smooth_images):
    observation = observed(smooth_images(2), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"the step has 2.*Use dlg or cpl"):
        attack(idlg, IDLG(), observation)


def test_progress_is_told_and_a_budget_kept(observed, smooth_images):
    told = []
    observation = observed(smooth_images(), torch.tensor([0]))
    found = attack(
        idlg,
        IDLG(iterations=100_000, solved=1e-9, tolerance=1e-12, seconds=0.3),
        observation,
        on_progress=told.append,
    )
    assert found.ending in ("budget", "plateau")
    assert found.seconds < 5
    assert told[-1].iteration <= told[-1].total
    assert told[-1].loss == found.losses["gradient"]


def test_an_interrupted_attack_returns_the_best_so_far(observed, smooth_images):
    def interrupt(progress):
        if progress.iteration >= 60:
            raise KeyboardInterrupt

    truth = smooth_images(seed=1)
    found = attack(idlg, IDLG(), observed(truth, torch.tensor([1])), on_progress=interrupt)
    assert found.ending == "interrupted"
    assert float(ssim(truth, found.images)) > 0.8

"""Tests of DLG."""

import torch

from medleak.inversion.attacks import dlg
from medleak.inversion.attacks.dlg import DLG


def attack(module, settings, observation, prior=None, seed=0, **kwargs):
    generator = torch.Generator().manual_seed(seed)
    return module.run(settings, observation, prior, generator=generator, **kwargs)


def test_the_published_form_is_still_there(observed, smooth_images):
    truth = smooth_images(seed=1)
    published = DLG(
        iterations=100,
        attempts=1,
        match="squared",
        coordinates="pixels",
        line_search=False,
        start="normal",
    )
    found = attack(dlg, published, observed(truth, torch.tensor([1])))
    assert torch.isfinite(found.images).all()
    assert found.iterations > 50

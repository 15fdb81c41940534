"""Tests of medleak.inversion.malicious.view."""

import torch
from tests.inversion.malicious.batches import images, view


def test_the_mean_over_channels_leads_back_to_the_image():
    seen, pixels = view(), images(3, 1)
    assert seen.size == (32, 32)
    assert seen.shown(pixels).shape == (3, 3, 32, 32)
    assert torch.allclose(seen.images(seen.heard(pixels)), pixels, atol=1e-5)

"""Tests of the network that is trained on public images."""

import pytest
import torch

from medleak.custom.data.transforms import load_images, network_input
from medleak.inversion.reproduce.classifier import classifier
from medleak.inversion.reproduce.material import phantoms

pytestmark = pytest.mark.slow

LENET = "medleak.custom.small_networks.lenet"


def test_it_learns_its_public_images_and_is_the_same_again(tmp_path, monkeypatch):
    monkeypatch.setattr("medleak.inversion.reproduce.classifier.EPOCHS", 2)
    material = phantoms(tmp_path, "cxr", 1, 32)
    state = torch.random.get_rng_state()
    first, again = (classifier(material, LENET, 32) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state), "nobody else's numbers are used up"
    assert not first.training
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    images, labels = load_images(
        list(material.public[:32]), spatial_size=(32, 32), channels=material.channels
    )
    with torch.no_grad():
        logits = first(network_input(images, (0.0,) * 3, (1.0,) * 3))
    assert logits.shape == (len(labels), material.classes)
    assert torch.isfinite(logits).all()

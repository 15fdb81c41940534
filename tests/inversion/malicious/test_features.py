"""Tests of medleak.inversion.malicious.features."""

import torch
from tests.inversion.malicious.batches import images, view

from medleak.custom.small_networks import strided_cnn
from medleak.inversion.malicious.features import before_hidden, hidden_name, invert
from medleak.inversion.measures.similarity import ssim


def test_features_of_random_convolutions_lead_back_to_the_image():
    network, seen, pixels = strided_cnn(2, 32), view(), images(3, 2)
    layers = before_hidden(network)
    with torch.no_grad():
        features = layers(seen.shown(pixels))
    assert features.shape == (3, 64 * 8 * 8)
    assert hidden_name(network) == "5"
    found = invert(layers, features, seen)
    assert float(ssim(pixels, found).min()) > 0.95

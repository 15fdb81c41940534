"""Tests of the made-up chest X-rays."""

import numpy as np
import pytest

from medleak.custom.phantoms import listing, phantom

pytestmark = pytest.mark.slow

SIZE = 64


def chest_xray(name, spatial_size, seed=0):
    return phantom("cxr", name, spatial_size, seed).image


@pytest.fixture(scope="module")
def population():
    """450 phantoms [N, 64, 64] in [0, 1], their labels and items."""
    items = listing(450, seed=3)
    pixels = np.stack([chest_xray(item.image, SIZE, seed=3) for item in items])
    return pixels / 255, np.array([item.label for item in items]), items


def area_under_curve(score, positive):
    """Probability that a positive's score is above a negative's; a tie counts half."""
    difference = score[positive][:, None] - score[~positive]
    return np.mean(np.sign(difference)) / 2 + 0.5


def test_lungs_are_darker_than_what_lies_between_below_and_beside_them(population):
    mean = population[0].mean(0)
    lungs = (mean[24:34, 14:20].mean() + mean[24:34, 46:50].mean()) / 2
    assert mean[30:44, 30:36].mean() > lungs + 0.3  # mediastinum and heart
    assert mean[56:, 20:44].mean() > lungs + 0.3  # abdomen
    assert mean[2:8, 30:34].mean() > lungs  # neck
    assert mean[2:6, 44:52].mean() < lungs  # air above the shoulder


def test_the_heart_lies_to_the_right_of_the_image(population):
    mean = population[0].mean(0)
    assert mean[36:44, 38:43].mean() > mean[36:44, 21:26].mean() + 0.1


def test_the_label_is_burned_in_and_its_letters_resolve_at_224_px():
    image = chest_xray("normal/p00000_00.png", 224) / 255
    corners = [image[:24, 4:90], image[-24:, 4:90]]
    edges = [np.abs(np.diff(corner, axis=1)) > 0.5 for corner in corners]
    # A row of writing crosses from black to white and back some twenty times.
    assert max(edge.sum(1).max() for edge in edges) > 12


def test_the_mean_gray_does_not_tell_the_classes_apart(population):
    pixels, labels, _ = population
    for cue in (pixels.mean((1, 2)), pixels.std((1, 2)), pixels.max((1, 2))):
        assert 0.35 < area_under_curve(cue, labels == 1) < 0.65


def test_a_linear_classifier_on_patients_that_it_has_not_seen_is_above_chance(population):
    pixels, labels, items = population
    features = pixels.reshape(-1, 16, 4, 16, 4).mean((2, 4)).reshape(len(pixels), -1)
    train = np.array([int(item.patient[1:]) % 3 != 0 for item in items])
    centred = features - features[train].mean(0)
    x, y = centred[train], 2.0 * labels[train] - 1
    weights = np.linalg.solve(x.T @ x + 3 * np.eye(x.shape[1]), x.T @ y)
    assert area_under_curve(centred[~train] @ weights, labels[~train] == 1) > 0.7

"""Tests of medleak.filters.defences.perturbation."""

import numpy as np
import pytest

from medleak.filters.defences.perturbation import (
    GaussianPerturbation,
    LaplacePerturbation,
    scale_of,
)
from medleak.filters.noise import NoiseSource


@pytest.mark.parametrize(
    ("scale", "level", "lr", "expected"),
    [
        (0.5, None, 1.0, 0.5),
        (0.5, None, 0.01, 0.005),
        (None, 100, 1.0, 0.01),
        (None, 400, 0.1, 2.5e-4),
    ],
)
def test_a_level_is_one_over_the_scale_on_the_gradient(scale, level, lr, expected):
    # github.com/solidlabnetwork/Med-PFL, Defense/covid: Laplace(0, 1/gau_rate), "Noise Level 200".
    assert scale_of(scale, level, lr) == pytest.approx(expected, rel=1e-12)


def test_a_higher_level_is_less_noise(update, global_state):
    def spread(level):
        sent = LaplacePerturbation(level=level)(
            update, rng=NoiseSource.seeded(1), global_state=global_state
        )
        return (sent["fc.weight"] - update["fc.weight"]).std()

    assert spread(100) == pytest.approx(4 * spread(400), rel=1e-3)


@pytest.mark.parametrize("cls", [LaplacePerturbation, GaussianPerturbation])
@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "Give either scale or level"),
        ({"scale": 1, "level": 100}, "Give either scale or level"),
        ({"scale": 0}, "scale must be a finite number above 0"),
        ({"level": -100}, "level must be"),
        ({"level": float("nan")}, "level must be"),
        ({"scale": 1, "lr": 0}, "lr must be"),
        ({"scale": 1, "buffers": "all"}, "buffers must be one of"),
    ],
)
def test_settings_that_would_not_protect_are_refused(cls, args, message):
    with pytest.raises(ValueError, match=message):
        cls(**args)


def test_noise_is_added_to_every_weight_and_statistic(update, global_state):
    sent = GaussianPerturbation(scale=1e-3)(
        update, rng=NoiseSource.secure(), global_state=global_state
    )
    for name, value in update.items():
        if not name.endswith("num_batches_tracked"):
            assert (np.asarray(sent[name]) != value).mean() > 0.9, name

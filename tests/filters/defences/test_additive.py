"""Tests of medleak.filters.defences.additive: what mechanisms and perturbations have in common."""

import numpy as np
import pytest

from medleak.filters.defences.additive import ClippedMechanism, Perturbation, require_mechanism
from medleak.filters.defences.clipped_gaussian import ClippedGaussian
from medleak.filters.defences.clipped_laplace import ClippedLaplace
from medleak.filters.defences.perturbation import GaussianPerturbation, LaplacePerturbation
from medleak.filters.noise import NoiseSource


@pytest.mark.parametrize("kind", [ClippedGaussian, ClippedLaplace])
@pytest.mark.parametrize("buffers", ["drop", "noise"])
def test_a_mechanism_sends_no_counter(kind, buffers, update, global_state):
    assert issubclass(kind, ClippedMechanism)
    used = kind(max_grad_norm=1.0, noise_multiplier=2.0, buffers=buffers)
    sent = used(update, rng=NoiseSource.secure(), global_state=global_state)
    assert not [n for n in sent if n.endswith("num_batches_tracked")]
    assert ("bn1.running_mean" in sent) == (buffers == "noise")


@pytest.mark.parametrize("kind", [GaussianPerturbation, LaplacePerturbation])
def test_a_perturbation_has_one_scale_for_all_entries(kind):
    assert issubclass(kind, Perturbation)
    update = {"w": np.zeros(50_000), "v": np.full(50_000, 1e-3)}
    sent = kind(scale=0.5)(update, rng=NoiseSource.seeded(3))
    spreads = [np.std(np.asarray(sent[n]) - update[n]) for n in update]
    assert spreads[0] == pytest.approx(spreads[1], rel=0.03)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ((0, 1, "replace", "drop"), "max_grad_norm"),
        ((1, 1e-9, "replace", "drop"), "at least 1e-06"),
    ],
)
def test_a_mechanism_without_a_guarantee_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        require_mechanism(*wrong)

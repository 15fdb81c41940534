"""Tests of medleak.filters.privacy.dp_sgd."""

import pytest
import torch
from opacus.accountants.utils import get_noise_multiplier
from opacus.data_loader import DPDataLoader
from torch.utils.data import DataLoader, TensorDataset

from medleak.filters.privacy import accounting
from medleak.filters.privacy.dp_sgd import guarantee, noise_multiplier_for, sampling_plan


@pytest.mark.parametrize(("n", "batch"), [(1, 1), (8, 4), (10, 4), (32, 8), (512, 4), (4, 4)])
def test_the_plan_is_that_of_opacus_loader(n, batch):
    loader = DataLoader(TensorDataset(torch.zeros(n, 1)), batch_size=batch)
    opacus = DPDataLoader.from_data_loader(loader)
    plan = sampling_plan(n_images=n, batch_size=batch)
    assert plan.sample_rate == opacus.sample_rate
    assert plan.steps == len(opacus)
    assert plan.expected_batch_size == pytest.approx(n * opacus.sample_rate)


def test_epochs_multiply_the_steps():
    assert sampling_plan(n_images=32, batch_size=4, local_epochs=3).steps == 24


@pytest.mark.filterwarnings("ignore:Optimal order is the largest")  # Opacus, in its own search
def test_the_noise_is_that_of_opacus():
    plan = sampling_plan(n_images=512, batch_size=4)
    ours = noise_multiplier_for(plan, target_epsilon=3.0, target_delta=1e-4, rounds=20)
    opacus = get_noise_multiplier(
        target_epsilon=3.0,
        target_delta=1e-4,
        sample_rate=plan.sample_rate,
        steps=plan.steps * 20,
        accountant="rdp",
        epsilon_tolerance=1e-3,
    )
    assert ours == pytest.approx(opacus, rel=0.01)
    event = guarantee(plan, ours).event
    assert accounting.epsilon([event] * 20, 1e-4) <= 3.0


def test_one_image_is_a_gaussian_without_amplification():
    plan = sampling_plan(n_images=1, batch_size=1)
    found = guarantee(plan, 5.0)
    assert plan.sample_rate == 1
    assert accounting.epsilon([found.event], 1e-5) == pytest.approx(
        accounting.epsilon([accounting.gaussian(5.0)], 1e-5)
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"n_images": 0, "batch_size": 1}, "n_images"),
        ({"n_images": 4, "batch_size": 0}, "batch_size"),
        ({"n_images": 3, "batch_size": 4}, "larger than the site's 3 images"),
        ({"n_images": 3, "batch_size": 1, "local_epochs": 0}, "local_epochs"),
        ({"n_images": 3.5, "batch_size": 1}, "n_images"),
    ],
)
def test_a_site_that_cannot_follow_a_plan_is_refused(args, message):
    with pytest.raises(ValueError, match=message):
        sampling_plan(**args)

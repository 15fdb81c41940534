"""Tests of medleak.inversion.descent.restarts on problems with known minima."""

import pytest
import torch

from medleak.inversion.descent.restarts import LBFGSSettings, search

CPU = torch.device("cpu")
TARGET = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double()


def gray(attempt):
    return torch.full((1, 1, 8, 8), 0.5), [torch.zeros(3)]


def distance(images, others):
    miss = (images - TARGET).square().sum() + (others[0] - 2).square().sum()
    return (miss + 1e-24).sqrt()


@pytest.mark.parametrize("coordinates", ["pixels", "spectral"])
def test_finds_the_minimum_of_images_and_other_unknowns(coordinates):
    found = search(LBFGSSettings(coordinates=coordinates), distance, gray, device=CPU)
    torch.testing.assert_close(found.images, TARGET, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.others[0], torch.full((3,), 2.0).double(), atol=1e-4, rtol=0)
    assert found.attempts == 1
    result = found.reconstruction(torch.tensor([0]))
    assert not result.stuck
    assert result.iterations == len(result.history)


def test_the_best_attempt_is_kept_not_the_last():
    def worse_from_the_second_on(attempt):
        return gray(attempt)[0] + attempt, []

    def distance_to_the_start(images, others):
        return 1 + (images.mean() - 0.5).square() * 0 + images.detach().mean().abs()

    settings = LBFGSSettings(attempts=3, iterations=20, solved=0.1)
    found = search(settings, distance_to_the_start, worse_from_the_second_on, device=CPU)
    assert found.attempts == 3
    assert found.loss == pytest.approx(1.5)
    assert found.reconstruction(torch.tensor([0])).stuck


def test_nan_ends_an_attempt_and_the_next_one_goes_on():
    def nan_at_first(images, others):
        bad = images.detach().mean() < 0.1
        return distance(images, others) * (float("nan") if bad else 1.0)

    def starts(attempt):
        return (gray(0)[0] if attempt else torch.zeros(1, 1, 8, 8)), [torch.zeros(3)]

    found = search(LBFGSSettings(iterations=100), nan_at_first, starts, device=CPU)
    assert found.attempts == 2
    assert found.loss < 1e-3


@pytest.mark.parametrize(("floor", "attempts", "stuck"), [(0.0, 3, True), (0.02, 1, False)])
def test_at_the_floor_that_rounding_leaves_no_further_start_is_tried(floor, attempts, stuck):
    found = search(
        LBFGSSettings(iterations=20),
        lambda x, o: x.sum() * 0 + 0.02,
        lambda a: (gray(0)[0], []),
        device=CPU,
        floor=floor,
    )
    assert found.attempts == attempts
    assert found.reconstruction(torch.tensor([0])).stuck is stuck


def test_nothing_but_nan_returns_the_start_marked_as_stuck():
    settings = LBFGSSettings(iterations=20, attempts=2)
    found = search(
        settings, lambda x, o: x.sum() * float("nan"), lambda a: (gray(0)[0], []), device=CPU
    )
    result = found.reconstruction(torch.tensor([0]))
    assert result.stuck
    assert result.losses["gradient"] == float("inf")
    torch.testing.assert_close(result.images, gray(0)[0])

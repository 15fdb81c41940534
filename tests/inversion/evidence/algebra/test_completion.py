"""Gradients of a known rank come back from what a step of Adam leaves of them."""

import pytest
import torch
from torch import nn

from medleak.inversion.evidence.algebra.completion import completed, enough_known
from medleak.inversion.optimisers.first_step import Undone, undo
from medleak.inversion.optimisers.rule import Rule

RANK = 4


@pytest.fixture(scope="module")
def problem() -> tuple[Undone, torch.Tensor]:
    """(undone step of Adam, row space [RANK, 200]); a third of the entries are saturated."""
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(60, RANK, generator=generator)
    right = torch.randn(RANK, 200, generator=generator)
    right = right * torch.tensor([1.0, 0.5, 0.3, 0.1])[:, None]
    gradient = 4e-3 * left @ right
    weights = 0.02 * torch.randn(60, 200, generator=generator)
    parameter = nn.Parameter(weights.clone())
    parameter.grad = gradient
    torch.optim.Adam([parameter], lr=3e-4).step()
    found = undo(parameter.detach() - weights, weights, Rule(name="adam", lr=3e-4))
    return found, torch.linalg.qr(right.T).Q.T


def outside(basis, truth):
    rest = truth - (truth @ basis.T) @ basis
    return float(rest.square().sum() / truth.square().sum())


def test_the_row_space_comes_back_though_a_third_of_the_entries_are_bounds(problem):
    undone, truth = problem
    assert undone.saturated.double().mean() > 0.3
    assert enough_known(undone.saturated, RANK)
    raw = torch.linalg.svd(undone.gradient.float(), full_matrices=False).Vh[:RANK]
    found = completed(undone, RANK, iterations=25)
    assert outside(found.space.basis, truth) < 1e-3
    assert outside(raw, truth) > 0.03
    assert found.misfit < 2
    assert found.space.gap > 3


def test_the_noise_that_it_claims_is_of_the_size_of_its_error(problem):
    undone, truth = problem
    sizes = torch.tensor([1.0, 0.5, 0.3, 0.1])
    found = completed(undone, RANK, iterations=25)
    assert found.space.noise < 100 * outside(found.space.basis, truth)
    assert found.space.noise > outside(found.space.basis, sizes[:, None] * truth) / 100


def test_a_rank_too_small_shows_in_the_misfit(problem):
    undone, _ = problem
    assert completed(undone, RANK - 1).misfit > 5


def test_a_rank_too_large_shows_in_the_gap(problem):
    undone, _ = problem
    assert completed(undone, RANK + 3).space.gap < 3


def test_too_few_known_entries_are_no_start():
    saturated = torch.ones(60, 200, dtype=torch.bool)
    assert not enough_known(saturated, RANK)
    assert not enough_known(~saturated, 50)
    assert enough_known(~saturated, RANK)

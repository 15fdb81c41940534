"""Rows of which some entries are known are explained by the true patches alone."""

import torch

from medleak.inversion.evidence.algebra.partial_rows import partial_rows
from medleak.inversion.optimisers.first_step import undo
from medleak.inversion.optimisers.rule import Rule

RULE = Rule(name="adam", lr=1e-3)


def step(patches, rows=20, scale=1e-3):
    generator = torch.Generator().manual_seed(1)
    gradient = scale * torch.randn(rows, len(patches), generator=generator) @ patches
    weights = 0.02 * torch.randn(gradient.shape, generator=generator)
    parameter = torch.nn.Parameter(weights.clone())
    parameter.grad = gradient
    torch.optim.Adam([parameter], lr=RULE.lr).step()
    return undo(parameter.detach() - weights, weights, RULE)


def test_true_patches_explain_them_and_others_do_not():
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(10, 90, generator=generator)
    undone = step(patches)
    assert undone.saturated.any()
    found = partial_rows(undone, 10)
    assert found is not None
    truth = float(found.uncovered(patches[None]))
    assert truth < 2 * found.noise + 1e-4
    near = (patches + 0.1 * torch.randn(patches.shape, generator=generator)).requires_grad_()
    loss = found.uncovered(near[None])
    assert float(loss.detach()) > 2 * truth
    (slope,) = torch.autograd.grad(loss, near)
    direction = patches - near.detach()
    assert float((slope * direction).sum()) < 0


def test_rows_with_too_few_known_entries_are_left_out():
    patches = torch.randn(10, 90, generator=torch.Generator().manual_seed(0))
    assert partial_rows(step(patches, scale=10.0), 10) is None
    assert partial_rows(step(patches), 80) is None

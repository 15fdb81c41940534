"""Tests of trading time for memory: the same values and gradients, and no graph kept."""

import torch

from medleak.inversion.client.recompute import recomputed


def inner(x, y):
    """A function that differentiates itself, as a simulated training step does."""
    z = (x**3 * y).sum()
    (slope,) = torch.autograd.grad(z, x, create_graph=True)
    return slope, x + y


def test_values_and_gradients_are_those_of_the_function_itself():
    x, y = (torch.rand(4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    plain, kept = inner(x, y), recomputed(lambda *t: inner_of(*t), x, y)
    for a, b in zip(plain, kept, strict=True):
        torch.testing.assert_close(a, b)
    wanted = torch.autograd.grad(torch.stack([t.sum() for t in plain]).sum(), (x, y))
    found = torch.autograd.grad(torch.stack([t.sum() for t in kept]).sum(), (x, y))
    for a, b in zip(wanted, found, strict=True):
        torch.testing.assert_close(a, b)


def inner_of(x, y):
    """`inner`, which needs a graph even where none is recorded."""
    with torch.enable_grad():
        x = x if x.requires_grad else x.detach().requires_grad_()
        return inner(x, y)


def test_an_input_without_a_graph_gets_no_gradient_and_outputs_may_stay_unused():
    x = torch.rand(3, requires_grad=True)
    first, _ = recomputed(lambda a, b: (a * b, a + b), x, torch.full((3,), 2.0))
    first.sum().backward()
    torch.testing.assert_close(x.grad, torch.full((3,), 2.0))


def test_the_function_runs_again_in_the_backward_pass_and_not_before():
    calls = []
    x = torch.rand(2, requires_grad=True)
    (out,) = recomputed(lambda a: (calls.append(1), (a.square(),))[1], x)
    assert len(calls) == 1
    out.sum().backward()
    assert len(calls) == 2

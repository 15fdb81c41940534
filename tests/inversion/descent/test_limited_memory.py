"""Tests of medleak.inversion.descent.limited_memory against PyTorch's own L-BFGS."""

import pytest
import torch

from medleak.inversion.descent.limited_memory import LimitedMemory


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1].square()).square() + (1 - x[:-1]).square()).sum()


def with_gradient(function):
    def evaluate(point):
        point = point.clone().requires_grad_()
        loss = function(point)
        return loss.item(), torch.autograd.grad(loss, point)[0]

    return evaluate


def torchs_own(function, start, *, steps, history):
    point = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [point], max_iter=steps, max_eval=100 * steps, history_size=history,
        tolerance_grad=0, tolerance_change=0, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure():
        optimizer.zero_grad()
        loss = function(point)
        loss.backward()
        return loss

    optimizer.step(closure)
    return point.detach()


@pytest.mark.parametrize("history", [1, 3, 10])
@pytest.mark.parametrize("steps", [1, 2, 4, 12])
def test_it_takes_the_steps_of_torchs_own(steps, history):
    start = torch.linspace(-1, 2, 6, dtype=torch.float64)
    search = LimitedMemory(with_gradient(rosenbrock), start, history=history)
    for _ in range(steps):
        assert search.step()
    wanted = torchs_own(rosenbrock, start, steps=steps, history=history)
    assert torch.allclose(search.point, wanted, rtol=1e-6, atol=1e-8)
    assert search.loss == pytest.approx(rosenbrock(search.point).item())


def test_a_step_never_goes_up_and_the_minimum_is_found():
    search = LimitedMemory(with_gradient(rosenbrock), torch.zeros(6).double(), history=10)
    losses = [search.loss]
    while search.loss > 1e-12 and len(losses) < 100:
        assert search.step()
        losses.append(search.loss)
    assert losses == sorted(losses, reverse=True)
    assert torch.allclose(search.point, torch.ones(6).double(), atol=1e-4)


def test_at_a_minimum_nothing_moves():
    start = torch.ones(6)
    search = LimitedMemory(with_gradient(rosenbrock), start, history=3)
    assert not search.step()
    assert torch.equal(search.point, start)


def test_the_start_is_left_alone():
    start = torch.zeros(6)
    LimitedMemory(with_gradient(rosenbrock), start, history=3).step()
    assert torch.equal(start, torch.zeros(6))

"""Tests of pyramid_descent: both loops on objectives whose minimum is known."""

import math

import pytest
import torch

from medleak.inversion.descent.pyramid_descent import (
    Descent,
    DivergedError,
    Meter,
    QuasiNewton,
    descend,
)

START = torch.full((1, 1, 16, 16), 0.5)
LOOPS = [
    pytest.param(Descent(iterations=200, lr=0.05, levels=3, variation=(0.0, 0.0)), id="adam"),
    pytest.param(QuasiNewton(iterations=100, variation=0.0), id="lbfgs"),
]


def meter(seconds=None, progress=None):
    return Meter(torch.device("cpu"), total=200, seconds=seconds, progress=progress)


def target():
    coarse = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, size=16, mode="bicubic").clamp(0, 1)


def distance(images, done):
    return (images - target()).square().mean()


@pytest.mark.parametrize("loop", LOOPS)
def test_it_finds_the_minimum(loop):
    found, ending = descend(loop, distance, START, meter())
    assert ending == "finished"
    assert (found - target()).abs().max() < 0.05
    assert torch.equal(START, torch.full((1, 1, 16, 16), 0.5))


def test_lbfgs_needs_far_fewer_iterations_and_stops_where_nothing_is_gained():
    watch = meter()
    found, _ = descend(QuasiNewton(iterations=1000, variation=0.0), distance, START, watch)
    assert (found - target()).abs().max() < 1e-3
    assert len(watch.history) < 300


@pytest.mark.parametrize("loop", LOOPS)
def test_variation_smooths(loop):
    if isinstance(loop, QuasiNewton):
        smooth = QuasiNewton(iterations=100, variation=1.0)
    else:
        smooth = Descent(iterations=200, lr=0.05, levels=3, variation=(1.0, 1.0))
    rough, _ = descend(loop, distance, START, meter())
    flat, _ = descend(smooth, distance, START, meter())
    assert flat.std() < rough.std()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loss_that_is_not_finite_is_an_error(loop):
    with pytest.raises(DivergedError, match="nan"):
        descend(loop, lambda images, done: images.sum() * math.nan, START, meter())


@pytest.mark.parametrize("loop", LOOPS)
def test_the_budget_ends_it(loop):
    def slow(images, done):
        return distance(images, done) + 0 * torch.linalg.svdvals(torch.ones(200, 200)).sum()

    watch = meter(seconds=0.1)
    _, ending = descend(loop, slow, START, watch)
    assert ending == "budget"
    assert watch.seconds < 2


@pytest.mark.parametrize("loop", LOOPS)
def test_an_interrupt_keeps_the_images(loop):
    def interrupt(state):
        if state.iteration == 15:
            raise KeyboardInterrupt

    found, ending = descend(loop, distance, START, meter(progress=interrupt))
    assert ending == "interrupted"
    assert distance(found, 0) < distance(START, 0)


@pytest.mark.parametrize("loop", LOOPS)
def test_progress_shows_the_images_of_the_iteration(loop):
    seen = []
    descend(loop, distance, START, meter(progress=seen.append))
    assert [s.iteration for s in seen] == list(range(1, len(seen) + 1))
    assert torch.equal(seen[0].images, START)
    assert not seen[-1].images.requires_grad
    assert seen[-1].loss == pytest.approx(float(distance(seen[-1].images, 0)), rel=1e-3)


@pytest.mark.parametrize("kind", [QuasiNewton, Descent])
def test_no_iterations_are_an_error(kind):
    more = {} if kind is QuasiNewton else {"lr": 0.1, "levels": 1, "variation": (0.0, 0.0)}
    with pytest.raises(ValueError, match="iterations"):
        kind(iterations=0, **more)

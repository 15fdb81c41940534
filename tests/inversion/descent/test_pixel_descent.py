"""Tests of medleak.inversion.descent.pixel_descent on problems with known minima."""

from typing import Any

import pytest
import torch

from medleak.inversion.descent.meter import DivergedError, Meter
from medleak.inversion.descent.pixel_descent import (
    Attempt,
    PixelSettings,
    best_attempt,
    descend_pixels,
)

CPU = torch.device("cpu")
TARGET = torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(0))
START = torch.full((2, 1, 6, 6), 0.5)


def meter(seconds=None, progress=None):
    return Meter(CPU, total=100, seconds=seconds, progress=progress)


def distance(images, others, done):
    return {"distance": (images - TARGET).square().mean(), "other": (others[0] - 3).square().sum()}


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("decay", ["cosine", "steps"])
def test_finds_the_minimum_of_images_and_other_unknowns(decay, signed):
    settings = PixelSettings(iterations=300, lr=0.1, decay=decay)
    found = descend_pixels(settings, distance, (START, [torch.zeros(1)]), meter(), signed=signed)
    torch.testing.assert_close(found.images, TARGET, atol=0.01, rtol=0)
    torch.testing.assert_close(found.others[0], torch.tensor([3.0]), atol=0.1, rtol=0)
    assert found.ending == "finished"


def test_images_stay_in_the_unit_range_and_the_start_as_it_was():
    before = START.clone()
    seen = []

    def outwards(images, others, done):
        seen.append((float(images.detach().min()), float(images.detach().max())))
        return {"out": -(images - 0.4).square().sum()}

    found = descend_pixels(PixelSettings(iterations=30, lr=0.2), outwards, (START, []), meter())
    assert all(low >= 0 and high <= 1 for low, high in seen)
    assert float(found.images.max()) == 1
    assert torch.equal(START, before)


def test_a_loss_that_is_not_finite_raises():
    with pytest.raises(DivergedError, match="nan at iteration 0"):
        descend_pixels(
            PixelSettings(), lambda x, o, d: {"x": x.sum() * float("nan")}, (START, []), meter()
        )


def test_a_short_budget_shrinks_the_schedule_and_is_said():
    progress = []
    settings = PixelSettings(iterations=10**7)
    found = descend_pixels(
        settings,
        lambda x, o, d: {"x": (x * (progress.append(d) or 1)).sum()},
        (START, []),
        meter(seconds=0.05),
    )
    assert found.ending == "budget"
    assert progress[-1] > 0.5


def test_an_interrupt_keeps_the_images_so_far():
    def stop(progress):
        if progress.iteration == 50:
            raise KeyboardInterrupt

    settings = PixelSettings(iterations=300, lr=0.1)
    found = descend_pixels(settings, distance, (START, [torch.zeros(1)]), meter(progress=stop))
    assert found.ending == "interrupted"
    assert float((found.images - TARGET).abs().mean()) < float((START - TARGET).abs().mean())


def run_attempts(scores, settings):
    """`best_attempt` over attempts of the given scores; None diverges."""

    def once(number):
        if scores[number] is None:
            raise DivergedError
        return Attempt(torch.full((1, 1, 2, 2), number / 10), (), {"d": scores[number]}, "finished")

    return best_attempt(
        settings,
        once,
        distance=lambda a: a.terms["d"],
        labels=lambda a: torch.tensor([1]),
        fallback=torch.zeros(1, 1, 2, 2),
        meter=meter(),
    )


@pytest.mark.parametrize(
    ("scores", "attempts", "value", "stuck"),
    [
        ([0.01, 0.0], 1, 0.0, False),  # solved: no second attempt
        ([0.5, 0.01, 0.0], 2, 0.1, False),
        ([0.5, 0.3, 0.4], 3, 0.1, True),  # none solved: the best
        ([None, 0.01, 0.0], 2, 0.1, False),  # diverged: counted, and restarted
    ],
)
def test_restarts_follow_the_attacks_own_distance(scores, attempts, value, stuck):
    found = run_attempts(scores, PixelSettings(attempts=3, solved=0.1))
    assert found.attempts == attempts
    assert found.stuck is stuck
    torch.testing.assert_close(found.images, torch.full((1, 1, 2, 2), value))


def test_if_every_attempt_diverges_the_start_comes_back_as_stuck():
    found = run_attempts([None, None], PixelSettings(attempts=2))
    assert found.stuck
    assert found.labels is None
    assert torch.equal(found.images, torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"attempts": 0}, "attempts must be at least 1"),
        ({"lr": 0.0}, r"lr must be positive, got 0\.0"),
        ({"solved": float("nan")}, "solved must be positive"),
        ({"decay": "linear"}, "decay must be cosine or steps"),
        ({"seconds": 0.0}, "seconds must be positive or None"),
    ],
)
def test_settings_that_cannot_run_are_refused(settings: dict[str, Any], message):
    with pytest.raises(ValueError, match=message):
        PixelSettings(**settings)

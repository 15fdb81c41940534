"""Figures that were attacked and held: the noise, its grid, and what ε costs.

Random ones fail by chance about once in 10^5 runs.
"""

import math
import multiprocessing
import threading

import mpmath
import numpy as np
import pytest
from dp_accounting import NeighboringRelation
from dp_accounting.pld import PLDAccountant
from opacus.accountants import RDPAccountant
from scipy import stats
from tests.security.effort import cases

from medleak.filters.noise import NoiseSource, add_gaussian, add_laplace, grid_spacing
from medleak.filters.privacy import accounting

N = cases(300_000, 2_000_000)


@pytest.mark.parametrize(("add", "law"), [(add_gaussian, "norm"), (add_laplace, "laplace")])
def test_noise_has_its_law_and_no_memory(add, law):
    noise = np.asarray(add(np.full(N, 0.37), 1.0, NoiseSource.secure())) - 0.37
    assert stats.kstest(noise, law).pvalue > 1e-6
    flat = (noise - noise.mean()) / noise.std()
    for lag in (1, 2, 65_535, 65_536, 65_537, N // 2):
        assert abs((flat[:-lag] * flat[lag:]).mean()) * math.sqrt(N - lag) < 6


@pytest.mark.parametrize("scale", [1e-280, 0.3, 1e280])
def test_noise_has_its_law_at_any_scale(scale):
    noise = np.asarray(add_gaussian(np.zeros(100_000), scale, NoiseSource.secure()))
    assert stats.kstest(noise / scale, "norm").pvalue > 1e-6


@pytest.mark.parametrize("value", [0.0, 1 / 3, 1e-9, -0.7])
@pytest.mark.parametrize("add", [add_gaussian, add_laplace])
def test_the_last_bits_tell_nothing_of_the_value(add, value):
    """Mironov 2012: all results lie on one grid, and every remainder on it is as likely."""
    steps = np.asarray(add(np.full(N, value), 1.0, NoiseSource.secure())) / grid_spacing(1.0)
    assert (steps == np.rint(steps)).all()
    counts = np.unique(np.mod(steps, 64), return_counts=True)[1]
    assert len(counts) == 64
    assert stats.chisquare(counts).pvalue > 1e-7


def test_there_are_no_gaps_around_the_value():
    grid = grid_spacing(1.0)
    noise = np.asarray(add_gaussian(np.full(N, 1 / 3), 1.0, NoiseSource.secure()))
    steps = np.rint(noise / grid - np.trunc((1 / 3) / grid)).astype(np.int64)
    near = steps[np.abs(steps) < 64 * 2**14]
    counts = np.bincount((near + 64 * 2**14) // 2**14, minlength=128)
    assert counts.all()
    assert stats.chisquare(counts).pvalue > 1e-7


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_what_leaves_is_a_function_of_the_value_on_the_grid(dtype):
    noised = add_gaussian(np.full(10_000, 0.05, dtype), 0.1, NoiseSource.seeded(5))
    alone = np.asarray(add_gaussian(np.zeros(10_000), 0.1, NoiseSource.seeded(5)))
    grid = grid_spacing(0.1)
    on_grid = np.trunc(np.float64(dtype(0.05)) / grid) * grid
    np.testing.assert_array_equal(noised, (alone + on_grid).astype(dtype))


def _draw(_: int) -> bytes:
    return np.asarray(add_gaussian(np.zeros(50), 1.0, NoiseSource.secure())).tobytes()


def test_neither_threads_nor_forks_draw_the_same_noise():
    drawn: list[bytes] = []
    threads = [threading.Thread(target=lambda: drawn.append(_draw(0))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        drawn += pool.map(_draw, range(16), chunksize=1)
    assert len(set(drawn)) == 32


def analytic(mu: float, delta: float) -> float:
    """ε of a Gaussian mechanism of sensitivity over noise ``mu``: Balle & Wang 2018, Theorem 8."""
    mpmath.mp.dps = 40
    low, high = mpmath.mpf(0), mpmath.mpf(5000)
    for _ in range(200):
        middle = (low + high) / 2
        leak = mpmath.ncdf(mu / 2 - middle / mu)
        leak -= mpmath.e**middle * mpmath.ncdf(-mu / 2 - middle / mu)
        low, high = (middle, high) if leak > delta else (low, middle)
    return float(high)


@pytest.mark.parametrize(
    ("z", "rounds", "delta"), [(20, 30, 1e-5), (1, 1, 1e-5), (8, 100, 1e-6), (50, 10_000, 1e-7)]
)
def test_gaussian_releases_cost_what_theory_says(z, rounds, delta):
    ours = accounting.epsilon([accounting.gaussian(z / 2)] * rounds, delta)
    mu = float(mpmath.sqrt(rounds) / (mpmath.mpf(z) / 2))
    assert ours == pytest.approx(analytic(mu, delta), rel=1e-8)


# Exact ε of Laplace releases from below, the smaller of sum and Rényi from above.
@pytest.mark.parametrize(
    ("z", "rounds", "low", "high"),
    [(20, 1, 0.09998, 0.1001), (20, 30, 2.0627, 2.3), (20, 300, 8.158, 8.9), (2, 5, 4.9996, 5.001)],
)
def test_laplace_releases_cost_little_more_than_they_must(z, rounds, low, high):
    event = {"event": "Laplace", "noise_multiplier": z / 2}
    assert low <= accounting.epsilon([event] * rounds, 1e-5) <= high


@pytest.mark.filterwarnings("ignore:Optimal order is the:UserWarning")
@pytest.mark.parametrize(
    ("rate", "noise", "steps", "delta"),
    [(0.5, 1.1, 20, 1e-5), (0.125, 1.0, 80, 1e-5), (0.25, 0.7, 12, 1e-5), (1 / 64, 0.8, 640, 1e-6)],
)
def test_dp_sgd_costs_at_least_the_loss_distribution_and_no_more_than_opacus(
    rate, noise, steps, delta
):
    event = accounting.dp_sgd(noise_multiplier=noise, sample_rate=rate, steps=steps).event
    ours = accounting.epsilon([event], delta)
    opacus = RDPAccountant()
    opacus.history = [(noise, rate, steps)]
    exact = PLDAccountant(NeighboringRelation.ADD_OR_REMOVE_ONE)
    exact.compose(accounting.to_dp_event(event))
    assert exact.get_epsilon(delta) * (1 - 1e-6) <= ours <= opacus.get_epsilon(delta) * 1.01


@pytest.mark.parametrize(
    "event",
    [
        {"event": "Gaussian", "noise_multiplier": math.nan},
        {"event": "Gaussian", "noise_multiplier": -1.0},
        {"event": "Laplace", "noise_multiplier": 0},
        {"event": "SelfComposed", "count": 0, "inner": accounting.gaussian(1.0)},
        {"event": "SelfComposed", "count": 1e300, "inner": accounting.gaussian(1.0)},
        {"event": "PoissonSampled", "sampling_probability": True, "inner": accounting.gaussian(1)},
    ],
)
def test_an_event_that_no_mechanism_makes_has_no_epsilon(event):
    with pytest.raises(ValueError, match=r"must be"):
        accounting.epsilon([event], 1e-5)

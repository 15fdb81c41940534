"""Tests of medleak.filters.noise."""

import numpy as np
import pytest
from scipy import stats

from medleak.filters import noise
from medleak.filters.noise import (
    NoiseSource,
    add_gaussian,
    add_laplace,
    grid_spacing,
    standard_laplace,
    standard_normal,
)
from medleak.filters.update import UpdateError


def test_the_stream_is_aes_256_in_counter_mode():
    # NIST CAVP, AESVS: AES-256 of the zero block under the zero key.
    words = NoiseSource(bytes(32)).words(2)
    assert words.tobytes().hex() == "dc95c078a2408989ad48a21492842087"


def test_secure_sources_never_repeat():
    assert not np.array_equal(NoiseSource.secure().words(4), NoiseSource.secure().words(4))


def test_seeded_sources_repeat_and_differ_by_context():
    def first(*args: str | int) -> bytes:
        return NoiseSource.seeded(7, *args).words(4).tobytes()

    assert first("site-1", 3) == first("site-1", 3)
    assert len({first("site-1", 3), first("site-1", 4), first("site-2", 3), first()}) == 4


@pytest.mark.parametrize("seed", [True, 1.5, "7"])
def test_a_seed_that_is_no_whole_number_is_refused(seed):
    with pytest.raises(ValueError, match="seed must be a whole number"):
        NoiseSource.seeded(seed)


@pytest.mark.parametrize(
    ("sampler", "law"), [(standard_normal, "norm"), (standard_laplace, "laplace")]
)
def test_samples_follow_the_law(sampler, law):
    x = sampler(NoiseSource.seeded(1, law), 400_001)
    assert x.size == 400_001
    assert stats.kstest(x, law).pvalue > 0.01
    assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) < 0.01


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_type_shape_and_dtype_are_kept(dtype):
    source = NoiseSource.secure()
    for value in (np.zeros((3, 4, 5), dtype), np.array(1.0, dtype), dtype(1.0)):
        noised = add_gaussian(value, 0.1, source)
        assert type(noised) is type(value)
        assert noised.dtype == dtype
        assert noised.shape == value.shape


@pytest.mark.parametrize("add", [add_gaussian, add_laplace])
def test_value_and_noise_meet_on_one_grid(add):
    value = np.random.default_rng(0).normal(size=1000)
    noised = add(value, 0.3, NoiseSource.secure())
    steps = noised / grid_spacing(0.3)
    np.testing.assert_array_equal(steps, np.rint(steps))


def test_the_grid_moves_a_value_towards_zero_by_less_than_one_step():
    value = np.random.default_rng(0).normal(size=1000)
    alone = add_gaussian(np.zeros(1000), 0.3, NoiseSource.seeded(1))
    on_grid = add_gaussian(value, 0.3, NoiseSource.seeded(1)) - alone
    assert (np.abs(on_grid) <= np.abs(value)).all()
    assert np.abs(on_grid - value).max() < grid_spacing(0.3)


@pytest.mark.parametrize(("scale", "spacing"), [(1.0, 2.0**-24), (1.9, 2.0**-24), (0.5, 2.0**-25)])
def test_grid_spacing_is_a_power_of_two_below_the_scale(scale, spacing):
    assert grid_spacing(scale) == spacing


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), 5e-324])
def test_a_scale_that_hides_nothing_is_refused(scale):
    with pytest.raises(ValueError, match="Noise needs a positive finite scale"):
        add_gaussian(np.zeros(3), scale, NoiseSource.secure())


def test_noise_that_overflows_the_dtype_is_refused():
    with pytest.raises(ValueError, match="noise overflows float16"):
        add_gaussian(np.zeros(1000, np.float16), 1e5, NoiseSource.secure())


def test_a_transposed_array_keeps_the_place_of_its_entries():
    value = np.arange(6.0).reshape(2, 3).T * 1e6
    noised = np.asarray(add_gaussian(value, 1e-3, NoiseSource.secure()))
    np.testing.assert_allclose(noised, value, atol=0.1)


# Values so large for their dtype that the noise is below the distance of neighbours.
SWALLOWED = [
    (np.float16, 0.5, 2e-4),
    (np.float16, 40.0, 1e-3),
    (np.float16, 0.0, 1e-8),
    (np.float32, 2e3, 2e-5),
    (np.float32, 1e30, 1.0),
    (np.float64, 1e17, 1.0),
]


@pytest.mark.parametrize("add", [add_gaussian, add_laplace])
@pytest.mark.parametrize(("dtype", "value", "scale"), SWALLOWED)
def test_noise_that_rounding_would_take_away_is_refused_by_name(add, dtype, value, scale):
    with pytest.raises(UpdateError, match=r"bn\.running_var is too large for the noise"):
        add(np.full(64, value, dtype), scale, NoiseSource.secure(), name="bn.running_var")


@pytest.mark.parametrize("add", [add_gaussian, add_laplace])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_noise_that_passes_leaves_no_more_entries_alone_than_chance(add, dtype):
    value = np.random.default_rng(0).normal(size=20_000).astype(dtype)
    noised = np.asarray(add(value, 0.2, NoiseSource.secure()))
    assert np.mean(noised == value) < 0.01


def test_noise_that_was_not_drawn_is_noticed(monkeypatch):
    monkeypatch.setattr(noise, "standard_normal", lambda source, count: np.zeros(count))
    with pytest.raises(UpdateError, match="64 of 64 entries of w are the same"):
        add_gaussian(np.ones(64), 1.0, NoiseSource.secure(), name="w")

"""Tests of medleak.filters.defences.percentile_gaussian."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from medleak.filters.defences.percentile_gaussian import PercentileGaussian, magnitude_percentile
from medleak.filters.noise import NoiseSource
from medleak.filters.update import UpdateError


@given(
    st.lists(
        arrays(np.float32, st.integers(1, 30), elements=st.floats(-9, 9, width=32)), min_size=1
    ),
    st.floats(0.1, 100),
)
def test_percentile_agrees_with_numpy_over_non_zero_entries(values, percentile):
    flat = np.abs(np.concatenate(values))
    flat = flat[flat > 0]
    expected = np.percentile(flat, percentile) if flat.size else 0.0
    assert magnitude_percentile(values, percentile) == pytest.approx(expected, rel=1e-5)


def test_one_sigma_for_the_whole_update_as_published(update, global_state):
    noised = PercentileGaussian(sigma0=10)(
        update, rng=NoiseSource.seeded(1), global_state=global_state
    )
    entries = [v.ravel() for n, v in update.items() if not n.endswith("tracked")]
    sigma = 10 * np.percentile(np.abs(np.concatenate(entries)), 95)
    for name in ("fc.weight", "conv.weight", "layer1.bn2.running_mean"):
        noise = (noised[name].astype(float) - update[name]).ravel()
        assert stats.kstest(noise / sigma, "norm").pvalue > 0.01, name
    fc = noised["fc.weight"].astype(float) - update["fc.weight"]
    assert fc.std() == pytest.approx(sigma, rel=0.02)


def test_each_group_has_its_own_sigma(update, global_state):
    big = {n: np.tile(v, 100) if "running_mean" in n else v for n, v in update.items()}
    state = {n: np.tile(v, 100) if "running_mean" in n else v for n, v in global_state.items()}
    noised = PercentileGaussian(sigma0=1, scope="group")(
        big, rng=NoiseSource.seeded(1), global_state=state
    )
    for group in (
        ["fc.weight", "conv.weight", "norm.weight", "temperature"],
        ["bn1.running_mean", "layer1.bn2.running_mean"],
    ):
        before = np.concatenate([big[n].ravel() for n in group]).astype(float)
        after = np.concatenate([noised[n].ravel() for n in group])
        assert (after - before).std() == pytest.approx(np.percentile(abs(before), 95), rel=0.02)


def test_a_tensor_of_zeros_is_noised_like_the_whole_update(update, global_state):
    update["fc.weight"] = np.zeros_like(update["fc.weight"])
    for scope in ("tensor", "group"):
        noised = PercentileGaussian(sigma0=1, scope=scope, buffers="drop")(
            update, rng=NoiseSource.seeded(1), global_state=global_state
        )
        assert noised["fc.weight"].std() == pytest.approx(1.96e-4, rel=0.03)


def test_running_variances_stay_positive_after_the_server_adds_a_mean(update, global_state):
    defence = PercentileGaussian(sigma0=1000)
    sites = [defence(update, rng=NoiseSource.secure(), global_state=global_state) for _ in range(9)]
    for name in ("bn1.running_var", "layer1.bn2.running_var"):
        mean = np.mean([s[name] for s in sites], axis=0, dtype=np.float32)
        assert (global_state[name] + mean > 0).all()
        assert min((global_state[name] + s[name]).min() for s in sites) > 0


def test_noising_a_variance_without_the_global_model_is_refused(update):
    with pytest.raises(UpdateError, match="cannot be noised without the global model"):
        PercentileGaussian(sigma0=1)(update, rng=NoiseSource.secure())


@pytest.mark.parametrize(
    ("buffers", "kept", "same"),
    [("pass", True, True), ("drop", False, False), ("noise", True, False)],
)
def test_buffers_follow_the_policy(update, global_state, buffers, kept, same):
    noised = PercentileGaussian(sigma0=1, buffers=buffers)(
        update, rng=NoiseSource.secure(), global_state=global_state
    )
    assert ("bn1.running_mean" in noised) == kept
    assert ("bn1.num_batches_tracked" in noised) == kept
    if kept:
        equal = np.array_equal(noised["bn1.running_mean"], update["bn1.running_mean"])
        assert equal == same
        assert noised["bn1.num_batches_tracked"] == update["bn1.num_batches_tracked"]
    assert not np.array_equal(noised["bn1.weight"], update["bn1.weight"])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"sigma0": -1}, "sigma0 must be a finite number above 0, got -1"),
        ({"sigma0": 0}, "would send the bare update"),
        ({"sigma0": float("nan")}, "sigma0 must be a finite number above 0, got nan"),
        ({"sigma0": float("inf")}, "sigma0"),
        ({"sigma0": "10"}, "sigma0"),
        ({"sigma0": True}, "sigma0"),
        ({"sigma0": 1, "percentile": 101}, r"percentile must be in \(0, 100\], got 101"),
        ({"sigma0": 1, "percentile": 0}, "percentile"),
        ({"sigma0": 1, "percentile": float("nan")}, "percentile"),
        ({"sigma0": 1, "scope": "layer"}, "scope must be one of update, group, tensor"),
        ({"sigma0": 1, "buffers": "keep"}, "buffers must be one of noise, drop, pass"),
    ],
)
def test_settings_that_would_not_protect_are_refused(args, message):
    with pytest.raises(ValueError, match=message):
        PercentileGaussian(**args)

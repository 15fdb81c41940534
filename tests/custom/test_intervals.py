"""Tests of medleak.custom.intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from scipy.stats import bootstrap as scipy_bootstrap

from medleak.custom.intervals import bootstrap, bootstrap_of, mean_interval, wilson

values = np.random.default_rng(1).normal(0.5, 0.2, 40)


def bounds(values, clusters, **kwargs):
    lower, upper = bootstrap(np.asarray(values, dtype=float)[:, None], clusters, **kwargs)
    return float(lower[0]), float(upper[0])


def test_without_clusters_it_is_scipys_percentile_bootstrap():
    reference = scipy_bootstrap(
        (values,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    found = bounds(values, range(40), resamples=20000)
    assert found == pytest.approx((reference.low, reference.high), abs=0.004)


def test_the_interval_of_a_mean_covers_it_about_19_times_in_20():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(300):
        lower, upper = bounds(rng.normal(1.0, 1.0, 40), range(40))
        inside += lower <= 1.0 <= upper
    assert 0.90 <= inside / 300 <= 0.98


@pytest.mark.parametrize("patients", [2, 3, 5, 8, 12])
def test_the_interval_of_few_patients_covers_as_often_as_it_says(patients):
    rng = np.random.default_rng(patients)
    clusters = np.repeat(np.arange(patients), 3)  # three images each, alike within a patient
    inside = 0
    for _ in range(400):
        found = rng.normal(1.0, 1.0, patients)[clusters] + rng.normal(0, 0.3, len(clusters))
        lower, upper = mean_interval(found[:, None], list(clusters))
        inside += lower[0] <= 1.0 <= upper[0]
    assert 0.91 <= inside / 400 <= 0.98


def test_the_widened_interval_of_many_is_the_bootstraps():
    many = np.random.default_rng(2).normal(0.5, 0.2, 400)
    lower, upper = mean_interval(many[:, None], range(400))
    assert (lower[0], upper[0]) == pytest.approx(bounds(many, range(400)), abs=0.0005)


def test_each_figure_is_widened_by_its_own_patients():
    both = np.stack([values, np.where(np.arange(40) < 37, np.nan, values)], 1)
    lower, upper = mean_interval(both, range(40))
    alone = mean_interval(values[37:, None], range(3))
    ratio = (upper[1] - lower[1]) / (alone[1] - alone[0])
    assert ratio == pytest.approx(1, abs=0.15)  # other resamples
    assert np.isnan(mean_interval([[1.0], [2.0]], ["a", "a"])).all()


def test_runs_of_one_patient_count_once():
    once = bounds(values[:10], range(10))
    tenfold = bounds(np.repeat(values[:10], 10), np.repeat(range(10), 10))
    assert tenfold == pytest.approx(once)
    ignored = bounds(np.repeat(values[:10], 10), range(100))
    assert ignored[1] - ignored[0] < 0.6 * (once[1] - once[0])


def test_patients_of_many_images_weigh_by_their_images():
    lower, upper = bounds([1, 1, 1, 0], ["a", "a", "a", "b"])
    assert (lower, upper) == (0.0, 1.0)
    lower, upper = bounds([1, 1, 1, 0] * 50, [f"{k // 4}{k % 4 == 3}" for k in range(200)])
    assert 0.6 < lower < 0.75 < upper < 0.9


def test_one_cluster_has_no_interval_however_many_rows_it_has():
    assert np.isnan(bounds([0.1, 0.2, 0.3], ["a", "a", "a"])).all()
    assert np.isnan(bounds([0.1], ["a"])).all()


def test_undefined_values_are_left_out_and_other_figures_keep_theirs():
    both = np.stack([values, np.where(np.arange(40) < 5, np.nan, values)], 1)
    both = np.concatenate([both, np.full((40, 1), np.nan)], axis=1)
    both[0, 2] = 1.0
    lower, upper = bootstrap(both, range(40))
    # Not to the last bit: BLAS adds up three columns in another order than one on some machines.
    assert (lower[0], upper[0]) == pytest.approx(bounds(values, range(40)), rel=1e-14)
    assert lower[1] < values[5:].mean() < upper[1]
    assert np.isnan(lower[2])


def test_the_same_rows_give_the_same_interval():
    assert bounds(values, range(40)) == bounds(values, range(40))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 500), st.data())
def test_wilson_is_scipys(n, data):
    k = data.draw(st.integers(0, n))
    reference = binomtest(k, n).proportion_ci(method="wilson")
    assert wilson(k / n, n) == pytest.approx((reference.low, reference.high), abs=1e-9)


def test_wilson_of_eight_in_eight_still_doubts():
    assert wilson(1.0, 8) == pytest.approx((0.6756, 1.0), abs=1e-4)


@pytest.mark.parametrize(("share", "n"), [(1.1, 3), (-0.1, 3), (0.5, 0)])
def test_what_is_no_share_is_refused(share, n):
    with pytest.raises(ValueError, match="A share of"):
        wilson(share, n)


# Wilson 1927; limits by hand from (p + z2/2n +- z sqrt(pq/n + z2/4n2)) / (1 + z2/n), z = 1.959964.
@pytest.mark.parametrize(
    ("hits", "n", "lower", "upper"),
    [(8, 10, 0.490162, 0.943318), (0, 10, 0.0, 0.277533), (63, 63, 0.942529, 1.0)],
)
def test_the_interval_of_a_proportion_is_wilsons(hits, n, lower, upper):
    assert wilson(hits / n, n) == pytest.approx((lower, upper), abs=1e-5)


def test_a_resample_takes_patients_whole():
    seen = []

    def statistic(index):
        seen.append(sorted(index))
        return {"n": float(len(index))}

    bootstrap_of(statistic, ["a", "a", "b"])
    assert {tuple(i) for i in seen} == {(0, 0, 1, 1), (0, 1, 2), (2, 2)}


def test_resamples_without_an_answer_do_not_count():
    answers = iter([float("nan"), 1.0] * 500)
    bounds = bootstrap_of(lambda _: {"auc": next(answers)}, range(5))
    assert bounds["auc"] == (1.0, 1.0)


def test_what_has_no_answer_in_any_resample_may_be_anything():
    assert bootstrap_of(lambda _: {"auc": float("nan")}, range(5)) == {"auc": (0.0, 1.0)}


def test_any_statistic_of_a_mean_has_the_interval_of_the_mean():
    found = bootstrap_of(lambda index: {"mean": float(values[index].mean())}, range(40))
    assert found["mean"] == pytest.approx(bounds(values, range(40)), abs=0.01)

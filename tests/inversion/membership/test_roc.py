import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medleak.inversion.membership.roc import auc, separation, tpr_at


def test_auc_is_that_of_scikit_learn_ties_included():
    rng = np.random.default_rng(0)
    inside, outside = (
        rng.integers(1, 10, 40).astype(np.float64),
        rng.integers(0, 9, 70).astype(np.float64),
    )
    truth = np.r_[np.ones(40), np.zeros(70)]
    assert auc(inside, outside) == pytest.approx(roc_auc_score(truth, np.r_[inside, outside]))


def test_no_more_others_than_the_rate_are_above_the_threshold():
    outside = np.arange(100.0)
    assert tpr_at(np.array([97.5, 98.5, 99.5, 100.0]), outside, 0.01) == 0.75
    assert tpr_at(np.array([98.5, 99.5]), outside, 0.001) == 0.5
    assert tpr_at(np.array([5.0, 5.0]), np.full(10, 5.0), 0.01) == 0.0


def test_chance_is_inside_the_interval_and_an_interval_that_is_not_one_is_widened():
    rng = np.random.default_rng(1)
    member = np.arange(120) < 60
    chance = separation(rng.normal(size=120), member, [str(k) for k in range(120)])
    assert chance.auc.lower95 < 0.5 < chance.auc.upper95
    perfect = separation(member.astype(np.float64), member, [str(k) for k in range(120)])
    assert perfect.auc.value == perfect.tpr["tpr_1"].value == 1
    assert 0.9 < perfect.auc.lower95 < 1
    assert not perfect.resolves("tpr_01")


def test_films_of_a_patient_count_as_one():
    rng = np.random.default_rng(2)
    member, scores = np.arange(40) < 20, rng.normal(size=40) + (np.arange(40) < 20)
    alone = separation(scores, member, list(range(40)))
    many = separation(
        np.repeat(scores, 10), np.repeat(member, 10), list(np.repeat(np.arange(40), 10))
    )
    assert many.patients == 40
    assert many.auc.upper95 - many.auc.lower95 == pytest.approx(
        alone.auc.upper95 - alone.auc.lower95, abs=0.02
    )


def test_patients_of_both_groups_and_of_the_smaller_one_are_counted():
    member = np.array([True, True, True, False, False])
    found = separation(np.arange(5.0), member, list("aabbc"))
    assert (found.fewest, found.in_both, found.patients) == (2, 1, 3)


def test_what_is_no_number_is_the_worst_for_the_claim():
    member = np.array([True, True, False, False])
    found = separation(np.array([np.nan, 2.0, 1.0, np.nan]), member, list("abcd"))
    assert found.auc.value == pytest.approx(0.25)


def test_one_group_alone_is_refused():
    with pytest.raises(ValueError, match="needs both"):
        separation(np.zeros(3), np.ones(3, dtype=bool), list("abc"))


def test_a_curve_has_the_rates_that_are_resolved_and_rises():
    rng = np.random.default_rng(3)
    member, scores = np.arange(150) < 50, rng.normal(size=150) + (np.arange(150) < 50)
    told = separation(scores, member, list(range(150)))
    assert list(told.curve) == [0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
    values = [figure.value for figure in told.curve.values()]
    assert values == sorted(values)
    assert told.curve[0.01] == told.tpr["tpr_1"]
    assert all(f.lower95 <= f.value <= f.upper95 for f in told.curve.values())

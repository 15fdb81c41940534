"""Tests of the made-up updates, and of how far what left is from them."""

import numpy as np
import pytest

from medleak.custom.networks import resnet18 as real_resnet18
from medleak.filters.doctor.canary import Canary, compare, resnet18, small


def two(canary: Canary, change):
    rng = np.random.default_rng(0)
    return [{n: change(np.array(v), rng) for n, v in canary.update.items()} for _ in range(2)]


def test_the_large_one_has_the_names_and_shapes_of_the_network_itself():
    state = {n: tuple(t.shape) for n, t in real_resnet18(num_classes=2).state_dict().items()}
    found = resnet18()
    assert {n: np.shape(v) for n, v in found.state.items()} == state
    assert found.update.keys() == found.state.keys()


@pytest.mark.parametrize("statistics", [True, False])
def test_statistics_are_there_where_they_are_asked_for(statistics):
    names = small(statistics=statistics).update
    assert any("running_mean" in n for n in names) == statistics


def test_what_leaves_bare_is_told_from_what_was_noised():
    canary = small()
    first, second = two(canary, lambda v, _: v)
    bare = compare(canary.update, first, second)["weights"]
    assert bare.repeats
    assert bare.changed == pytest.approx(0, abs=1e-6)
    assert bare.equal > 0.99
    assert bare.exact
    first, second = two(canary, lambda v, rng: v + rng.standard_normal(v.shape))
    noised = compare(canary.update, first, second)["weights"]
    assert not noised.repeats
    assert noised.changed > 1
    assert noised.equal < 0.01
    assert not noised.exact


def test_a_multiple_of_the_update_is_the_update():
    canary = small()
    first, second = two(canary, lambda v, _: 0.25 * v)
    assert compare(canary.update, first, second)["weights"].changed == pytest.approx(0, abs=1e-6)


def test_what_cannot_be_compared_is_an_error_that_names_it():
    canary = small()
    first, second = two(canary, lambda v, _: v)
    with pytest.raises(ValueError, match=r"fc\.bias left with NaN or inf"):
        compare(canary.update, first | {"fc.bias": np.full(3, np.nan)}, second)
    with pytest.raises(ValueError, match=r"fc\.bias left with shape \(2,\)"):
        compare(canary.update, first | {"fc.bias": np.zeros(2)}, second)

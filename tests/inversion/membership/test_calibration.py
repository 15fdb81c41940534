import numpy as np
import pytest
import torch

from medleak.inversion.membership.calibration import (
    joined,
    p_values,
    patient_p_values,
    recognised,
)


def test_p_is_the_share_of_nulls_at_least_as_high_itself_counted():
    found = p_values(np.array([0.0, 2.5, 9.0]), np.array([1.0, 2.0, 3.0, 4.0]), list("abcd"))
    assert found.tolist() == [1.0, 0.6, 0.2]


def test_a_patient_of_many_nulls_counts_once_and_by_the_highest():
    found = p_values(np.array([2.5]), np.array([1.0, 2.0, 3.0, 4.0]), list("aabb"))
    assert found.tolist() == [pytest.approx(2 / 3)]


def test_what_is_no_number_recognises_nobody():
    assert p_values(np.array([np.nan]), np.array([1.0]), ["a"]).tolist() == [1.0]
    assert p_values(np.array([9.0]), np.array([np.nan]), ["a"]).tolist() == [1.0]


def test_p_values_of_non_members_are_at_most_as_small_as_they_say():
    rng = np.random.default_rng(0)
    small = [
        float(p_values(rng.normal(size=1), rng.normal(size=39), list(range(39)))[0]) <= 0.05
        for _ in range(4000)
    ]
    assert 0.035 < np.mean(small) < 0.062  # binomial, four standard deviations


def test_a_patient_is_one_test_over_all_his_images():
    found = patient_p_values(np.array([0.01, 0.4, 0.9]), ["a", "a", "b"])
    assert found == {"a": 0.02, "b": 0.9}


def test_recognised_is_benjamini_and_hochberg():
    assert recognised([0.001, 0.008, 0.039, 0.041, 0.9], 0.05) == 2
    assert recognised([0.012, 0.02, 0.028, 0.035, 0.05], 0.05) == 5  # the last decides
    assert recognised([], 0.05) == recognised([0.9], 0.05) == 0


def test_parts_are_joined_in_units_of_the_nulls_and_a_dead_part_is_left_out():
    null = {"a": torch.tensor([0.0, 2.0]), "dead": torch.zeros(2)}
    found, nulls = joined({"a": torch.tensor([1.0, 3.0]), "dead": torch.tensor([5.0, 5.0])}, null)
    spread = 2**0.5
    assert found.tolist() == pytest.approx([0, 2 / spread])
    assert nulls.tolist() == pytest.approx([-1 / spread, 1 / spread])


def test_a_source_of_many_parts_counts_no_more_than_one_of_few():
    """Ten parts that are noise beside one that tells: as sources they count half each."""
    generator = torch.Generator().manual_seed(0)
    tells = torch.cat([torch.full((5,), 9.0), torch.randn(20, generator=generator)])
    noise = {f"b/{k}": torch.randn(25, generator=generator) for k in range(10)}
    parts = {"a/one": tells} | noise
    one, null = joined({k: v[:5] for k, v in parts.items()}, {k: v[5:] for k, v in parts.items()})
    assert one.min() > null.max()
    plain = {k.replace("/", "."): v for k, v in parts.items()}  # all of one source
    same, _ = joined({k: v[:5] for k, v in plain.items()}, {k: v[5:] for k, v in plain.items()})
    assert same.mean() < one.mean() / 3


def test_a_single_source_is_the_mean_of_its_parts():
    parts = {"a/x": torch.arange(6.0), "a/y": torch.arange(6.0).flip(0) ** 2}
    plain = {k[2:]: v for k, v in parts.items()}
    for of in (parts, plain):
        values, _ = joined({k: v[:2] for k, v in of.items()}, {k: v[2:] for k, v in of.items()})
        z = [(v - v[2:].mean()) / v[2:].std() for v in map(torch.Tensor.double, of.values())]
        np.testing.assert_allclose(values, ((z[0] + z[1]) / 2)[:2].numpy())

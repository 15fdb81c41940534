"""Tests of unmixing: maps as after a ReLU come back from their mixtures."""

import numpy as np
import pytest

from medleak.inversion.evidence.algebra.unmixing import unmixed


def sparse(n, size=600, seed=0, shift=0.0):
    maps = np.maximum(np.random.default_rng(seed).normal(shift, 1, (n, size)), 0)
    return maps / np.linalg.norm(maps, axis=1, keepdims=True)


def mixed(maps, seed=1):
    """Orthonormal rows of the same span, turned at random."""
    turn = np.random.default_rng(seed).normal(size=(len(maps), len(maps)))
    return np.linalg.qr((turn @ maps).T).Q.T.astype(np.float32)


def cosines(found, maps):
    return np.abs(found @ maps.T).max(1), set(np.abs(found @ maps.T).argmax(1).tolist())


@pytest.mark.parametrize("n", [2, 5, 16])
@pytest.mark.parametrize("seed", range(3))
def test_maps_come_back(n, seed):
    maps = sparse(n, size=1500, seed=seed)
    found = unmixed(mixed(maps, seed))
    assert found is not None
    best, which = cosines(found, maps)
    assert which == set(range(n))
    assert best.min() > 0.9999


def test_maps_come_back_although_no_value_belongs_to_one_alone():
    maps = sparse(8, size=1500)
    alone = (maps > 0).sum(0) == 1
    maps = maps[:, ~alone]
    maps /= np.linalg.norm(maps, axis=1, keepdims=True)
    found = unmixed(mixed(maps))
    assert found is not None
    assert cosines(found, maps)[0].min() > 0.9999


def test_little_noise_does_little():
    maps = sparse(5)
    noise = 1e-3 * np.random.default_rng(3).normal(size=maps.shape)  # a fiftieth of a value
    found = unmixed(mixed(maps + noise))
    assert found is not None
    assert cosines(found, maps)[0].min() > 0.998


def test_maps_without_zeros_do_not_come_back():
    assert unmixed(mixed(np.abs(sparse(4, shift=9.0)))) is None


def test_maps_with_both_signs_do_not_come_back():
    assert unmixed(mixed(np.random.default_rng(0).normal(size=(4, 600)))) is None

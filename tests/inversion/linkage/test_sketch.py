import numpy as np
import pytest

from medleak.inversion.linkage.sketch import BINS, features, sketch


def test_inner_products_survive_and_depend_on_no_order_of_updates():
    rng = np.random.default_rng(0)
    first, noise = rng.normal(size=(2, 200, 300))
    second = 0.8 * first + 0.6 * noise
    products = []
    for name in map(str, range(40)):
        a, b = (sketch({name: x})[name] for x in (first, second))
        assert a.shape == (BINS,)
        products.append(a @ b / np.sqrt((a @ a) * (b @ b)))
    assert np.mean(products) == pytest.approx(0.8, abs=0.05)
    assert np.array_equal(sketch({"w": first})["w"], sketch({"w": first.copy()})["w"])


def test_counters_say_nothing():
    update = {"bn.num_batches_tracked": np.array(3), "step": np.array([1, 2]), "w": np.ones(4)}
    assert list(sketch(update)) == ["w"]


def test_what_a_round_has_in_common_and_how_large_a_tensor_is_do_not_count():
    rng = np.random.default_rng(1)
    own = [{"a": rng.normal(size=9), "b": 1e-6 * rng.normal(size=9)} for _ in range(4)]
    common = {"a": 100 * rng.normal(size=9), "b": rng.normal(size=9)}
    bare = features([sketch(u) for u in own])
    moved = features([sketch({k: v + common[k] for k, v in u.items()}) for u in own])
    assert moved == pytest.approx(bare, abs=1e-6)
    halves = np.square(bare.reshape(4, 2, BINS)).sum((0, 2))
    assert halves == pytest.approx([4, 4])


def test_updates_that_are_all_alike_have_no_feature():
    assert features([sketch({"w": np.ones(5)})] * 3).shape == (3, 0)

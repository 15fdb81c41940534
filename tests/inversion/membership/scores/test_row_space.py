import numpy as np
import pytest
import torch
from tests.inversion.membership.scores.told import told

from medleak.inversion.membership.layers import PatchLayer
from medleak.inversion.membership.networks import network_at
from medleak.inversion.membership.scores.row_space import (
    Whitening,
    _bases,
    rounding_of,
    row_basis,
    score,
)


def test_members_of_one_step_are_told_from_others(observed, resnet_spec, smooth_images):
    images = smooth_images(46)
    update = observed(images[:6], torch.arange(6) % 2, resnet_spec)
    found = score(update, images[:26], None, images[26:])
    assert len(found) == 4
    assert all(((v >= 0) & (v <= 1 + 1e-5)).all() for v in found.values())
    assert told(found, 6) == 1.0


def test_members_of_several_steps_of_momentum_are_told(observed, resnet_spec, smooth_images):
    images = smooth_images(48)
    update = observed(
        images[:8], torch.arange(8) % 2, resnet_spec, batch_size=4, momentum=0.9, lr=0.01
    )
    assert told(score(update, images[:28], None, images[28:]), 8) > 0.95


def test_a_client_that_had_neither_tells_nothing(observed, resnet_spec, smooth_images):
    images = smooth_images(66)
    update = observed(images[60:], torch.arange(6) % 2, resnet_spec)
    assert 0.3 < told(score(update, images[:40], None, images[40:60]), 20) < 0.7


def test_an_update_without_rows_is_refused(observed, lenet_spec, smooth_images):
    images = smooth_images(4)
    update = observed(
        images[:2], torch.tensor([0, 1]), lenet_spec, change=lambda name, value: value * 0
    )
    with pytest.raises(ValueError, match="examines nothing"):
        score(update, images, None, images)


@pytest.mark.parametrize("noise", [1.0, 30.0, 1e3, 1e12])
def test_noise_beyond_the_weights_leaves_scores_that_are_numbers(
    observed, resnet_spec, smooth_images, noise
):
    images = smooth_images(40)
    generator = torch.Generator().manual_seed(0)
    update = observed(
        images[:6],
        torch.arange(6) % 2,
        resnet_spec,
        batch_size=3,
        change=lambda _, value: noise * torch.randn(value.shape, generator=generator),
    )
    halfway = network_at(update, 0.5)(update.normalise(images[:2]))
    # Finite or not, squares of such features are none: the model as it was sent is taken.
    assert noise < 1e12 or not torch.isfinite(halfway).all()
    found = score(update, images[:20], None, images[20:])
    assert all(bool(torch.isfinite(value).all()) for value in found.values())


def test_the_basis_spans_the_rows_and_no_rounding():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(3, 40, generator=generator)
    update = torch.randn(16, 3, generator=generator) @ rows
    basis = row_basis(update.view(16, 10, 2, 2), 0.0)
    assert basis.shape == (40, 3)
    assert torch.allclose(rows @ basis @ basis.T, rows, atol=1e-4)
    assert torch.allclose(basis.T @ basis, torch.eye(3), atol=1e-5)


def test_a_rounding_is_known_by_the_weights_it_happens_to():
    generator = torch.Generator().manual_seed(0)
    exact = 0.1 * torch.randn(200, 300, generator=generator, dtype=torch.float64)
    error = (exact.float().double() - exact).view(200, 3, 10, 10)
    largest = float(torch.linalg.svdvals(error.flatten(1))[0])
    found = rounding_of(exact.float().view(200, 3, 10, 10))
    assert found == pytest.approx(largest, rel=0.1)


@pytest.mark.parametrize(
    ("rounding", "kept"),
    [(1e-9, 4), (1e-3, 3), (1e9, 3)],  # known to be small; as large as it; of which nobody knows
)
def test_a_weak_direction_counts_where_it_is_more_than_rounding(rounding, kept):
    generator = torch.Generator().manual_seed(0)
    rows = torch.linalg.qr(torch.randn(40, 4, generator=generator)).Q.T
    sizes = torch.tensor([1.0, 0.8, 0.5, 1e-4])
    columns = torch.linalg.qr(torch.randn(16, 4, generator=generator)).Q
    assert row_basis((columns * sizes) @ rows, rounding).shape == (40, kept)


def test_whitening_is_the_inverse_root_of_second_moments_with_a_ridge():
    generator = torch.Generator().manual_seed(0)
    background = torch.randn(50, 8, generator=generator) * torch.arange(1, 9)
    moments = (background.T @ background / 50).double().numpy()
    values, vectors = np.linalg.eigh(moments)
    ridge = 0.03 * values.mean()
    wanted = vectors @ np.diag((ridge / (values + ridge)) ** 0.5) @ vectors.T
    found = Whitening(background)(torch.eye(8))
    assert np.allclose(found.numpy(), wanted, atol=1e-4)


def test_a_background_that_is_all_the_same_whitens_nothing():
    x = torch.eye(4)
    assert torch.allclose(Whitening(torch.zeros(5, 4))(x), x)


def test_layers_count_by_the_directions_that_rounding_left_and_of_equals_the_later():
    generator = torch.Generator().manual_seed(0)

    def layer(name, positions):
        return PatchLayer(name=name, out_features=8, patch_size=20, positions=positions)

    layers = [layer(name, 1) for name in "abcdef"] + [layer("early", 2)]
    # b's update stands in three directions above what rounding adds, the others' in all eight.
    update = {f"{p.name}.weight": torch.randn(8, 20, generator=generator) for p in layers}
    few = torch.randn(8, 3, generator=generator) @ torch.randn(3, 20, generator=generator)
    update["b.weight"] = few + 1e-7 * update["b.weight"]
    update["f.weight"] = torch.zeros(8, 20)
    weights = {name: torch.ones(8, 20) for name in update}
    found = _bases(layers, update, weights)
    assert list(found) == ["e", "d", "c", "a"]
    left = _bases([p for p in layers if p.name in ("b", "early", "f")], update, weights)
    assert {name: basis.shape[1] for name, basis in left.items()} == {"early": 8, "b": 3}

"""Tests of row spaces: the rank facts that the attack stands on."""

import pytest
import torch
from torch import nn

from medleak.inversion.evidence.algebra.row_spaces import (
    centre,
    outside_share,
    row_space,
    uncovered_share,
    weighted_rows,
)


def conv_update(n=1, normed=True, channels=(6, 40), size=5, seed=0):
    """Input [n, C, 5, 5] and weight gradient of a 3x3 convolution, with or without batch norm."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    conv = nn.Conv2d(channels[0], channels[1], 3, padding=1, bias=False)
    norm = nn.BatchNorm2d(channels[1]) if normed else nn.Identity()
    x = torch.randn(n, channels[0], size, size, generator=generator)
    out = norm(conv(x))
    loss = (out.tanh() * torch.randn(out.shape, generator=generator)).sum()
    return x, torch.autograd.grad(loss, conv.weight)[0]


def patches(x):
    return nn.functional.unfold(x, 3, padding=1).transpose(1, 2)


@pytest.mark.parametrize("n", [1, 2])
def test_before_a_batch_norm_the_rank_is_positions_minus_one(n):
    x, gradient = conv_update(n, channels=(6, 60))
    assert torch.linalg.matrix_rank(gradient.flatten(1).double(), rtol=3e-4) == 25 * n - 1
    basis = row_space(gradient, 25 * n - 1)
    assert basis.gap > 100
    assert basis.noise < 1e-6
    assert outside_share(centre(patches(x)), basis.basis).item() == pytest.approx(0, abs=1e-5)


def test_without_a_norm_the_rank_is_positions_and_patches_are_not_centred():
    x, gradient = conv_update(1, normed=False)
    assert torch.linalg.matrix_rank(gradient.flatten(1).double(), rtol=3e-4) == 25
    basis = row_space(gradient, 25).basis
    assert outside_share(patches(x), basis).item() == pytest.approx(0, abs=1e-5)


def test_another_image_lies_outside():
    x, gradient = conv_update(1)
    other, _ = conv_update(1, seed=1)
    assert outside_share(centre(patches(other)), row_space(gradient, 24).basis).item() > 0.3
    assert outside_share(centre(patches(x)), row_space(gradient, 24).basis).item() < 1e-5


def test_updates_of_several_steps_add_up_their_spaces():
    (a, first), (b, second) = (
        conv_update(1, channels=(6, 60)),
        conv_update(1, channels=(6, 60), seed=1),
    )
    basis = row_space(first + second, 48).basis
    for x in (a, b):
        assert outside_share(centre(patches(x)), basis).item() < 1e-5


def test_centring_per_image_fits_whatever_images_shared_the_step():
    x, gradient = conv_update(2, channels=(6, 60))
    basis = row_space(gradient, 49).basis
    assert outside_share(centre(patches(x), per_image=True), basis).item() < 1e-5


def test_the_share_does_not_see_contrast():
    x, gradient = conv_update(1, seed=2)
    other = torch.randn(x.shape, generator=torch.Generator().manual_seed(9))
    basis = row_space(gradient, 24).basis
    share = outside_share(centre(patches(other)), basis)
    torch.testing.assert_close(share, outside_share(centre(patches(0.1 * other)), basis))


def test_the_noise_estimate_follows_what_noise_does_to_the_true_patches():
    x, gradient = conv_update(1, channels=(16, 60))
    generator = torch.Generator().manual_seed(1)
    for scale in (0.003, 0.03):
        noisy = gradient + scale * gradient.std() * torch.randn(gradient.shape, generator=generator)
        basis = row_space(noisy, 24)
        real = outside_share(centre(patches(x)), basis.basis).item()
        assert basis.noise == pytest.approx(real, rel=1.0)


@pytest.mark.parametrize("rank", [0, 40, 54])
def test_a_rank_that_leaves_nothing_outside_is_refused(rank):
    with pytest.raises(ValueError, match=f"rank is {rank}"):
        row_space(conv_update()[1], rank)


@pytest.mark.parametrize("update", [torch.zeros(4, 5), torch.full((4, 5), float("nan"))])
def test_an_update_without_information_is_refused(update):
    with pytest.raises(ValueError, match="zero or holds NaN"):
        row_space(update, 2)


def test_more_patches_than_channels_still_explain_every_row():
    x, gradient = conv_update(4, channels=(20, 12))  # 99 directions of 180, rank 12
    found = weighted_rows(gradient, 4 * 25, sigma=0.0)
    assert found.rows.shape == (12, 180)
    assert found.rows.square().sum().item() == pytest.approx(1, abs=1e-5)
    assert found.noise == 0
    assert uncovered_share(centre(patches(x)), found.rows).item() < 0.01
    other, _ = conv_update(4, channels=(20, 12), seed=1)
    assert uncovered_share(centre(patches(other)), found.rows).item() > 0.2


def test_noise_on_the_rows_is_foretold():
    x, gradient = conv_update(4, channels=(20, 12))
    sigma = 0.02 * float(torch.linalg.svdvals(gradient.flatten(1))[0])
    generator = torch.Generator().manual_seed(0)
    noisy = gradient + sigma * torch.randn(gradient.shape, generator=generator)
    found = weighted_rows(noisy, 4 * 25, sigma)
    measured = uncovered_share(centre(patches(x)), found.rows).item()
    assert found.noise == pytest.approx(measured, rel=0.5)


@pytest.mark.parametrize("update", [torch.zeros(4, 9), torch.full((4, 9), float("nan"))])
def test_an_update_without_rows_is_an_error(update):
    with pytest.raises(ValueError, match="no rows to explain"):
        weighted_rows(update, 3, 0.0)


def test_the_share_outside_does_not_cancel_near_the_truth():
    x, gradient = conv_update(1)
    basis = row_space(gradient, 24).basis
    near = patches(x + 1e-5 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)))
    assert 0 < outside_share(centre(near), basis).item() < 1e-9


def test_gradient_of_the_uncovered_share_is_that_of_its_closed_form():
    def energy(patches):  # what the rows keep after the best ridge regression on the patches
        flat = patches.flatten(0, 1).double()
        gram = flat @ flat.T
        gram = gram + 1e-4 * gram.diagonal().mean().detach() * torch.eye(len(gram))
        inside = torch.linalg.solve(gram, flat @ rows.T.double())
        return rows.double().square().sum() - (inside * (flat @ rows.T.double())).sum()

    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(2, 10, 40, generator=generator).requires_grad_()
    rows = torch.randn(6, 40, generator=generator) / 240**0.5
    (found,) = torch.autograd.grad(uncovered_share(patches, rows), patches)
    (expected,) = torch.autograd.grad(energy(patches), patches)
    torch.testing.assert_close(uncovered_share(patches, rows).double(), energy(patches))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)

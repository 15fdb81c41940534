"""Tests of medleak.inversion.measures.similarity."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from medleak.inversion.measures import similarity
from medleak.inversion.measures.similarity import (
    PSNR_CAP_DB,
    assign,
    attack_success,
    best_of_any,
    mse,
    pairwise_ssim,
    psnr,
    rdlv,
    ssim,
    ssim_tmi,
)


def images(n=2, channels=1, size=16, seed=0):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


def smooth(n=2, channels=1, size=16, seed=0):
    coarse = images(n, channels, 4, seed)
    return torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 10_000),
    st.sampled_from([1, 3]),
    st.integers(7, 40),
    st.integers(7, 40),
    st.floats(0, 0.5),
)
def test_ssim_is_scikit_images_default_at_range_one(seed, channels, height, width, noise):
    g = torch.Generator().manual_seed(seed)
    truth = torch.rand(2, channels, height, width, generator=g)
    image = (truth + noise * torch.randn(truth.shape, generator=g)).clamp(0, 1)
    reference = [
        structural_similarity(t.double().numpy(), i.double().numpy(), data_range=1, channel_axis=0)
        for t, i in zip(truth, image, strict=True)
    ]
    np.testing.assert_allclose(ssim(truth, image), reference, atol=1e-9)


@pytest.mark.parametrize(("channels", "size"), [(1, (9, 12, 7)), (4, (8, 8, 8)), (2, (9, 12))])
def test_ssim_of_volumes_and_of_any_channels_is_scikit_images_too(channels, size):
    g = torch.Generator().manual_seed(3)
    truth = torch.rand(2, channels, *size, generator=g)
    image = (truth + 0.2 * torch.randn(truth.shape, generator=g)).clamp(0, 1)
    reference = [
        structural_similarity(t.double().numpy(), i.double().numpy(), data_range=1, channel_axis=0)
        for t, i in zip(truth, image, strict=True)
    ]
    np.testing.assert_allclose(ssim(truth, image), reference, atol=1e-9)


def test_ssim_and_psnr_of_volumes_are_monais_up_to_its_covariance():
    from monai.metrics.regression import PSNRMetric, SSIMMetric

    g = torch.Generator().manual_seed(3)
    truth = torch.rand(2, 1, 12, 10, 9, generator=g)
    image = (truth + 0.1 * torch.randn(truth.shape, generator=g)).clamp(0, 1)
    own = SSIMMetric(3, kernel_type="uniform", win_size=7)(image, truth)
    # MONAI divides by 343 where the sample covariance divides by 342.
    np.testing.assert_allclose(ssim(truth, image), torch.as_tensor(own)[:, 0], atol=2e-3)
    peak = torch.as_tensor(PSNRMetric(max_val=1.0)(image, truth))[:, 0]
    np.testing.assert_allclose(psnr(truth, image), peak, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("make", [images, smooth])
def test_ssim_tmi_is_the_published_code_on_0_to_255_with_a_stretched_reconstruction(make, channels):
    truth, image = make(3, channels, 33, 1), 0.2 + 0.5 * make(3, channels, 33, 2)
    for t, i, got in zip(truth, image, ssim_tmi(truth, image), strict=True):
        low, high = i.min(), i.max()
        stretched = (255 * (i - low) / (high - low)).numpy().transpose(1, 2, 0)
        reference = structural_similarity(
            255 * t.numpy().transpose(1, 2, 0), stretched, data_range=256.0, channel_axis=-1
        )
        assert got.item() == pytest.approx(reference, abs=1e-5)


def test_ssim_tmi_hides_a_wrong_contrast_that_ssim_sees():
    truth = smooth()
    truth = (truth - truth.amin((1, 2, 3), keepdim=True)) / (
        truth.amax((1, 2, 3), keepdim=True) - truth.amin((1, 2, 3), keepdim=True)
    )
    faded = 0.4 + 0.2 * truth
    assert (ssim_tmi(truth, faded) > 0.999).all()
    assert (ssim(truth, faded) < 0.9).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("make", [images, smooth])
def test_identical_images_are_perfectly_similar(make, channels):
    x = make(3, channels)
    torch.testing.assert_close(ssim(x, x), torch.ones(3, dtype=torch.float64), atol=1e-6, rtol=0)
    assert (mse(x, x) == 0).all()
    assert (psnr(x, x) == PSNR_CAP_DB).all()


def test_two_constant_images_differ_by_their_luminance_term_alone():
    a, b = torch.full((1, 1, 8, 8), 0.25), torch.full((1, 1, 8, 8), 0.75)
    expected = (2 * 0.25 * 0.75 + 1e-4) / (0.25**2 + 0.75**2 + 1e-4)
    assert ssim(a, b).item() == pytest.approx(expected, abs=1e-9)
    assert ssim(a, a).item() == pytest.approx(1.0, abs=1e-6)


def test_a_constant_reconstruction_is_not_stretched_into_nan():
    truth = smooth(1)
    assert torch.isfinite(ssim_tmi(truth, torch.full_like(truth, 0.5))).all()


def test_values_outside_the_unit_range_are_clipped_before_comparison():
    truth, image = images(), images(seed=1)
    wild = torch.where(image > 0.9, image + 3, image)
    clipped = torch.where(image > 0.9, torch.ones(()), image)
    for metric in (ssim, ssim_tmi, mse, psnr):
        torch.testing.assert_close(metric(truth, wild), metric(truth, clipped))


def test_mse_and_psnr_of_a_known_difference():
    truth = torch.full((1, 3, 8, 8), 0.5)
    assert mse(truth, truth + 0.1).item() == pytest.approx(0.01, rel=1e-5)
    assert psnr(truth, truth + 0.1).item() == pytest.approx(20.0, rel=1e-5)


def test_rdlv_is_the_relative_gain_over_the_prior():
    got = rdlv(torch.tensor([0.9, 0.2, 0.4]), torch.tensor([0.4, 0.4, 0.4]))
    torch.testing.assert_close(got, torch.tensor([1.25, -0.5, 0.0]).double(), atol=1e-6, rtol=0)


def test_an_exact_reconstruction_has_rdlv_one_over_prior_similarity_minus_one():
    assert rdlv(torch.ones(1), torch.tensor([0.37])).item() == pytest.approx(1 / 0.37 - 1)


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_rdlv_is_never_infinite_and_undefined_below_the_guard(image, prior):
    value = rdlv(torch.tensor([image]), torch.tensor([prior], dtype=torch.float64)).item()
    assert np.isnan(value) == (prior < 0.05)
    assert not np.isinf(value)


def test_assignment_undoes_a_permutation():
    truths = images(5, size=12)
    order = torch.tensor([3, 0, 4, 1, 2])
    found = assign((truths[order] + 0.02).clamp(0, 1), truths)
    torch.testing.assert_close(found.truth, order)
    torch.testing.assert_close(found.reconstruction, torch.arange(5))
    assert (found.ssim > 0.9).all()


def test_assignment_takes_each_truth_once_and_best_of_any_may_repeat():
    truths = images(2, size=12)
    copies = truths[:1].expand(2, -1, -1, -1)
    assert sorted(assign(copies, truths).truth.tolist()) == [0, 1]
    any_ = best_of_any(copies, truths)
    assert any_.truth.tolist() == [0, 0]
    assert (any_.ssim > 0.999).all()


@pytest.mark.parametrize(("n", "m"), [(1, 4), (4, 1), (3, 3)])
def test_an_assignment_has_as_many_pairs_as_the_smaller_side(n, m):
    found = assign(images(n, size=8), images(m, size=8, seed=5))
    assert len(found.truth) == len(found.reconstruction) == len(found.ssim) == min(n, m)
    assert len(set(found.truth.tolist())) == min(n, m)


def test_the_assignment_has_the_best_total_not_the_best_first_pair():
    # Greedy would take (0, 0) and be left with a bad pair; the total is best crosswise.
    a, b = smooth(1, seed=1), smooth(1, seed=2)
    reconstructions = torch.cat([0.6 * a + 0.4 * b, a])
    truths = torch.cat([a, 0.5 * b + 0.5 * images(1, seed=3)])
    similarity = pairwise_ssim(reconstructions, truths)
    found = assign(reconstructions, truths)
    straight, crossed = similarity.trace(), similarity[0, 1] + similarity[1, 0]
    assert found.ssim.sum().item() == pytest.approx(max(straight.item(), crossed.item()))


def test_pairs_beyond_one_chunk_keep_their_place():
    truths, reconstructions = images(70, size=7), images(66, size=7, seed=9)
    table = pairwise_ssim(reconstructions, truths)
    assert table.shape == (66, 70)
    for i, j in [(0, 0), (65, 69), (63, 64), (64, 3)]:
        expected = ssim(truths[j : j + 1], reconstructions[i : i + 1])
        assert table[i, j].item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize(
    ("truth", "image", "message"),
    [
        (torch.rand(1, 1, 6, 9), torch.rand(1, 1, 6, 9), "fewer than the window of SSIM, 7 px"),
        (torch.rand(1, 1, 8, 8), torch.rand(1, 3, 8, 8), "must be the same"),
        (torch.rand(1, 1, 8, 8, 6), torch.rand(1, 1, 8, 8, 6), "8 x 8 x 6 px, fewer"),
        (torch.rand(1, 8, 8), torch.rand(1, 8, 8), "metrics compare images"),
        (torch.rand(8, 8), torch.rand(8, 8), "shape"),
        (torch.rand(1, 1, 8, 8), torch.full((1, 1, 8, 8), torch.nan), "image holds NaN"),
        (torch.full((1, 1, 8, 8), torch.inf), torch.rand(1, 1, 8, 8), "truth holds NaN"),
    ],
)
def test_what_cannot_be_compared_is_refused(truth, image, message):
    with pytest.raises(ValueError, match=message):
        ssim(truth, image)


def test_channels_are_averaged_or_repeated_but_never_guessed():
    volume = torch.rand(1, 1, 2, 3, 4)
    assert similarity.as_channels(volume, 4).shape == (1, 4, 2, 3, 4)
    assert torch.equal(similarity.as_channels(volume.expand(-1, 4, -1, -1, -1), 1), volume)
    with pytest.raises(ValueError, match="which channel is which"):
        similarity.as_channels(torch.rand(1, 3, 8, 8), 4)


def test_sets_of_different_size_are_refused():
    with pytest.raises(ValueError, match="cannot be compared"):
        assign(images(1, size=8), images(1, size=9))


def test_nothing_passed_in_is_changed():
    truth, image = images() * 3 - 1, images(seed=1)
    before = truth.clone(), image.clone()
    for compare in (ssim, ssim_tmi, psnr, assign, best_of_any):
        compare(truth, image)
    assert torch.equal(truth, before[0])
    assert torch.equal(image, before[1])


def test_comparing_a_few_pairs_at_a_time_changes_no_figure(monkeypatch):
    truth, image = images(7, 3, 20, 0), images(7, 3, 20, 1)
    whole = [f(truth, image) for f in (ssim, ssim_tmi, mse, psnr, pairwise_ssim)]
    monkeypatch.setattr(
        "medleak.inversion.measures.similarity._CPU_VALUES_AT_ONCE", 3 * 20 * 20 * 2
    )
    parts = [f(truth, image) for f in (ssim, ssim_tmi, mse, psnr, pairwise_ssim)]
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-14)


def test_a_pair_is_compared_as_it_is_among_all_pairs():
    truth, image = smooth(3, 1, 20, 0), smooth(3, 1, 20, 1)
    torch.testing.assert_close(pairwise_ssim(image, truth).diagonal(), ssim(truth, image))


def test_memory_does_not_grow_with_the_number_of_pairs(monkeypatch):
    real, sizes = similarity._window_mean, []
    monkeypatch.setattr(similarity, "_window_mean", lambda x: (sizes.append(x.numel()), real(x))[1])
    truth = images(1, 3, 224).expand(12, -1, -1, -1)
    ssim(truth, truth)
    pairwise_ssim(truth[:4], truth[:4])
    assert max(sizes) <= similarity._CPU_VALUES_AT_ONCE


@pytest.mark.parametrize(
    ("threshold", "wins"), [(0.9, [True, False, True, False]), (0.5, [True, True, True, False])]
)
def test_an_attack_succeeds_at_the_threshold_or_above_and_never_where_undefined(threshold, wins):
    values = torch.tensor([0.9, 0.899, 1.0, float("nan")], dtype=torch.float64)
    assert attack_success(values, threshold).tolist() == wins


@pytest.mark.parametrize("threshold", [90, -2, float("nan")])
def test_a_threshold_that_no_ssim_can_have_is_refused(threshold):
    with pytest.raises(ValueError, match="give one in"):
        attack_success(torch.tensor([0.5]), threshold)

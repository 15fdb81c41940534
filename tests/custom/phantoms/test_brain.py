"""Tests of the made-up slices of the head."""

from medleak.custom.phantoms import MODALITIES, phantom


def test_a_tumours_mask_lies_in_the_head_and_no_tumour_has_none():
    for kind in MODALITIES["brain_mri"].classes:
        for k in range(12):
            image, mask = phantom("brain_mri", f"{kind}/p{k:05d}_00.png", 64)
            assert mask is not None
            share = (mask > 0).mean()
            assert share == 0 if kind == "notumor" else 0.004 < share < 0.15
            if share:
                assert image[mask > 0].mean() > 40
                assert not mask[[0, -1]].any()

"""Tests of medleak.custom.training.segmentation."""

import pytest
import torch

from medleak.custom.training.segmentation import dice, report, scores


def logits_of(drawn, classes=2):
    return torch.nn.functional.one_hot(drawn, classes).movedim(-1, 1).float()


def masks(*cells):
    made = torch.zeros(len(cells), 4, 4, dtype=torch.int64)
    for mask, rows in zip(made, cells, strict=True):
        mask[rows] = 1
    return made


def test_dice_is_twice_the_overlap_over_both_areas():
    truth, drawn = (
        masks(slice(0, 2), slice(0, 2), slice(0, 2)),
        masks(slice(0, 2), slice(1, 3), slice(2, 4)),
    )
    assert dice(logits_of(drawn), truth).tolist() == pytest.approx([1.0, 0.5, 0.0])


def test_an_image_without_a_lesion_is_right_only_if_nothing_is_drawn():
    truth, drawn = masks(slice(0, 0), slice(0, 0)), masks(slice(0, 0), slice(0, 1))
    assert dice(logits_of(drawn), truth).tolist() == [1.0, 0.0]


def test_background_does_not_count_and_absent_kinds_neither():
    truth = masks(slice(0, 2))
    drawn = truth.clone()
    drawn[0, 3] = 2  # a kind that this image has not
    assert dice(logits_of(drawn, 3), truth).tolist() == [1.0]


def test_a_report_compares_with_a_network_that_draws_nothing():
    truth = masks(slice(0, 2), slice(0, 2), slice(0, 0))
    drawn = masks(slice(0, 2), slice(1, 3), slice(0, 0))
    found = report(logits_of(drawn), truth, ["background", "tumour"])
    assert found["n"] == 3
    assert found["dice"]["value"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert found["dice"]["lower95"] == pytest.approx(0.5)
    assert found["dice"]["upper95"] == pytest.approx(1.0)
    assert found["empty"] == pytest.approx(1 / 3)
    assert scores(logits_of(drawn), truth)["loss"] == pytest.approx(found["loss"])

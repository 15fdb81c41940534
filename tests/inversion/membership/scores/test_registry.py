import pytest
import torch

from medleak.inversion.membership.scores.registry import ROWS, score_of


def test_every_score_is_had_by_its_name_and_says_what_it_is():
    assert [score_of(row.name) for row in ROWS] == list(ROWS)
    assert all(row.words and row.source for row in ROWS)


def test_an_unknown_score_is_named_with_those_there_are():
    with pytest.raises(ValueError, match="known are row_space, statistics, joint, loss_drop"):
        score_of("lira")


@pytest.mark.parametrize(("name", "near"), [("row_space", 1e-4), ("statistics", 1e-3)])
def test_a_candidate_is_judged_by_itself(observed, resnet_spec, smooth_images, name, near):
    images, score = smooth_images(30), score_of(name).score
    update = observed(images[:4], torch.arange(4) % 2, resnet_spec)
    together = score(update, images[:10], None, images[20:])
    alone = score(update, images[3:4], None, images[20:])
    for part, value in alone.items():
        assert value.item() == pytest.approx(together[part][3].item(), abs=near)

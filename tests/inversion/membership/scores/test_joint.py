import pytest
import torch

from medleak.inversion.membership.scores import row_space, statistics
from medleak.inversion.membership.scores.joint import score


def test_both_sources_are_there_each_as_it_is_alone(observed, resnet_spec, smooth_images):
    images = smooth_images(30)
    update = observed(images[:4], torch.arange(4) % 2, resnet_spec)
    found = score(update, images[:10], None, images[20:])
    rows = row_space.score(update, images[:10], None, images[20:])
    pulls = statistics.score(update, images[:10], None, images[20:])
    assert set(found) == {f"row_space/{name}" for name in rows} | set(pulls)
    for name, value in rows.items():
        torch.testing.assert_close(found[f"row_space/{name}"], value)


def test_where_one_examines_nothing_the_other_is_left(
    observed, lenet_spec, resnet_spec, smooth_images
):
    images, labels = smooth_images(8), torch.tensor([0, 1])
    without = score(observed(images[:2], labels, lenet_spec), images[:4], None, images[4:])
    assert without
    assert all(name.startswith("row_space/") for name in without)

    def bare(name, value):
        return value if "running" in name or "num_batches" in name else value * 0

    bare_ = observed(images[:2], labels, resnet_spec, change=bare)
    assert all(n.startswith("statistics/") for n in score(bare_, images[:4], None, images[4:]))


def test_where_neither_examines_anything_it_says_so(observed, lenet_spec, smooth_images):
    images = smooth_images(4)
    still = observed(
        images[:2], torch.tensor([0, 1]), lenet_spec, change=lambda name, value: value * 0
    )
    with pytest.raises(ValueError, match="examines nothing"):
        score(still, images, None, images)

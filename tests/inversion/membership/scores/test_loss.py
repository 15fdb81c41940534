import pytest
import torch
from torch.nn.functional import cross_entropy

from medleak.inversion.membership.scores import loss


def test_the_drop_is_loss_before_minus_loss_after(observed, lenet_spec, smooth_images):
    images, labels = smooth_images(3), torch.tensor([0, 1, 1])
    update = observed(images, labels, lenet_spec)
    before, after = update.network().eval(), update.network().eval()
    with torch.no_grad():
        for name, p in after.named_parameters():
            p.add_(update.parameter_update[name])
        x = update.normalise(images)
        first = cross_entropy(before(x), labels, reduction="none")
        last = cross_entropy(after(x), labels, reduction="none")
    drop = loss.loss_drop(update, images, labels, images)["loss_drop"]
    assert torch.allclose(drop, first - last, atol=1e-5)
    assert torch.allclose(
        loss.loss_after(update, images, labels, images)["loss_after"], -last, atol=1e-5
    )


def test_the_only_members_gradient_points_along_the_update(observed, lenet_spec, smooth_images):
    images, labels = smooth_images(5), torch.tensor([0, 1, 1, 0, 1])
    update = observed(images[:1], labels[:1], lenet_spec, lr=1e-3)
    found = loss.gradient_cosine(update, images, labels, images)["gradient_cosine"]
    assert found[0] > 0.99
    assert (found[1:] < found[0]).all()


@pytest.mark.parametrize("of", [loss.loss_drop, loss.loss_after, loss.gradient_cosine])
def test_without_labels_nothing_is_examined(observed, lenet_spec, smooth_images, of):
    images = smooth_images(2)
    update = observed(images, torch.tensor([0, 1]), lenet_spec)
    with pytest.raises(ValueError, match="examines nothing"):
        of(update, images, None, images)

"""Tests of medleak.inversion.rehearsal.dominance against gradients of single images."""

import math

import pytest
import torch
from torch import nn

from medleak.inversion.rehearsal.dominance import class_losses, part_norms, ratios
from medleak.inversion.rehearsal.step import rehearse


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 4, 3, groups=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 9),
        nn.ReLU(),
        nn.Linear(9, 2),
    )


@pytest.fixture
def batch():
    draw = torch.Generator().manual_seed(0)
    return torch.randn(5, 1, 8, 8, generator=draw), torch.tensor([0, 1, 1, 0, 1])


def test_without_batch_norm_a_part_is_the_gradient_of_its_image(batch):
    step, model = rehearse(network(), *batch), network()
    assert len(step.shares) == 4
    for share in step.shares:
        expected = []
        for image, label in zip(*batch, strict=True):
            loss = nn.functional.cross_entropy(model(image[None]), label[None]) / 5
            weight = dict(model.named_parameters())[f"{share.name}.weight"]
            expected.append(torch.autograd.grad(loss, weight)[0].norm())
        torch.testing.assert_close(part_norms(share).float(), torch.stack(expected))


def test_tokens_are_summed_before_their_norm_is_taken():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.Linear(16, 9)
            self.out = nn.Linear(9, 2)

        def forward(self, images):
            return self.out(self.mix(images.reshape(len(images), 4, 16)).relu().mean(1))

    images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    share = rehearse(Tokens(), images, torch.tensor([0, 1, 0])).shares[0]
    whole = torch.einsum("bti,btj->bij", share.deltas, share.inputs).flatten(1).norm(dim=1)
    torch.testing.assert_close(part_norms(share).float(), whole)


def test_one_image_that_alone_is_wrong_drowns_all_others(batch):
    model = network()
    even = max(ratios(rehearse(model, *batch)).values())
    images = batch[0].clone()
    with torch.no_grad():
        labels = model(images).argmax(1)
        for parameter in model[7].parameters():
            parameter *= 1000
    labels[2] = 1 - labels[2]
    assert even < 2
    assert max(ratios(rehearse(model, images, labels)).values()) > 100


def test_a_class_that_is_far_from_its_labels_is_told_by_its_loss(batch):
    step = rehearse(network(), *batch)
    found = class_losses(step, batch[1], 2)
    assert found[0] == pytest.approx(float(step.losses[batch[1] == 0].mean()) / math.log(2))
    assert set(found) == {0, 1}

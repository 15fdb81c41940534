"""Tests of medleak.inversion.rehearsal.step: the parts of a gradient are all of it."""

import pytest
import torch
from torch import nn

from medleak.custom.small_networks import strided_cnn
from medleak.inversion.rehearsal.step import as_rows, rehearse


def normed() -> nn.Sequential:
    """Convolution, batch norm, hidden layer and outputs."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 36, 12),
        nn.ReLU(),
        nn.Linear(12, 2),
    )


@pytest.fixture
def batch():
    draw = torch.Generator().manual_seed(0)
    return torch.randn(5, 1, 6, 6, generator=draw), torch.tensor([0, 1, 1, 0, 1])


def test_the_parts_of_linear_layers_sum_to_the_gradient_behind_batch_norm_too(batch):
    network = normed().train()
    step = rehearse(network, *batch)
    nn.functional.cross_entropy(network(batch[0]), batch[1]).backward()
    for share in step.shares:
        if isinstance(share.layer, nn.Linear):
            torch.testing.assert_close(share.deltas.T @ share.inputs, share.layer.weight.grad)
    assert [s.name for s in step.shares] == ["0", "4", "6"]
    expected = nn.functional.cross_entropy(network(batch[0]), batch[1], reduction="none")
    torch.testing.assert_close(step.losses, expected.detach())


def test_the_network_stays_as_it_was_buffers_included(batch):
    network = normed().train()
    before = {n: v.clone() for n, v in network.state_dict().items()}
    rehearse(network, *batch)
    assert network.training
    assert all(p.grad is None for p in network.parameters())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    assert not any(m._forward_hooks for m in network.modules())


def test_a_convolution_that_sees_the_whole_image_is_read_as_rows_and_one_of_patches_is_not(batch):
    whole = nn.Sequential(nn.Conv2d(1, 10, 6), nn.ReLU(), nn.Flatten(), nn.Linear(10, 2))
    found = as_rows(rehearse(whole, *batch).shares[0])
    assert found is not None
    assert (found[0].shape, found[1].shape) == ((5, 36), (5, 10))
    patches = rehearse(normed().train(), *batch).shares[0]
    assert as_rows(patches) is None


def test_each_token_is_an_input_of_its_image():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.Linear(9, 16)
            self.out = nn.Linear(16, 2)

        def forward(self, images):
            return self.out(self.mix(images.reshape(len(images), 4, 9)).relu().mean(1))

    images = torch.randn(3, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    step = rehearse(Tokens(), images, torch.tensor([0, 1, 0]))
    found = as_rows(step.shares[0])
    assert found is not None
    assert found[0].shape == (12, 9)
    assert found[2].tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_a_loss_that_is_not_known_is_refused(batch):
    with pytest.raises(ValueError, match="The loss 'dice'"):
        rehearse(strided_cnn(2, 8), batch[0].repeat(1, 3, 2, 2)[..., :8, :8], batch[1], "dice")

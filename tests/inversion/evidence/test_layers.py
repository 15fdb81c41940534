"""Tests of the survey of a network's layers."""

import torch
from torch import nn

from medleak.inversion.evidence.layers import survey


class Shared(nn.Module):
    """A convolution that takes the input, one that runs twice, and one behind a norm."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, 2, 1)
        self.norm = nn.BatchNorm2d(8)
        self.twice = nn.Conv2d(8, 8, 1)
        self.grouped = nn.Conv2d(8, 8, 3, groups=2)
        self.last = nn.Conv2d(8, 4, 3, padding=1)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        x = self.norm(self.first(x)).relu()
        x = self.grouped(self.twice(self.twice(x)))
        return self.head(self.last(x).mean((2, 3)))


def test_what_ran_once_is_listed_in_order_with_its_shapes():
    found = survey(Shared(), torch.rand(2, 3, 16, 16))
    assert [c.name for c in found.convs] == ["first", "grouped", "last"]
    assert found.norms == ("norm",)
    assert found.order["first"] < found.order["norm"] < found.order["last"]
    first, grouped, last = found.convs
    assert (grouped.groups, grouped.patch_size) == (2, 4 * 9)
    assert (first.patch_size, first.out_channels, first.positions) == (27, 8, 64)
    assert (first.kernel_size, first.stride, first.padding) == ((3, 3), (2, 2), (1, 1))
    assert first.normed
    assert not last.normed
    assert (first.norms_before, last.norms_before) == ((), ("norm",))
    assert found.entrance == "first"


def test_patches_times_the_weights_are_the_convolution():
    network = Shared()
    x = torch.rand(2, 3, 16, 16)
    layer = survey(network, x).convs[0]
    weight = network.first.weight.flatten(1)
    assert network.first.bias is not None
    by_hand = (layer.patches(x) @ weight.T + network.first.bias).transpose(1, 2)
    torch.testing.assert_close(by_hand, network.first(x).flatten(2))


def test_an_input_with_two_takers_has_no_single_entrance():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3)

        def forward(self, x):
            return self.a(x) + self.b(x)

    found = survey(Two(), torch.rand(1, 1, 8, 8))
    assert found.entrance is None
    assert len(found.convs) == 2


def test_hooks_are_taken_off_again_even_after_an_error():
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    for channels in (3, 5):
        try:
            survey(network, torch.rand(1, channels, 8, 8))
        except RuntimeError:
            assert channels == 5
        assert not network[0]._forward_hooks

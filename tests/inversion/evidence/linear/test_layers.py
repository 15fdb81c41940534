"""Linear layers and factors of a product are found by what a network computes."""

import pytest
import torch
from tests.inversion.evidence.linear.adapted import ADAPTERS, Bottleneck, Tokens, adapted
from torch import nn

from medleak.inversion.evidence.linear.layers import linear_layers

EXAMPLE = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ADAPTERS)
def test_the_two_factors_of_a_product_are_told_by_gradients(kind):
    found = linear_layers(adapted(kind).eval(), EXAMPLE)
    first, second = (x for x in found if x.role != "whole")
    assert (first.role, second.role) == ("first", "second")
    assert (first.partner, second.partner) == (second.parameter, first.parameter)
    assert (first.inputs, first.outputs, first.positions) == (20, 3, 1)
    assert (second.inputs, second.outputs, second.positions) == (3, 12, 1)


def test_a_bottleneck_with_a_nonlinearity_between_is_two_layers():
    assert {x.role for x in linear_layers(Bottleneck().eval(), EXAMPLE)} == {"whole"}


def test_tokens_are_counted_and_pixels_recognised():
    patches, later, head = linear_layers(Tokens().eval(), EXAMPLE)
    assert (patches.positions, later.positions, head.positions) == (4, 4, 1)
    assert [x.takes_pixels for x in (patches, later, head)] == [True, False, False]


def test_a_network_without_linear_layers_has_none():
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten())
    assert linear_layers(network.eval(), EXAMPLE) == ()

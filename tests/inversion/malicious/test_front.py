"""Tests of medleak.inversion.malicious.front."""

import torch

from medleak.custom.small_networks import strided_cnn
from medleak.inversion.malicious.front import Front, to_gray


def test_the_network_behind_it_hears_a_whisper():
    network, x = strided_cnn(2, 32), torch.rand(2, 3, 32, 32)
    front = Front(network, torch.rand(8, 1024) / 1024, torch.zeros(8), (32, 32), to_gray())
    assert torch.allclose(front(x), network(x), atol=0.01)
    assert not torch.equal(front(x), network(x))
    assert {"lift.weight", "rows.weight", "back.weight"} <= set(front.state_dict())

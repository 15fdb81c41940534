"""Branches that a client skipped at random are read from what did not move."""

import pytest
import torch
from monai.networks.nets.efficientnet import EfficientNetBN
from torch import Tensor, nn
from torchvision.models import efficientnet_b0
from torchvision.ops import StochasticDepth

from medleak.inversion.evidence.branches import factors, random_branches, set_branches


class Residual(nn.Module):
    def __init__(self, rates=(0.5, 0.25)):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.drop1, self.drop2 = (StochasticDepth(rate, "row") for rate in rates)
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop1(self.first(x).relu())
        x = x + self.drop2(self.second(x).relu())
        return self.head(x.mean((2, 3)))


def gradient(network, x, skipped):
    """With the branches in ``skipped`` left out, the others scaled up as in training."""
    set_branches(
        network,
        {n: 0.0 if n in skipped else 1 / (1 - r) for n, r in random_branches(network).items()},
    )
    loss = network(x).square().sum()
    found = torch.autograd.grad(loss, list(network.parameters()))
    return dict(zip((n for n, _ in network.named_parameters()), found, strict=True))


X = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("skipped", [(), ("drop1",), ("drop2",), ("drop1", "drop2")])
def test_what_lies_in_a_skipped_branch_alone_did_not_move(skipped):
    found = factors(Residual(), gradient(Residual(), X, skipped), X, together=True)
    assert found == {
        "drop1": 0.0 if "drop1" in skipped else 2.0,
        "drop2": 0.0 if "drop2" in skipped else pytest.approx(4 / 3),
    }


def test_of_several_images_only_what_none_took_is_known():
    found = factors(Residual(), gradient(Residual(), X, ["drop2"]), X, together=False)
    assert found == {"drop1": 1.0, "drop2": 0.0}


def test_a_network_without_random_branches_has_none():
    network = Residual(rates=(0.0, 0.0))
    assert random_branches(network) == {}
    assert factors(network, {}, X, together=True) == {}


def test_with_all_branches_set_a_pass_in_training_mode_is_repeatable():
    network = Residual().train()
    set_branches(network, {"drop1": 0.0, "drop2": 1.0})
    assert torch.equal(network(X), network(X))
    nn.init.constant_(network.second.weight, 9.0)
    after = network(X)
    nn.init.constant_(network.first.weight, 9.0)
    assert torch.equal(network(X), after)


def test_both_libraries_efficientnets_have_nine_or_more():
    ours = random_branches(efficientnet_b0())
    theirs = random_branches(EfficientNetBN("efficientnet-b0", pretrained=False))
    assert len(theirs) == 9
    assert {n.rpartition(".")[2] for n in ours} == {"stochastic_depth"}


def test_monais_blocks_skip_by_a_setting_and_are_set_likewise():
    torch.manual_seed(0)
    network = EfficientNetBN("efficientnet-b0", pretrained=False).train()
    name = next(iter(random_branches(network)))
    block = network.get_submodule(name)
    x = torch.rand(2, block.in_channels, 8, 8)  # pyright: ignore[reportArgumentType, reportCallIssue]
    set_branches(network, {name: 0.0})
    assert torch.equal(block(x), x)

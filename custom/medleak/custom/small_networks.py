"""Small networks: two with sigmoids, on which gradient leakage was first shown, one with ReLU.

Of the first two: convolutions of 12 channels, 5x5, and one linear layer; weights and biases uniform
in [-0.5, 0.5], as in the published experiments: with PyTorch's own initialisation the sigmoids are
so flat that gradients say little about the image.
"""

import torch
from torch import nn

CHANNELS = 12
INIT_RANGE = 0.5


def lenet(num_classes: int = 2, spatial_size: int = 32, seed: int = 0) -> nn.Sequential:
    """DLG's "LeNet": three convolutions (strides 2, 2, 1) and a linear layer.

    Args:
        num_classes: Outputs, at least 1.
        spatial_size: Height and width of the images; 32 gives the paper's 768 features.
        seed: Of the weights. The global random state is not touched.

    Source: Zhu et al. 2019, arXiv:1906.08935v2, section 4.1.
    """
    return _sigmoid_network((2, 2, 1), num_classes, spatial_size, seed)


def cnn4(num_classes: int = 2, spatial_size: int = 32, seed: int = 0) -> nn.Sequential:
    """CPL's network: four convolutions (strides 2, 2, 1, 1) and a linear layer.

    Args: as :func:`lenet`.

    Source: Wei et al. 2020, arXiv:2004.10397v2, section 4; MedPFL's "4-layer CNN".
    """
    return _sigmoid_network((2, 2, 1, 1), num_classes, spatial_size, seed)


def strided_cnn(
    num_classes: int = 2, spatial_size: int = 64, hidden: int = 256, seed: int = 0
) -> nn.Sequential:
    """FedAvg's network with strides in place of its pooling: what small federations train.

    Two convolutions, 5x5 of stride 2 with 32 and 64 channels, a hidden linear layer and the
    outputs; ReLU between them, PyTorch's initialisation. Takes images [B, 3, S, S] in model units.

    Args:
        num_classes: Outputs, at least 1.
        spatial_size: S, at least 1.
        hidden: Width of the hidden layer, at least 1 (512 in the paper).
        seed: Of the weights. The global random state is not touched.

    Source: McMahan et al. 2017, arXiv:1602.05629v4, section 3.
    """
    given = (("num_classes", num_classes), ("spatial_size", spatial_size), ("hidden", hidden))
    _check(*given)
    side = (spatial_size + 3) // 4  # two strides of 2, each rounded up
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 32, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(32, 64, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * side * side, hidden),
            nn.ReLU(),
            nn.Linear(hidden, num_classes),
        )


def _check(*given: tuple[str, int]) -> None:
    for name, value in given:
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}.")


def _sigmoid_network(
    strides: tuple[int, ...], num_classes: int, spatial_size: int, seed: int
) -> nn.Sequential:
    _check(("num_classes", num_classes), ("spatial_size", spatial_size))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        channels, size = 3, spatial_size
        for stride in strides:
            layers += [nn.Conv2d(channels, CHANNELS, 5, stride=stride, padding=2), nn.Sigmoid()]
            channels, size = CHANNELS, -(-size // stride)
        features = CHANNELS * size * size
        network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, num_classes))
        for parameter in network.parameters():
            nn.init.uniform_(parameter, -INIT_RANGE, INIT_RANGE)
    return network

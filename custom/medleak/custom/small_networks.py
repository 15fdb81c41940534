"""The small sigmoid networks on which gradient leakage was first shown.

Convolutions of 12 channels, 5x5, and one linear layer; weights and biases uniform in
[-0.5, 0.5], as in the published experiments: with PyTorch's own initialisation the sigmoids are so
flat that gradients say little about the image.
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


def _sigmoid_network(
    strides: tuple[int, ...], num_classes: int, spatial_size: int, seed: int
) -> nn.Sequential:
    for name, value in (("num_classes", num_classes), ("spatial_size", spatial_size)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}.")
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

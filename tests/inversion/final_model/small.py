"""A network so small that reference models of it take no time."""

import torch
from torch import nn

from medleak.inversion.final_model.references import Task


def build() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 16, 2),
    )


TASK = Task(build=build, normalise=lambda x: x, criterion="cross_entropy")


def noise(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images [N, 1, 16, 16] that have nothing to do with their labels: learnt by heart or not."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(n, 1, 16, 16, generator=generator)
    return images, torch.randint(2, (n,), generator=generator)

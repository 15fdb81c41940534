"""A network trained on the public images of a set, for attacks on trained models and Table V."""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from medleak.custom.data.transforms import load_images, network_input
from medleak.inversion.reproduce.material import Material, initial

EPOCHS = 6
_BATCH = 16
_LR = 0.02
_MOST = 400  # images
_SEED = 0


def classifier(
    material: Material,
    path: str,
    size: int,
    *,
    weights: Path | None = None,
    mean: float = 0.0,
    std: float = 1.0,
) -> nn.Module:
    """The network ``path`` after a few epochs of SGD on the public images of ``material``.

    Args:
        material: No image of a client is used.
        path: Model factory that takes ``num_classes``.
        size: Of the images, px.
        weights: To start from; None: the factory's.
        mean: Of the normalisation of every channel.
        std: Likewise.

    Raises:
        ValueError: See `initial`.
    """
    network = initial(path, {"num_classes": material.classes}, weights)
    images, labels = load_images(
        list(material.public[:_MOST]), spatial_size=(size, size), channels=material.channels
    )
    optimizer = torch.optim.SGD(network.train().parameters(), lr=_LR, momentum=0.9)
    generator = torch.Generator().manual_seed(_SEED)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(labels), generator=generator).split(_BATCH):
            # At 32 px the last maps are one pixel, of which one image has no variance.
            if len(batch) > 1:
                optimizer.zero_grad()
                x = network_input(images[batch], (mean,) * 3, (std,) * 3)
                functional.cross_entropy(network(x), labels[batch]).backward()
                optimizer.step()
    return network.eval()

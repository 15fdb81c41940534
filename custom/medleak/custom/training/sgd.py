"""Local training and evaluation of one site, on images in memory."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medleak.custom.data.transforms import network_input
from medleak.custom.training import scores, segmentation
from medleak.custom.training.planting import Planted, with_canaries


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSGD:
    """How a site trains in one round: plain SGD, as TMI section III-A.

    Attributes:
        batch_size: Images a step; the last batch of an epoch may be smaller.
        local_epochs: Passes over the site's images a round.
        lr: Learning rate of this round.
        momentum: Of SGD; starts at zero in every round.
        weight_decay: L2 penalty of SGD.
    """

    batch_size: int
    local_epochs: int = 1
    lr: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0

    def steps(self, n_images: int) -> int:
        """Optimiser steps that ``n_images`` images make."""
        return self.local_epochs * math.ceil(n_images / self.batch_size)


@dataclass(frozen=True, slots=True)
class Normalisation:
    """``(x - mean) / std`` on the three channels that the network sees."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def decayed(lr: float, round: int, *, step: int, gamma: float) -> float:
    """Learning rate of ``round`` when it is multiplied by ``gamma`` every ``step`` rounds."""
    return lr * gamma ** (round // step)


def train(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    schedule: LocalSGD,
    normalisation: Normalisation,
    generator: torch.Generator,
    penalty: Callable[[nn.Module], Tensor] | None = None,
    planted: Planted | None = None,
) -> list[float]:
    """Train ``network`` in place, batch norm in training mode; return the loss of each step.

    Args:
        network: Takes [B, 3, H, W] in model units, returns logits [B, classes], or
            [B, classes, H, W] for masks.
        images: [N, C, H, W] in [0, 1], C 1 or 3.
        labels: [N], class indices, or masks of them [N, H, W]. The loss is their mean
            cross-entropy.
        schedule: Batch size, epochs, optimiser.
        normalisation: Applied to each batch.
        generator: Shuffles each epoch.
        penalty: Added to the loss of each step (FedProx).
        planted: Canaries: each joins one batch of every epoch, at random, as one more of its
            records. The losses that are returned are of ``images`` alone.

    Raises:
        ValueError: A loss is NaN or inf: such an update would poison the federation.
    """
    device = next(network.parameters()).device
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=schedule.lr,
        momentum=schedule.momentum,
        weight_decay=schedule.weight_decay,
    )
    network.train()
    losses = []
    for batch, joined in _batches(len(images), schedule, generator, planted):
        optimizer.zero_grad()
        pixels, target = images[batch], labels[batch]
        if planted is not None and planted.images is not None and planted.labels is not None:
            pixels = torch.cat([pixels, planted.images[joined]])
            target = torch.cat([target, planted.labels[joined]])
        x = network_input(pixels.to(device), normalisation.mean, normalisation.std)
        out, target = network(x), target.to(device)
        loss = own = nn.functional.cross_entropy(out, target)
        if joined:
            own = nn.functional.cross_entropy(out[: len(batch)], target[: len(batch)])
            loss = loss * len(x) / (len(batch) + len(joined))  # gradients are records, too
        if penalty is not None:
            pull = penalty(network)
            loss, own = loss + pull, own + pull
        if not torch.isfinite(loss):
            raise ValueError(
                f"The training loss is {loss.item()} in step {len(losses)}: the update would hold "
                "NaN. Lower the learning rate or look at the images."
            )
        loss.backward()
        if planted is not None and planted.images is None:
            for k in joined:
                planted.add_gradient(network, k, 1 / (len(batch) + len(joined)))
        optimizer.step()
        losses.append(own.item())
    return losses


@torch.inference_mode()
def predict(
    network: nn.Module, images: Tensor, normalisation: Normalisation, batch_size: int = 64
) -> Tensor:
    """Logits of images [N, C, H, W] in [0, 1], in evaluation mode, on the CPU."""
    device = next(network.parameters()).device
    network.eval()
    return torch.cat(
        [
            network(network_input(x.to(device), normalisation.mean, normalisation.std)).cpu()
            for x in images.split(batch_size)
        ]
    )


def evaluate(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    normalisation: Normalisation,
    batch_size: int = 64,
) -> dict[str, float]:
    """Scores of classes [N] (`scores`) or of masks [N, H, W] (`segmentation`)."""
    logits = predict(network, images, normalisation, batch_size)
    return (scores if labels.ndim == 1 else segmentation).scores(logits, labels)


def _batches(
    n: int, schedule: LocalSGD, generator: torch.Generator, planted: Planted | None
) -> Iterator[tuple[Tensor, list[int]]]:
    for _ in range(schedule.local_epochs):
        batches = torch.randperm(n, generator=generator).split(schedule.batch_size)
        yield from with_canaries(list(batches), planted)

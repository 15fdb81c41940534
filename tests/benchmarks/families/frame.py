"""What all families share: images, a case, a client trained for a round, and how it is judged.

A *case* is a function of (images, seed) -> `Client`: the record that an auditor would have, the
images that the network saw, and the prior. Its attack is a function of (client, generator) ->
`Reconstruction`; without one, it is what ``medleak audit`` runs, `row_space` through `observe`.
"""

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from clients import DataSet, Split, load
from recording import Loss
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from medleak.custom.record import Record
from medleak.inversion.attacks import row_space
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.observation import observe
from medleak.inversion.reconstruction import Reconstruction

_PUBLIC = 240  # images that train a global model and make the prior; more change nothing here


@dataclass(frozen=True, slots=True)
class Images:
    """The data of a run, seen by one case.

    Attributes:
        data: A folder per class.
        split: Which images are attacked: ``report`` for figures, ``tune`` for choosing settings.
        weights: The shared ResNet-18's weights; None: random ones.
    """

    data: DataSet
    split: Split
    weights: Path | None

    def drawn(self, seed: int, n: int, size: int, channels: int = 1) -> tuple[Tensor, Tensor]:
        """``n`` images [n, C, size, size] in [0, 1] to attack, and labels; without replacement."""
        return self._load(self._shuffled(self.split, seed)[:n], size, channels)

    def public(self, size: int, channels: int = 1) -> tuple[Tensor, Tensor]:
        """Images that no case attacks: for global models and priors."""
        return self._load(self._shuffled("public", 0)[:_PUBLIC], size, channels)

    def prior(self, size: int, channels: int = 1) -> Tensor:
        """[1, C, size, size], the mean of the public images."""
        return self.public(size, channels)[0].mean(0, keepdim=True)

    @property
    def classes(self) -> int:
        """Of the set."""
        return len(self.data.classes)

    def _shuffled(self, split: Split, seed: int) -> list[tuple[Path, int]]:
        files = self.data.files(split)
        return [files[i] for i in np.random.default_rng(seed).permutation(len(files))]

    @staticmethod
    def _load(files: Sequence[tuple[Path, int]], size: int, channels: int) -> tuple[Tensor, Tensor]:
        pixels = torch.stack([load(file, size, channels) for file, _ in files])
        return pixels, torch.tensor([label for _, label in files])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Client:
    """One client's round.

    Attributes:
        record: What the server kept.
        truth: [N, C, *size] in [0, 1], as the network saw them.
        prior: [1, C, *size].
        labels: [N], or None where the case has none.
        network: Where the record names none that `observe` can build.
        knowledge: Of the attacker.
    """

    record: Record
    truth: Tensor
    prior: Tensor
    labels: Tensor | None = None
    network: nn.Module | None = None
    knowledge: Knowledge = field(default_factory=Knowledge)


Attack = Callable[[Client, torch.Generator], Reconstruction]
Make = Callable[[Images, int], Client]


def by_row_space(client: Client, generator: torch.Generator) -> Reconstruction:
    """What ``medleak audit --attack row_space`` does."""
    known = client.labels if client.knowledge.labels == "known" else None
    observation = observe(client.record, client.knowledge, labels=known, network=client.network)
    return row_space.run(row_space.RowSpace(), observation, client.prior, generator=generator)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A kind of client, and what its images must come back at.

    Attributes:
        make: (images, seed) -> one client; another image for every seed.
        attack: See `by_row_space`.
        clients: How many.
        ssim: Least mean.
        over_prior: Likewise, above the prior's mean.
        psnr: Least mean, dB.
        labels: Least share that is right.
        seconds: Most CPU seconds a client.
    """

    make: Make
    attack: Attack = by_row_space
    clients: int = 6
    ssim: float | None = None
    over_prior: float | None = None
    psnr: float | None = None
    labels: float | None = None
    seconds: float | None = None


def trained(
    images: Images,
    name: str,
    network: nn.Module,
    *,
    size: int,
    channels: int = 1,
    epochs: int = 2,
    lr: float = 0.01,
    batch_size: int = 8,
    loss: Loss = nn.functional.cross_entropy,
) -> nn.Module:
    """``network`` after some epochs of SGD on public images; kept in the temporary folder.

    Args:
        images: Where the public images come from.
        name: Of this training: another one of the same name would be taken for it.
        network: With its first weights; trained in place.
        size, channels: Of the images; gray ones are repeated to three channels.
        epochs, lr, batch_size: Of the training.
        loss: (output, labels) -> scalar.
    """
    key = f"{images.data.root.resolve()} {images.data.classes} {name} {size} {epochs} {lr}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    cache = Path(tempfile.gettempdir()) / f"medleak_federations_{name}_{digest}.safetensors"
    if cache.is_file():
        network.load_state_dict(load_file(cache))
        return network
    pixels, labels = images.public(size, channels)
    optimizer = torch.optim.SGD(network.train().parameters(), lr=lr, momentum=0.9)
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    for _ in range(epochs):
        for batch in torch.randperm(len(labels), generator=generator).split(batch_size):
            optimizer.zero_grad()
            loss(network(seen(pixels[batch])), labels[batch]).backward()
            optimizer.step()
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, cache)
    return network


def seen(images: Tensor) -> Tensor:
    """Gray images as three channels; others as they are."""
    return images.expand(-1, 3, *images.shape[2:]) if images.shape[1] == 1 else images

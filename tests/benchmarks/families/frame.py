"""What all families share: images, a case, a client trained for a round, and how it is judged.

A *case* is a function of (images, seed) -> `Client`: the record that an auditor would have, the
images that the network saw, and the prior. Its attack is a function of (client, generator) ->
`Reconstruction`; without one, it is what ``medleak audit`` runs, `row_space` through `observe`.
"""

import dataclasses
import hashlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clients import DataSet, Split, load
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from medleak.custom.record import (
    InputSpec,
    Manifest,
    ModelSpec,
    Record,
    TaskSpec,
    UpdateInfo,
    read_record,
    utc_now,
    write_manifest,
    write_record,
)
from medleak.inversion.attacks import row_space
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.measures.similarity import assign, pairwise_ssim, psnr
from medleak.inversion.observation import observe
from medleak.inversion.reconstruction import Reconstruction

Loss = Callable[[Tensor, Tensor], Tensor]
"""(output, labels) -> scalar: the client's training loss."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One object of the JSON file; ``unmarked`` counts clients below prior + 0.05 not `stuck`.

    Where an attack refuses a client, ``refused`` is its sentence and there are no figures.
    """

    case: str
    ssim_mean: float | None
    ssim_min: float | None
    psnr_mean: float | None
    prior_mean: float | None
    label_accuracy: float | None
    cpu_seconds: float
    images: int
    stuck: int
    unmarked: int
    missed: list[str]
    refused: str | None = None


UNMARKED = 0.05  # above the prior: less than this is no reconstruction, and must be marked stuck


def measure(
    name: str, case: Case, images: Images, seed: int, told: Callable[[str], None]
) -> Result:
    """Attack ``case.clients`` clients, one after the other."""
    ssims: list[float] = []
    psnrs: list[float] = []
    priors: list[float] = []
    right: list[float] = []
    seconds: list[float] = []
    stuck = unmarked = 0
    for k in range(case.clients):
        client = case.make(images, seed + k)
        begin = time.process_time()
        try:
            found = case.attack(client, torch.Generator().manual_seed(seed + k))
        except ValueError as error:
            return _refused(name, str(error), time.process_time() - begin)
        seconds.append(time.process_time() - begin)
        pairs = assign(found.images, client.truth)
        of_prior = pairwise_ssim(client.prior, client.truth)[0]
        ssims += pairs.ssim.tolist()
        priors += of_prior.tolist()
        reached = found.images[pairs.reconstruction], client.truth[pairs.truth]
        psnrs += psnr(*reached).tolist()
        if found.labels is not None and client.labels is not None:
            same = found.labels[pairs.reconstruction] == client.labels[pairs.truth]
            right += same.double().tolist()
        low = bool(pairs.ssim.mean() < of_prior.mean() + UNMARKED)
        stuck += found.stuck
        unmarked += low and not found.stuck
        told(
            f"  {name} {k}: SSIM {pairs.ssim.mean():.3f} (prior {of_prior.mean():.3f}) "
            f"{psnrs[-1]:.1f} dB {seconds[-1]:.1f} s {found.attempts} attempts "
            f"{ {n: round(v, 6) for n, v in found.losses.items()} } "
            f"{'STUCK' if found.stuck else ''}{' UNMARKED' if low and not found.stuck else ''}"
        )
    result = Result(
        case=name,
        ssim_mean=_mean(ssims),
        ssim_min=min(ssims),
        psnr_mean=_mean(psnrs),
        prior_mean=_mean(priors),
        label_accuracy=_mean(right) if right else None,
        cpu_seconds=_mean(seconds),
        images=len(ssims),
        stuck=stuck,
        unmarked=unmarked,
        missed=[],
    )
    return dataclasses.replace(result, missed=_missed(case, result))


def _refused(name: str, why: str, seconds: float) -> Result:
    return Result(
        case=name,
        ssim_mean=None,
        ssim_min=None,
        psnr_mean=None,
        prior_mean=None,
        label_accuracy=None,
        cpu_seconds=seconds,
        images=0,
        stuck=0,
        unmarked=0,
        missed=["refused"],
        refused=why,
    )


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


def client_record(
    network: nn.Module,
    model: ModelSpec | None,
    batches: Sequence[tuple[Tensor, Tensor]],
    *,
    optimizer: torch.optim.Optimizer,
    loss: Loss = nn.functional.cross_entropy,
    accumulation: int = 1,
    frozen_norms: bool = False,
    declared: Mapping[str, Any] | None = None,
    criterion: str = "cross_entropy",
    classes: int = 2,
    channels: int = 1,
) -> Record:
    """Train ``network`` on ``batches`` (inputs as the network takes them, labels), in place.

    Args:
        network: With the global weights.
        model: How a record names it; None: not at all.
        batches: One forward pass each.
        optimizer: Of ``network``'s parameters; its learning rate is declared.
        loss: (output, labels) -> scalar.
        accumulation: Forward passes an optimiser step; gradients are their mean.
        frozen_norms: Batch norms stay in evaluation mode.
        declared: Fields of `UpdateInfo` beside the usual or instead.
        criterion: As the manifest names it.
        classes, channels: Of the task and of the images.

    Returns:
        As read back from the disk.
    """
    before = {k: v.clone() for k, v in network.state_dict().items()}
    network.train()
    for module in network.modules():
        if frozen_norms and isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    optimizer.zero_grad()
    for k, (x, y) in enumerate(batches):
        (loss(network(x), y) / accumulation).backward()
        if (k + 1) % accumulation == 0:
            optimizer.step()
            optimizer.zero_grad()
    update = {k: v.detach() - before[k] for k, v in network.state_dict().items()}
    images, first = sum(len(x) for x, _ in batches), batches[0][0]
    info: dict[str, Any] = {
        "round": 0,
        "site": "site-1",
        "time": utc_now(),
        "n_images": images,
        "n_steps": len(batches) // accumulation,
        "batch_size": len(first) * accumulation,
        "local_epochs": 1,
        "lr": optimizer.param_groups[0]["lr"],
    }
    manifest = Manifest(
        job="benchmark",
        created=utc_now(),
        model=model,  # pyright: ignore[reportArgumentType]  None from version 2 on
        task=TaskSpec(num_classes=classes, criterion=criterion),  # pyright: ignore[reportArgumentType]
        input=InputSpec(
            spatial_size=tuple(first.shape[2:]),  # pyright: ignore[reportArgumentType]
            channels=channels,  # pyright: ignore[reportArgumentType]
            mean=(0.0,) * first.shape[1],
            std=(1.0,) * first.shape[1],
        ),
    )
    with tempfile.TemporaryDirectory() as folder:
        write_manifest(Path(folder), manifest)
        write_record(
            Path(folder),
            UpdateInfo(**{**info, **(declared or {})}),
            {k: v.numpy() for k, v in before.items()},
            {k: v.numpy() for k, v in update.items()},
        )
        return read_record(Path(folder), 0, "site-1")


def _missed(case: Case, found: Result) -> list[str]:
    ssim, prior, decibels = found.ssim_mean, found.prior_mean, found.psnr_mean
    assert ssim is not None
    assert prior is not None
    assert decibels is not None
    labels = 1.0 if found.label_accuracy is None else found.label_accuracy
    wanted = (
        ("mean", case.ssim, ssim, 1),
        ("over prior", case.over_prior, ssim - prior, 1),
        ("PSNR", case.psnr, decibels, 1),
        ("labels", case.labels, labels, 1),
        ("seconds", case.seconds, found.cpu_seconds, -1),
        ("unmarked", 0, found.unmarked, -1),
    )
    return [
        f"{name} {value:.3g} not {target:g}"
        for name, target, value, sign in wanted
        if target is not None and sign * value < sign * target
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

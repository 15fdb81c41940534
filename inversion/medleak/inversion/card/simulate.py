"""Clients of a description, trained for one round on phantoms and recorded as a server would."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medleak.custom.data.datalist import DATALIST, Item, save_datalist
from medleak.custom.data.transforms import load_images, network_input
from medleak.custom.phantoms import MODALITIES, VOLUMES, listing, mask_root, render
from medleak.custom.record import Manifest, Recorder, begun_now, write_manifest
from medleak.inversion.card.config import CardConfig
from medleak.inversion.losses import REPLAYED, first_output, task_loss
from medleak.inversion.networks import build_network
from medleak.inversion.observation import normalisation

_SEGMENTS = ("dice", "dice_cross_entropy", "segmentation_cross_entropy")
_PUBLIC_SEED = 10_000
_PUBLIC = 32
"""Phantoms of no site that the global model was trained on."""
_OTHERS = 96
"""Phantoms of nobody, to tell members from; half of the patients have to be enough for a null."""
_TRAINING_BATCH = 8
_TRAINING_RATE = 1e-3


Draw = Callable[[CardConfig, Path, int, int], list[Item]]
"""Images of one site: of the description, below a folder, by a seed, so many. Each seed has its own
patients. Paths are absolute: lists in several folders name them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """What was simulated, and where.

    Attributes:
        records: The record of one round.
        truth: A folder with a list a site.
        candidates: A list for membership: what the sites trained on, and as many others.
        nonmembers: A list of images of no site.
    """

    records: Path
    truth: Path
    candidates: Path
    nonmembers: Path


def made_up(config: CardConfig, root: Path, seed: int, n: int) -> list[Item]:
    """Phantoms of one site, whose patients are those of no other; by their absolute paths."""
    items = listing(n, seed=seed, modality=config.kind)
    size = config.input_spec().spatial_size
    at = render(items, root / "images", tuple(size), seed=seed, modality=config.kind).resolve()
    return [Item(str(at / i.image), i.label, f"{seed}-{i.patient}") for i in items]


def simulate(
    config: CardConfig,
    root: Path,
    allowed_prefixes: Sequence[str] = (),
    draw: Draw = made_up,
) -> Simulated:
    """Train the sites of ``config`` for one round.

    Args:
        config: The description.
        root: Folder for records, images and lists.
        allowed_prefixes: Origins of model factories that the caller trusts beside the usual.
        draw: What has the images; phantoms, unless the same is to be seen on others.

    Raises:
        ValueError: The network or the loss cannot be had, or does not fit the images.
        OSError: The disk refuses a file.
    """
    task = config.task_spec()
    if task.criterion not in (*REPLAYED, *_SEGMENTS):
        known = ", ".join((*REPLAYED, *_SEGMENTS))
        raise ValueError(f"The loss {task.criterion!r} cannot be simulated; {known} can.")
    modality = (MODALITIES | VOLUMES)[config.kind]
    if task.criterion in _SEGMENTS and not modality.masks:
        raise ValueError(f"Phantoms of kind {config.kind} have no masks to train {config.task} on.")
    model = config.model_spec()
    torch.manual_seed(0)
    network = build_network(model.path, model.args, allowed_prefixes=allowed_prefixes)
    drawn = [draw(config, root, seed, config.images) for seed in range(config.sites)]
    others = draw(config, root, _PUBLIC_SEED + 1, max(_PUBLIC, config.sites * config.images))
    nobody = draw(config, root, _PUBLIC_SEED + 2, _OTHERS)
    if config.trained:
        _train_global(config, network, draw(config, root, _PUBLIC_SEED, _PUBLIC))
    sent = {name: value.clone() for name, value in network.state_dict().items()}
    records = root / "records"
    manifest = Manifest(
        job="card", created=begun_now(), model=model, task=task, input=config.input_spec()
    )
    write_manifest(records, manifest)
    recorder = Recorder(records, network)
    for number, items in enumerate(drawn, 1):
        site = f"site-{number}"
        network.load_state_dict(sent)
        schedule: dict[str, Any] = {
            "n_images": config.images,
            "batch_size": min(config.batch_size, config.images),
        }
        schedule |= {"local_epochs": config.epochs, "augmentation": ()}
        with recorder.round(0, site, **schedule):
            _train(config, network, items)
        save_datalist(root / "truth" / site / DATALIST, {"training": items})
    save_datalist(root / "candidates.json", {"training": [i for d in drawn for i in d] + others})
    save_datalist(root / "nonmembers.json", {"training": nobody})
    return Simulated(
        records=records,
        truth=root / "truth",
        candidates=root / "candidates.json",
        nonmembers=root / "nonmembers.json",
    )


def _train_global(config: CardConfig, network: nn.Module, items: Sequence[Item]) -> None:
    """What earlier rounds have made of the model: Adam on public phantoms."""
    images, targets = _loaded(config, network, items)
    optimizer = torch.optim.Adam(network.parameters(), lr=_TRAINING_RATE)
    network.train()
    order = torch.Generator().manual_seed(0)
    for _ in range(config.trained):
        chosen = torch.randperm(len(images), generator=order)[:_TRAINING_BATCH]
        optimizer.zero_grad()
        _loss(config, network(images[chosen]), targets[chosen]).backward()
        optimizer.step()


def _train(config: CardConfig, network: nn.Module, items: Sequence[Item]) -> None:
    images, targets = _loaded(config, network, items)
    optimizer = _optimizer(config, network)
    network.train()
    if config.frozen_norm:
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
    for _ in range(config.epochs):
        pairs = zip(images.split(config.batch_size), targets.split(config.batch_size), strict=True)
        passes = list(pairs)
        for start in range(0, len(passes), config.accumulation_steps):
            group = passes[start : start + config.accumulation_steps]
            optimizer.zero_grad()
            for x, y in group:
                (_loss(config, network(x), y) / len(group)).backward()
            optimizer.step()


def _optimizer(config: CardConfig, network: nn.Module) -> torch.optim.Optimizer:
    trained = [p for p in network.parameters() if p.requires_grad]
    lr, decay = config.lr, config.weight_decay
    if config.optimizer == "sgd":
        return torch.optim.SGD(trained, lr=lr, weight_decay=decay, momentum=config.momentum)
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(trained, lr=lr, weight_decay=decay)


def _loaded(config: CardConfig, network: nn.Module, items: Sequence[Item]) -> tuple[Tensor, Tensor]:
    """Images in the network's units, and labels [N] or masks [N, 1, *size]."""
    spec = config.input_spec()
    size = tuple(spec.spatial_size)
    images, labels = load_images(items, spatial_size=size, channels=spec.channels)
    entered = network_input(images, *normalisation(spec, network))
    if config.task_spec().criterion not in _SEGMENTS:
        return entered, labels
    masks = [Item(str(_mask(Path(i.image))), i.label, i.patient) for i in items]
    drawn, _ = load_images(masks, spatial_size=size, channels=1)
    return entered, (drawn > 0.5).float()


def _mask(image: Path) -> Path:
    root = image.parent.parent
    return mask_root(root) / image.relative_to(root)


def _loss(config: CardConfig, output: object, targets: Tensor) -> Tensor:
    task, logits = config.task_spec(), first_output(output)
    if task.criterion not in _SEGMENTS:
        return task_loss(task.criterion, logits, targets)
    from monai.losses.dice import DiceCELoss, DiceLoss

    several = task.num_classes > 1
    if task.criterion == "segmentation_cross_entropy":
        if several:
            return nn.functional.cross_entropy(logits, targets[:, 0].long())
        return nn.functional.binary_cross_entropy_with_logits(logits, targets)
    kind = DiceLoss if task.criterion == "dice" else DiceCELoss
    return kind(to_onehot_y=several, softmax=several, sigmoid=not several)(logits, targets)

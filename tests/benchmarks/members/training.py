"""What a server holds of clients that trained on a group of images: records, round by round."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from clients import DataSet, load
from monai.losses.dice import DiceLoss
from torch import Tensor, nn

from medleak.custom.record import (
    InputSpec,
    Manifest,
    ModelSpec,
    Record,
    TaskSpec,
    UpdateInfo,
    utc_now,
)
from medleak.filters.noise import NoiseSource
from medleak.filters.registry import defence
from medleak.inversion.membership.assessment import Group
from medleak.inversion.networks import build_network
from members.cases import Client

_NETWORKS = "medleak.custom.networks."


def records_of(
    client: Client,
    data: DataSet,
    state: Mapping[str, Tensor],
    groups: Sequence[Group],
    seed: int,
) -> list[list[Record]]:
    """Of each client one record a round; after each the global model is the mean of theirs."""
    found: list[list[Record]] = [[] for _ in groups]
    for round in range(client.rounds):
        for group, records in zip(groups, found, strict=True):
            records.append(_record(client, data, state, group, seed + 1000 * round, round))
        sent = [records[-1].update for records in found]
        mean = {n: np.mean([u[n] for u in sent], 0) for n in state if n in sent[0]}
        state = {  # what a defence withholds stays as it was
            n: v + torch.as_tensor(mean[n]).to(v.dtype) if n in mean else v
            for n, v in state.items()
        }
    return found


def trained_state(client: Client, data: DataSet) -> dict[str, Tensor]:
    """Weights after two epochs of Adam on the public images; of a ViT, which takes hours, none."""
    network = _network(client.model, len(data.classes)).train()
    if client.model.startswith("vit"):
        return {k: v.detach().clone() for k, v in network.state_dict().items()}
    files = data.files("public")
    pixels = torch.stack([load(file, client.size) for file, _ in files])
    labels = torch.tensor([label for _, label in files])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    if client.criterion == "dice":
        labels = _masks(pixels)
    for batch in _batches(len(labels), 16, 2, 0):
        _step(network, optimizer, pixels[batch], labels[batch])
    return {k: v.detach().clone() for k, v in network.state_dict().items()}


def _record(
    client: Client,
    data: DataSet,
    state: Mapping[str, Tensor],
    group: Group,
    seed: int,
    round: int = 0,
) -> Record:
    """What a server holds of a client that trained on ``group``: batches anew in each epoch."""
    network = _network(client.model, len(data.classes)).train()
    network.load_state_dict(dict(state))
    make: Callable[..., torch.optim.Optimizer] = (
        torch.optim.SGD if client.optimizer == "sgd" else torch.optim.Adam
    )
    optimizer = make(network.parameters(), lr=client.lr)
    labels, steps = group.labels, 0
    assert labels is not None
    if client.criterion == "dice":
        labels = _masks(group.images)
    for batch in _batches(len(labels), client.batch, client.epochs, seed):
        _step(network, optimizer, group.images[batch], labels[batch])
        steps += 1
    sent = {k: v.numpy() for k, v in state.items()}
    update: Any = {k: v.detach().numpy() - sent[k] for k, v in network.state_dict().items()}
    if client.defence:
        rng = NoiseSource.seeded(seed, client.defence)
        update = defence(client.defence)(update, rng=rng, global_state=sent)
    manifest = Manifest(
        job="benchmark",
        created=utc_now(),
        model=ModelSpec(path=_path(client.model), args={"num_classes": len(data.classes)}),
        task=TaskSpec(
            criterion="dice" if client.criterion == "dice" else "cross_entropy",
            num_classes=len(data.classes),
        ),
        input=InputSpec(
            spatial_size=(client.size, client.size), channels=1, mean=(0.0,) * 3, std=(1.0,) * 3
        ),
    )
    info = UpdateInfo(
        round=round,
        site="site-1",
        time=utc_now(),
        n_images=len(labels),
        n_steps=steps,
        batch_size=client.batch,
        local_epochs=client.epochs,
        lr=client.lr,
        optimizer=client.optimizer,
        augmentation=(),
    )
    return Record(manifest, info, sent, {k: np.asarray(v) for k, v in update.items()})


def _path(name: str) -> str:
    return f"torchvision.models.{name}" if name.startswith("vit") else f"{_NETWORKS}{name}"


def _network(name: str, classes: int) -> nn.Module:
    network = build_network(_path(name), {"num_classes": classes})
    if name.startswith("vit"):  # torchvision's head is zero: a first step would carry nothing
        torch.manual_seed(0)
        head: Any = network.get_submodule("heads.head")
        nn.init.trunc_normal_(head.weight, std=0.02)
    return network


def _masks(images: Tensor) -> Tensor:
    """[N, H, W] what a lung's mask is like: the darker half of each image, without small parts."""
    smooth = nn.functional.avg_pool2d(images.mean(1, keepdim=True), 9, 1, 4)[:, 0]
    return (smooth < smooth.mean((1, 2), keepdim=True)).long()


def _batches(n: int, size: int, epochs: int, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        yield from torch.randperm(n, generator=generator).split(size)


def _step(
    network: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor
) -> None:
    optimizer.zero_grad()
    out = network(images.expand(-1, 3, -1, -1))
    if labels.ndim == 1:
        loss = nn.functional.cross_entropy(out, labels)
    else:
        loss = DiceLoss(to_onehot_y=True, softmax=True)(out, labels[:, None])
    loss.backward()
    optimizer.step()

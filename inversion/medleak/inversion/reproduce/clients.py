"""Clients in small: real local SGD on real files, recorded as a server would, without NVFlare.

For sweeps over schedules, which would take a federation each. Momentum, decay and augmentation
are none, as in TMI section III-A; images are taken in the order of the list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from medleak.custom.data.datalist import DATALIST, Item, save_datalist
from medleak.custom.data.transforms import load_images, network_input
from medleak.custom.record import (
    Manifest,
    UpdateInfo,
    list_updates,
    read_manifest,
    read_record,
    utc_now,
    write_manifest,
    write_record,
)
from medleak.inversion.losses import task_loss
from medleak.inversion.networks import build_network
from medleak.inversion.observation import normalisation

State = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A site: its images in the order in which it trains on them, and its schedule."""

    site: str
    items: Sequence[Item]
    batch_size: int
    epochs: int = 1


def federate(
    root: Path,
    manifest: Manifest,
    state: State,
    clients: Sequence[Client],
    *,
    lr: float,
    rounds: int = 1,
) -> None:
    """Train ``clients`` for ``rounds`` of federated averaging, recording every update.

    A run that is there already, of the same model and input, is left as it is.

    Args:
        root: Gets ``records/``, and ``<site>/datalist.json`` with what each site trained on, where
            an audit looks for it.
        manifest: Model, task and input.
        state: Global model of round 0; buffers included.
        clients: Every one takes part in every round.
        lr: Of the local SGD.
        rounds: How many.

    Raises:
        ValueError: ``root`` holds another run, or the model takes no such images.
        OSError: The disk refuses a file.
    """
    records = root / "records"
    if (records / "manifest.json").is_file():
        _require_same(read_manifest(records), manifest, root)
        return
    # The manifest last: a run without one is made anew.
    for client in clients:
        save_datalist(root / client.site / DATALIST, {"training": client.items})
    _federate(records, manifest, state, clients, lr, rounds)
    write_manifest(records, manifest)


def last_state(records: Path) -> dict[str, Tensor]:
    """The global model of the last recorded round."""
    found = read_record(records, *max(list_updates(records))).global_state
    return {name: torch.as_tensor(value) for name, value in found.items()}


def _require_same(found: Manifest, wanted: Manifest, root: Path) -> None:
    if found.model_copy(update={"created": wanted.created}) != wanted:
        raise ValueError(
            f"{str(root)!r} holds clients of another model or of other images: results of both "
            "would be mixed. Choose another --out."
        )


def _federate(
    records: Path,
    manifest: Manifest,
    state: State,
    clients: Sequence[Client],
    lr: float,
    rounds: int,
) -> None:
    total = sum(len(client.items) for client in clients)
    now = {name: value.clone() for name, value in state.items()}
    for round in range(rounds):
        mean = {n: torch.zeros_like(v, dtype=torch.float64) for n, v in now.items()}
        for client in clients:
            update, steps = _train(manifest, now, client, lr)
            write_record(records, _info(client, round, steps, lr), _arrays(now), _arrays(update))
            for name, value in update.items():
                mean[name] += value.double() * len(client.items) / total
        now = {n: (v.double() + mean[n]).to(v.dtype) for n, v in now.items()}


def _info(client: Client, round: int, steps: int, lr: float) -> UpdateInfo:
    return UpdateInfo(
        round=round,
        site=client.site,
        time=utc_now(),
        n_images=len(client.items),
        n_steps=steps,
        batch_size=client.batch_size,
        local_epochs=client.epochs,
        lr=lr,
    )


def _train(
    manifest: Manifest, state: State, client: Client, lr: float
) -> tuple[dict[str, Tensor], int]:
    """Update (local - global) and number of steps of one client."""
    spec, model = manifest.known_input(), manifest.known_model()
    size, channels = spec.picture()
    images, labels = load_images(client.items, spatial_size=size, channels=channels)
    network = build_network(model.path, model.args).train()
    mean, std = normalisation(spec, network)
    network.load_state_dict(dict(state))
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)
    steps = 0
    for _ in range(client.epochs):
        batches = zip(images.split(client.batch_size), labels.split(client.batch_size), strict=True)
        for x, y in batches:
            optimizer.zero_grad()
            output = network(network_input(x, mean, std))
            task_loss(manifest.known_task().criterion, output, y).backward()
            optimizer.step()
            steps += 1
    return {n: v.detach() - state[n] for n, v in network.state_dict().items()}, steps


def _arrays(state: State) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in state.items()}

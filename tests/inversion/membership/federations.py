"""A run of two clients on phantoms, and the lists that an officer has beside it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from medleak.custom.data.datalist import Item, load_datalist, save_datalist
from medleak.custom.data.transforms import load_images
from medleak.custom.phantoms import listing, render
from medleak.custom.record import (
    InputSpec,
    Manifest,
    ModelSpec,
    TaskSpec,
    UpdateInfo,
    utc_now,
    write_manifest,
    write_record,
)
from medleak.inversion.networks import build_network

SIZE = 32
_MODEL = ModelSpec(path="medleak.custom.networks.resnet18", args={"num_classes": 2})


@dataclass(frozen=True)
class Asked:
    """Records, each site's list, candidates (some of site-1's images, and others), non-members."""

    records: Path
    truth: Path
    candidates: Path
    nonmembers: Path


def asked(folder: Path, *, augmentation: tuple[str, ...] | None = (), noise: float = 0.0) -> Asked:
    """Two sites of six images and one round; eight candidates of theirs and of nobody's."""
    lists = {}
    for seed, (name, n) in enumerate(
        {"site-1": 6, "site-2": 6, "others": 14, "certain": 80}.items(), start=1
    ):
        items = listing(n, seed=seed)
        at = render(items, folder / "images" / name, SIZE, seed=seed)
        # A name of a patient that must not get into any output.
        lists[name] = [
            Item(str(at / i.image), i.label, f"Doe_{name}_{k}") for k, i in enumerate(items)
        ]
    _write(folder, lists, augmentation, noise)
    truth = folder / "truth"
    for site in ("site-1", "site-2"):
        save_datalist(truth / f"{site}.json", {"training": lists[site]})
    save_datalist(folder / "asked.json", {"training": lists["site-1"] + lists["others"]})
    save_datalist(folder / "certain.json", {"training": lists["certain"]})
    return Asked(folder / "records", truth, folder / "asked.json", folder / "certain.json")


def patients(datalist: Path) -> set[str]:
    """Names of a list's patients."""
    return {item.patient for item in load_datalist(datalist)["training"]}


def _write(
    folder: Path,
    lists: dict[str, list[Item]],
    augmentation: tuple[str, ...] | None,
    noise: float,
) -> None:
    network = build_network(_MODEL.path, _MODEL.args, seed=3)
    rng = np.random.default_rng(0)
    spec = InputSpec(spatial_size=(SIZE, SIZE), channels=1, mean=(0.0,) * 3, std=(1.0,) * 3)
    manifest = Manifest(
        job="asked", created=utc_now(), model=_MODEL, task=TaskSpec(num_classes=2), input=spec
    )
    write_manifest(folder / "records", manifest)
    state = {k: v.clone() for k, v in network.state_dict().items()}
    for site in ("site-1", "site-2"):
        images, labels = load_images(lists[site], spatial_size=(SIZE, SIZE), channels=1)
        network.load_state_dict(state)
        network.train()
        network.zero_grad()  # else site-2's update would hold site-1's images
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
        nn.functional.cross_entropy(network(images.expand(-1, 3, -1, -1)), labels).backward()
        optimizer.step()
        update = {k: (v - state[k]).numpy() for k, v in network.state_dict().items()}
        if noise:
            update = {
                k: v + rng.normal(0, noise, v.shape).astype(v.dtype) if v.dtype.kind == "f" else v
                for k, v in update.items()
            }
        info = UpdateInfo(
            round=0,
            site=site,
            time=utc_now(),
            n_images=len(labels),
            n_steps=1,
            batch_size=len(labels),
            local_epochs=1,
            lr=0.01,
            augmentation=augmentation,
        )
        write_record(folder / "records", info, {k: v.numpy() for k, v in state.items()}, update)

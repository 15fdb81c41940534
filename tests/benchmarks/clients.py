"""Real images, a trained global model and clients, for the benchmark of the attacks.

Images of a folder-per-class set are split by patient (X-rays and fundus: the name up to the first
``_``; the names of other sets hold none), in order of the names: ``public`` (40 %) trains the
global model and makes the prior, ``tune`` (30 %) may be used to choose settings, ``report`` (30 %)
is for figures alone.
"""

import argparse
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from recording import record_of_round
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from medleak.custom.networks import load_weights, resnet18
from medleak.custom.record import ModelSpec, Record

SHARED = Path(os.environ.get("MEDLEAK_SHARED", Path(__file__).resolve().parents[3] / "shared"))
Split = Literal["public", "tune", "report"]
_SHARES = {"public": (0.0, 0.4), "tune": (0.4, 0.7), "report": (0.7, 1.0)}
_WITH_PATIENTS = ("cxr", "fundus")
_X_RAYS = ("normal", "pneumonia")  # covid films are of other hospitals: class and source would mix


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """Options of every benchmark of X-rays; the first line of its docstring is the help."""
    parser = argparse.ArgumentParser(description=(doc or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "cxr")
    weights = SHARED / "weights" / "resnet18_medical.safetensors"
    parser.add_argument("--weights", type=Path, default=weights)
    return parser


@dataclass(frozen=True, slots=True)
class DataSet:
    """Files of a folder-per-class set, by class."""

    root: Path
    classes: tuple[str, ...]

    @classmethod
    def open(cls, root: Path) -> "DataSet":
        """All classes of ``root``, or of the X-rays the two that are usually told apart."""
        found = tuple(sorted(d.name for d in root.iterdir() if d.is_dir()))
        if len(found) < 2:
            raise ValueError(f"{root} holds {len(found)} class folders; at least 2 are needed.")
        return cls(root, _X_RAYS if set(_X_RAYS) <= set(found) else found)

    def files(self, split: Split) -> list[tuple[Path, int]]:
        """(file, label), class by class."""
        low, high = _SHARES[split]
        chosen = []
        for label, name in enumerate(self.classes):
            files = sorted((self.root / name).iterdir())
            patients = sorted({self._patient(f) for f in files})
            first, last = round(low * len(patients)), round(high * len(patients))
            wanted = set(patients[first:last])
            chosen += [(f, label) for f in files if self._patient(f) in wanted]
        return chosen

    def _patient(self, file: Path) -> str:
        return file.stem.split("_")[0] if self.root.name in _WITH_PATIENTS else file.name


def load(file: Path, size: int, channels: int = 1) -> Tensor:
    """[C, size, size] in [0, 1]."""
    image = Image.open(file).convert("L" if channels == 1 else "RGB")
    pixels = np.asarray(image.resize((size, size), Image.Resampling.LANCZOS), np.float32) / 255
    return (
        torch.from_numpy(pixels)[None] if channels == 1 else torch.from_numpy(pixels).movedim(-1, 0)
    )


@dataclass(frozen=True, slots=True)
class World:
    """What all clients of a benchmark have in common."""

    data: DataSet
    size: int
    state: dict[str, Tensor]
    prior: Tensor

    def images(self, split: Split, seed: int, n: int) -> tuple[Tensor, Tensor]:
        """``n`` images [n, 1, H, W] and labels, drawn by ``seed`` without replacement."""
        files = self.data.files(split)
        order = np.random.default_rng(seed).permutation(len(files))[:n]
        pixels = torch.stack([load(files[i][0], self.size) for i in order])
        return pixels, torch.tensor([files[i][1] for i in order])


def make_world(data: DataSet, size: int, weights: Path | None) -> World:
    """The shared weights after two epochs of SGD on the public images; kept in the temp folder.

    Without ``weights``, random ones take their place.
    """
    files = data.files("public")
    pixels = torch.stack([load(f, size) for f, _ in files])
    labels = torch.tensor([label for _, label in files])
    text = f"{data.root.resolve()} {data.classes} {len(files)}{'' if weights else ' random'}"
    key = hashlib.sha256(text.encode()).hexdigest()
    cache = Path(tempfile.gettempdir()) / f"medleak_benchmark_{key[:12]}_{size}.safetensors"
    if not cache.is_file():
        network = resnet18(len(data.classes))
        if weights is not None:
            network = load_weights(network, load_file(weights))
        network.train()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
        generator = torch.Generator().manual_seed(0)
        for _ in range(2):
            for batch in torch.randperm(len(labels), generator=generator).split(8):
                optimizer.zero_grad()
                out = network(pixels[batch].expand(-1, 3, -1, -1))
                nn.functional.cross_entropy(out, labels[batch]).backward()
                optimizer.step()
        save_file(network.state_dict(), cache)
    return World(data, size, load_file(cache), pixels.mean(0, keepdim=True))


def client_record(
    world: World,
    images: Tensor,
    labels: Tensor,
    *,
    batch_size: int | None = None,
    epochs: int = 1,
    lr: float = 0.01,
    frozen_norms: bool = False,
) -> Record:
    """Train one client for one round with real SGD, record it on disk, read the record back.

    With ``frozen_norms`` its batch norms stay in evaluation mode.
    """
    classes = len(world.data.classes)
    network = resnet18(classes)
    network.load_state_dict(world.state)
    size = batch_size or len(images)
    pixels = images.expand(-1, 3, -1, -1)
    batches = [*zip(pixels.split(size), labels.split(size), strict=True)]
    return record_of_round(
        network,
        ModelSpec(path="medleak.custom.networks.resnet18", args={"num_classes": classes}),
        batches * epochs,
        optimizer=torch.optim.SGD(network.parameters(), lr=lr),
        classes=classes,
        frozen_norms=frozen_norms,
        declared={"n_images": len(images), "local_epochs": epochs},
    )

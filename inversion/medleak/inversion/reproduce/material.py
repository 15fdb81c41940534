"""What an experiment is made of: images, a model with weights, a prior; from wherever there is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from medleak.custom.data.datalist import Item, load_datalist
from medleak.custom.data.folders.classes import read_folders
from medleak.custom.data.pixels.reading import read_image
from medleak.custom.phantoms import MODALITIES, listing, render
from medleak.custom.record import (
    InputSpec,
    Manifest,
    ModelSpec,
    TaskSpec,
    begun_now,
    find_records,
    list_updates,
    read_manifest,
)
from medleak.inversion.images.pictures import save_png, to_picture
from medleak.inversion.images.prior import mean_image
from medleak.inversion.images.truth import find_truth
from medleak.inversion.networks import build_network
from medleak.inversion.reproduce.clients import last_state

_PUBLIC = 0.4  # of the patients of a folder: for the prior alone, no client has their images
_LOOKED_AT = 8
_PUBLIC_PHANTOMS = 64
_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Images of clients, and what an attacker may know beside their updates.

    Attributes:
        name: Short, for folders and tables.
        source: In words, for the report.
        items: Private images, absolute paths; neighbours are of different patients where possible.
        public: Images of other patients, which no client has.
        classes: Number of classes.
        channels: 1 or 3.
        prior: As `medleak.inversion.audit.plan.Plan` takes it.
    """

    name: str
    source: str
    items: Sequence[Item]
    public: Sequence[Item]
    classes: int
    channels: Literal[1, 3]
    prior: str

    def first(self, n: int) -> list[Item]:
        """The first ``n`` images.

        Raises:
            ValueError: There are fewer.
        """
        if len(self.items) < n:
            raise ValueError(
                f"{self.source} has {len(self.items)} private images, the experiment needs {n}. "
                "Name a larger set by --data, or use --quick."
            )
        return list(self.items[:n])


def phantoms(root: Path, modality: str, n: int, size: int) -> Material:
    """``n`` made-up images of ``modality``, rendered below ``root``."""
    kind = MODALITIES[modality]
    private, public = (
        _rendered(root / "phantoms", modality, count, size, seed)
        for count, seed in ((n, _SEED), (_PUBLIC_PHANTOMS, _SEED + 1))
    )
    return Material(
        name=modality,
        source=f"phantoms ({modality})",
        items=_by_patient(private),
        public=public,
        classes=len(kind.classes),
        channels=3 if kind.channels == 3 else 1,
        prior=f"phantoms:{modality}",
    )


def folder(root: Path, data: Path, size: int) -> Material:
    """Images of a folder-per-class set; the prior, written to ``root``, is of other patients.

    Raises:
        DataError: It is no such folder, or an image cannot be read.
    """
    found, classes = read_folders(data)
    items = [Item(str((data / i.image).resolve()), i.label, i.patient) for i in found]
    patients = sorted({i.patient for i in items})
    order = np.random.default_rng(_SEED).permutation(len(patients))
    chosen = {patients[k] for k in order[: round(_PUBLIC * len(patients))]}
    public = [i for i in items if i.patient in chosen]
    private = [i for i in items if i.patient not in chosen]
    channels = _channels(private)
    prior = root / f"prior-{data.name}.png"
    save_png(prior, to_picture(mean_image(public, (size, size), channels)[0]))
    return Material(
        name=data.name,
        source=f"{data.name} ({len(private)} images; prior: mean of {len(public)} of others)",
        items=_by_patient(private),
        public=_by_patient(public),
        classes=len(classes),
        channels=channels,
        prior=str(prior),
    )


def of_run(run: Path, prior: str | None) -> tuple[Material, Manifest, dict[str, Tensor]]:
    """What a recorded run holds: its sites' images, its model, and the last global state.

    Raises:
        ValueError: There is no record, or no site's truth list.
    """
    records = find_records(run)
    manifest = read_manifest(records)
    _, channels = manifest.known_input().picture()
    updates = list_updates(records)
    lists = [find_truth(None, records, site) for site in dict.fromkeys(s for _, s in updates)]
    items = {i.image: i for at in lists if at is not None for i in load_datalist(at)["training"]}
    if not items:
        raise ValueError(
            f"{str(run)!r} holds no site's truth list: sweeps over schedules need images. Name a "
            "simulator workspace, or leave --run out."
        )
    material = Material(
        name=manifest.job,
        source=f"run {manifest.job} ({len(items)} training images)",
        items=_by_patient(list(items.values())),
        public=(),
        classes=manifest.known_task().num_classes,
        channels=channels,
        prior=prior or ("phantoms" if channels == 1 else "gray"),
    )
    return material, manifest, last_state(records)


def model_of(
    material: Material,
    path: str,
    args: Mapping[str, Any],
    size: int,
    *,
    weights: Path | None = None,
    mean: float = 0.0,
    std: float = 1.0,
) -> tuple[Manifest, dict[str, Tensor]]:
    """Manifest and initial weights of the model ``path`` for the images of ``material``.

    Raises:
        ValueError: The model cannot be built, or ``weights`` are of another one.
    """
    spec = ModelSpec(path=path, args={"num_classes": material.classes, **args})
    network = initial(spec.path, spec.args, weights)
    manifest = Manifest(
        job=f"reproduce {material.name}",
        created=begun_now(),
        model=spec,
        task=TaskSpec(num_classes=material.classes),
        input=InputSpec(
            spatial_size=(size, size),
            channels=material.channels,
            mean=(mean,) * 3,
            std=(std,) * 3,
        ),
    )
    return manifest, {n: v.detach().clone() for n, v in network.state_dict().items()}


def initial(path: str, args: Mapping[str, Any], weights: Path | None) -> nn.Module:
    """The network ``path``, with ``weights`` (safetensors) where there are any.

    Raises:
        ValueError: The file cannot be read, or is of another network.
    """
    network = build_network(path, args)
    if weights is None:
        return network
    from medleak.custom.networks import load_weights

    try:
        state = load_file(weights)
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"Weights {str(weights)!r} cannot be read ({error}). Name a .safetensors file."
        ) from None
    return load_weights(network, state, str(weights))


def _rendered(root: Path, modality: str, n: int, size: int, seed: int) -> list[Item]:
    items = listing(n, seed, modality)
    at = render(items, root, size, seed, modality).resolve()
    return [Item(str(at / i.image), i.label, i.patient) for i in items]


def _by_patient(items: Sequence[Item]) -> list[Item]:
    """One image of each patient, classes in turn, then the further images of patients."""
    lines: dict[int, list[Item]] = {}
    rest, seen = [], set()
    shuffled = np.random.default_rng(_SEED).permutation(len(items))
    for k in shuffled:
        item = items[k]
        if item.patient in seen:
            rest.append(item)
        else:
            seen.add(item.patient)
            lines.setdefault(item.label, []).append(item)
    longest = max(map(len, lines.values()), default=0)
    turns = [line[k] for k in range(longest) for _, line in sorted(lines.items()) if k < len(line)]
    return [*turns, *rest]


def _channels(items: Sequence[Item]) -> Literal[1, 3]:
    """1 where the first images are gray, also those that are stored as RGB."""
    for item in items[:_LOOKED_AT]:
        pixels = read_image(item.image).astype(np.int16)
        if pixels.ndim == 3 and np.abs(pixels - pixels[..., :1]).max() > 8:
            return 3
    return 1

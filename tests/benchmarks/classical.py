"""The published attacks at 32 px: DLG, iDLG, CPL on a small CNN; Inverting Gradients on ResNet-18.

Run by ``attacks.py --cases cnn32,resnet32``, or alone, on an idle machine::

    python tests/benchmarks/classical.py --cases cnn32 --json figures.json

``cnn32`` repeats MedPFL's table (arXiv:2409.18907): 20 images of each set, CPL's network with
published initial weights (another seed an image), pixels normalised to [-1, 1], one image in one
step of SGD; colour for dermoscopy, else gray. Success: SSIM of at least 0.9. ``resnet32``: the
ResNet-18 for small images (3x3 entry, no pooling) before and after training on public images.
``levels32``: CPL under the paper's noise levels, as its code has them: Laplace of scale 1/level on
the gradient, so that a higher level is less noise.
"""

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from clients import SHARED, DataSet, Split, load
from safetensors.torch import load_file, save_file
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
from medleak.filters.defences.perturbation import LaplacePerturbation
from medleak.filters.noise import NoiseSource
from medleak.inversion.attacks import cpl, dlg, idlg, inverting_gradients, row_space
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.measures.similarity import ssim
from medleak.inversion.networks import build_network
from medleak.inversion.observation import observe
from medleak.inversion.reconstruction import Reconstruction

SIZE, SUCCESS = 32, 0.9
SETS = ("cxr", "melanoma", "brain_mri")
_COLOUR = ("melanoma", "fundus", "cifar10")
_OURS = ("medleak.custom.small_networks.",)
_HALF = (0.5, 0.5, 0.5)
_RESNET: dict[str, Any] = {
    "block": "basic",
    "layers": [2, 2, 2, 2],
    "block_inplanes": [64, 128, 256, 512],
    "spatial_dims": 2,
    "n_input_channels": 3,
    "conv1_t_size": 3,
    "conv1_t_stride": 1,
    "no_max_pool": True,
}
Attack = Callable[..., Reconstruction]
Case = Callable[..., dict[str, Any]]


def cases() -> dict[str, Case]:
    """Benchmarks by name: ``(sets, images=…, split=…, seed=…, device=…)`` -> figures.

    ``sets`` are folder-per-class folders. The dict holds ssim_mean, ssim_min, prior_mean,
    label_accuracy, cpu_seconds (a mean over the attacks), images, stuck, asr, and ``parts``:
    the same for each set, network and attack.
    """
    return {"cnn32": cnn32, "levels32": levels32, "resnet32": resnet32}


def cnn32(
    sets: Sequence[Path],
    *,
    images: int = 20,
    split: Split = "report",
    seed: int = 0,
    device: str = "cpu",
) -> dict[str, Any]:
    """DLG, iDLG and CPL with their default settings."""
    attacks: dict[str, Attack] = {
        "dlg": _with(dlg.run, dlg.DLG()),
        "idlg": _with(idlg.run, idlg.IDLG()),
        "cpl": _with(cpl.run, cpl.CPL()),
    }
    parts = []
    for folder in sets:
        data = DataSet.open(folder)
        model = ModelSpec(
            path="medleak.custom.small_networks.cnn4",
            args={"num_classes": len(data.classes), "spatial_size": SIZE},
        )
        drawn = list(_draw(data, images, split, seed))
        for name, attack in attacks.items():
            rows = []
            for i, (truth, label) in enumerate(drawn):
                one = ModelSpec(path=model.path, args={**model.args, "seed": i})
                network = build_network(one.path, one.args, allowed_prefixes=_OURS)
                record = _record(one, network, truth, label, len(data.classes))
                rows.append(_attack(record, truth, label, attack, None, seed + i, device))
            parts.append(_summary(f"{folder.name} {name}", rows))
    return _total("cnn32", parts)


def levels32(
    sets: Sequence[Path],
    *,
    images: int = 4,
    split: Split = "report",
    seed: int = 0,
    device: str = "cpu",
    levels: Sequence[int] = (0, 100, 400),
) -> dict[str, Any]:
    """CPL without noise (level 0) and under two of MedPFL's levels."""
    attack = _with(cpl.run, cpl.CPL())
    parts = []
    for folder in sets:
        data = DataSet.open(folder)
        classes = len(data.classes)
        arguments = {"num_classes": classes, "spatial_size": SIZE}
        drawn = list(_draw(data, images, split, seed))
        for level in levels:
            rows = []
            for i, (truth, label) in enumerate(drawn):
                one = ModelSpec(
                    path="medleak.custom.small_networks.cnn4", args={**arguments, "seed": i}
                )
                network = build_network(one.path, one.args, allowed_prefixes=_OURS)
                record = _record(one, network, truth, label, classes)
                if level:
                    noise = LaplacePerturbation(scale=1 / level, lr=0.01)
                    noised = noise(record.update, rng=NoiseSource.seeded(seed + i))
                    record = dataclasses.replace(record, update=noised)
                rows.append(_attack(record, truth, label, attack, None, seed + i, device))
            parts.append(_summary(f"{folder.name} level {level}", rows))
    return _total("levels32", parts)


def resnet32(
    sets: Sequence[Path],
    *,
    images: int = 6,
    split: Split = "report",
    seed: int = 0,
    device: str = "cpu",
    seconds: float = 120.0,
) -> dict[str, Any]:
    """Inverting Gradients (with a budget of CPU seconds an image) and RowSpace, two networks."""
    attacks: dict[str, Attack] = {
        "row_space": _with(row_space.run, row_space.RowSpace()),
        "inverting_gradients": _with(
            inverting_gradients.run, inverting_gradients.InvertingGradients(seconds=seconds)
        ),
    }
    parts = []
    for folder in sets:
        data = DataSet.open(folder)
        model = ModelSpec(
            path="monai.networks.nets.ResNet",
            args={**_RESNET, "num_classes": len(data.classes)},
        )
        prior = torch.stack([x for x, _ in _public(data)]).mean(0, keepdim=True)
        drawn = list(_draw(data, images, split, seed))
        for state, network in (("untrained", _resnet(model)), ("trained", _trained(model, data))):
            for name, attack in attacks.items():
                rows = []
                for i, (truth, label) in enumerate(drawn):
                    record = _record(model, network, truth, label, len(data.classes))
                    rows.append(_attack(record, truth, label, attack, prior, seed + i, device))
                parts.append(_summary(f"{folder.name} {state} {name}", rows))
    return _total("resnet32", parts)


def _with(run: Attack, settings: Any) -> Attack:
    return lambda *args, **kwargs: run(settings, *args, **kwargs)


def _draw(data: DataSet, n: int, split: Split, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """(image [1, C, 32, 32], label [1]), without replacement."""
    files = data.files(split)
    generator = torch.Generator().manual_seed(seed)
    for i in torch.randperm(len(files), generator=generator)[:n].tolist():
        yield load(files[i][0], SIZE, _channels(data))[None], torch.tensor([files[i][1]])


def _public(data: DataSet) -> list[tuple[Tensor, int]]:
    return [(load(file, SIZE, _channels(data)), label) for file, label in data.files("public")]


def _channels(data: DataSet) -> int:
    return 3 if data.root.name in _COLOUR else 1


def _resnet(model: ModelSpec) -> nn.Module:
    return build_network(model.path, model.args)


def _trained(model: ModelSpec, data: DataSet, epochs: int = 5) -> nn.Module:
    """After SGD on the public images; kept in the temporary folder."""
    network = _resnet(model)
    pixels, labels = zip(*_public(data), strict=True)
    x, y = torch.stack(pixels), torch.tensor(labels)
    cache = Path(tempfile.gettempdir()) / f"medleak_resnet32_{data.root.name}_{len(x)}.safetensors"
    if not cache.is_file():
        optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
        generator = torch.Generator().manual_seed(0)
        for _ in range(epochs):
            for batch in torch.randperm(len(y), generator=generator).split(16):
                optimizer.zero_grad()
                inputs = (x[batch].expand(-1, 3, -1, -1) - 0.5) / 0.5
                nn.functional.cross_entropy(network(inputs), y[batch]).backward()
                optimizer.step()
        save_file(network.state_dict(), cache)
    network.load_state_dict(load_file(cache))
    return network


def _record(
    model: ModelSpec, network: nn.Module, image: Tensor, label: Tensor, classes: int
) -> Record:
    """One step of SGD on one image, from the weights of ``network``, which is left as it was."""
    before = {n: v.clone() for n, v in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.train().parameters(), lr=0.01)
    optimizer.zero_grad()
    inputs = (image.expand(-1, 3, -1, -1) - 0.5) / 0.5
    nn.functional.cross_entropy(network(inputs), label).backward()
    optimizer.step()
    update = {n: (v - before[n]).numpy() for n, v in network.state_dict().items()}
    network.load_state_dict(before)
    return Record(
        manifest=Manifest(
            job="benchmark",
            created=utc_now(),
            model=model,
            task=TaskSpec(num_classes=classes),
            input=InputSpec(
                spatial_size=(SIZE, SIZE),
                channels=3 if image.shape[1] == 3 else 1,
                mean=_HALF,
                std=_HALF,
            ),
        ),
        info=UpdateInfo(
            round=0,
            site="site-1",
            time=utc_now(),
            n_images=1,
            n_steps=1,
            batch_size=1,
            local_epochs=1,
            lr=0.01,
        ),
        global_state={n: v.numpy() for n, v in before.items()},
        update=update,
    )


def _attack(
    record: Record,
    truth: Tensor,
    label: Tensor,
    attack: Attack,
    prior: Tensor | None,
    seed: int,
    device: str,
) -> dict[str, float]:
    observation = observe(record, Knowledge(), device=device, allowed_prefixes=_OURS)
    found = attack(observation, prior, generator=torch.Generator().manual_seed(seed))
    start = torch.full_like(truth, 0.5) if prior is None else prior
    right = found.labels is not None and torch.equal(found.labels, label)
    return {
        "ssim": float(ssim(truth, found.images)),
        "mse": float((truth - found.images.clamp(0, 1)).square().mean()),
        "prior": float(ssim(truth, start)),
        "label": float(right),
        "seconds": found.seconds,
        "attempts": found.attempts,
        "loss": found.losses.get("distance", next(iter(found.losses.values()))),
        "stuck": float(found.stuck),
    }


def _summary(name: str, rows: Sequence[dict[str, float]]) -> dict[str, Any]:
    def mean(key: str) -> float:
        return sum(r[key] for r in rows) / len(rows)

    found = {
        "case": name,
        "asr": sum(r["ssim"] >= SUCCESS for r in rows) / len(rows),
        "ssim_mean": mean("ssim"),
        "ssim_min": min(r["ssim"] for r in rows),
        "mse_mean": mean("mse"),
        "mse_of_successes": _mean_of([r["mse"] for r in rows if r["ssim"] >= SUCCESS]),
        "prior_mean": mean("prior"),
        "label_accuracy": mean("label"),
        "cpu_seconds": mean("seconds"),
        "cpu_seconds_max": max(r["seconds"] for r in rows),
        "images": len(rows),
        "stuck": int(sum(r["stuck"] for r in rows)),
        # Failures that the attack did not see, and successes that it took for failures.
        "unnoticed": sum(r["ssim"] < SUCCESS and not r["stuck"] for r in rows),
        "false_alarms": sum(r["ssim"] >= SUCCESS and r["stuck"] > 0 for r in rows),
        "per_image": [(round(r["ssim"], 4), r["attempts"], r["loss"]) for r in rows],
    }
    _print(found)
    return found


def _mean_of(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _total(name: str, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    count = sum(p["images"] for p in parts)

    def mean(key: str) -> float:
        return sum(p[key] * p["images"] for p in parts) / count

    averaged = ("asr", "ssim_mean", "mse_mean", "prior_mean", "label_accuracy", "cpu_seconds")
    found = {key: mean(key) for key in averaged} | {
        "case": name,
        "ssim_min": min(p["ssim_min"] for p in parts),
        "images": count,
        "stuck": sum(p["stuck"] for p in parts),
        "parts": list(parts),
    }
    _print(found)
    return found


def _print(r: dict[str, Any]) -> None:
    print(
        f"{r['case']:36} ASR {r['asr']:.0%} SSIM {r['ssim_mean']:.3f} (min {r['ssim_min']:.3f}) "
        f"MSE {r['mse_mean']:.1e} prior {r['prior_mean']:.3f} "
        f"labels {r['label_accuracy']:.0%} {r['cpu_seconds']:.1f} s "
        f"{r['images']} images {r['stuck']} stuck",
        flush=True,
    )


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cases", default="cnn32", help="comma-separated")
    parser.add_argument("--data", type=Path, nargs="*", help="folder-per-class sets")
    parser.add_argument("--images", type=int, help="of each set")
    parser.add_argument("--split", choices=("tune", "report"), default="report")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sets = arguments.data or [SHARED / "data" / name for name in SETS]
    chosen = arguments.cases.split(",")
    if unknown := set(chosen) - cases().keys():
        parser.error(f"unknown cases {sorted(unknown)}; known: {', '.join(cases())}")
    more = {"images": arguments.images} if arguments.images else {}
    found = [
        cases()[name](
            sets, split=arguments.split, seed=arguments.seed, device=arguments.device, **more
        )
        for name in chosen
    ]
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

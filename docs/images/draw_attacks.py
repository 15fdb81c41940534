"""Draw the pictures of docs/explanation/attacks.md: python docs/images/draw_attacks.py.

Made-up images of nobody. A ResNet-18 is trained for a few steps on phantoms; one client then makes
one step on one image. Takes some minutes on one core.
"""

import csv
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from medleak.custom.networks import resnet18
from medleak.custom.phantoms import phantom
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

HERE = Path(__file__).parent
SIZE, LR, CLASSES = 64, 0.01, ("normal", "pneumonia")
LAYER = "features.layer2.0.conv2"
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"


def xrays(patients: range) -> tuple[Tensor, Tensor]:
    """Images [N, 1, H, W] in [0, 1] and labels of made-up patients, both classes."""
    names = [(k, f"{c}/p{p:05d}_00.png") for p in patients for k, c in enumerate(CLASSES)]
    pixels = [np.asarray(phantom("cxr", name, SIZE).image) for _, name in names]
    images = torch.tensor(np.stack(pixels))[:, None].float() / 255
    return images, torch.tensor([k for k, _ in names])


def model_units(images: Tensor) -> Tensor:
    """Three channels around 0."""
    return (images.expand(-1, 3, -1, -1) - 0.5) / 0.25


def trained(images: Tensor, labels: Tensor, steps: int = 40) -> nn.Module:
    """A global model that is not at its first weights."""
    network = resnet18().train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    for batch in order.repeat(8).split(16)[:steps]:
        optimizer.zero_grad()
        functional.cross_entropy(network(model_units(images[batch])), labels[batch]).backward()
        optimizer.step()
    return network


def gradient(network: nn.Module, image: Tensor, label: Tensor) -> dict[str, Tensor]:
    """Of the training loss, by parameter; ``network`` stays as it is."""
    weights = {n: p.detach().clone().requires_grad_() for n, p in network.named_parameters()}
    buffers = {n: b.clone() for n, b in network.named_buffers()}
    logits = functional_call(network, {**weights, **buffers}, (model_units(image),))
    found = torch.autograd.grad(functional.cross_entropy(logits, label), list(weights.values()))
    return dict(zip(weights, found, strict=True))


def look(network: nn.Module, image: Tensor) -> tuple[Tensor, Tensor]:
    """Centred input patches of `LAYER` [positions, values], and its output's channel means."""
    seen: dict[str, Tensor] = {}
    layer = network.get_submodule(LAYER)
    hook = layer.register_forward_hook(lambda _, x, y: seen.update(x=x[0].detach(), y=y.detach()))
    buffers = {n: b.clone() for n, b in network.named_buffers()}
    with torch.no_grad():
        functional_call(network, buffers, (model_units(image),))
    hook.remove()
    patches = functional.unfold(seen["x"], 3, padding=1)[0].T.double()
    return patches - patches.mean(0), seen["y"].mean((0, 2, 3)).double()


def landscape(network: nn.Module, prior: Tensor, truth: Tensor, label: Tensor) -> Figure:
    """What three ways of comparing say on the straight way from the prior to the truth."""
    target = gradient(network, truth, label)
    flat = torch.cat([g.flatten() for g in target.values()])
    kernel = target[f"{LAYER}.weight"].flatten(1).double()
    true_patches, statistics = look(network, truth)
    basis = torch.linalg.svd(kernel, full_matrices=False).Vh[: len(true_patches) - 1]
    way = torch.linspace(0, 1, 21)
    rows = []
    for share in way:
        image = prior + share * (truth - prior)
        candidate = torch.cat([g.flatten() for g in gradient(network, image, label).values()])
        patches, means = look(network, image)
        outside = (patches - patches @ basis.T @ basis).square().sum() / patches.square().sum()
        cosine = 1 - functional.cosine_similarity(candidate, flat, dim=0)
        far = (means - statistics).norm() / statistics.norm()
        rows.append([float(cosine), float(far), float(outside)])
    curves = np.array(rows)
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    axes = figure.add_subplot()
    names = ("gradients (cosine)", "statistics of a norm layer", "patches outside the row space")
    for values, name, colour, dash in zip(
        curves.T, names, (ORANGE, GREEN, BLUE), ("--", "-.", "-"), strict=True
    ):
        axes.plot(way, values / values[0], dash, color=colour, label=name, linewidth=2)
    axes.set_xlabel("way from the prior (0) to the true image (1)")
    axes.set_ylabel("distance, 1 at the prior")
    axes.set_ylim(0)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def strip(network: nn.Module, prior: Tensor, truth: Tensor, label: Tensor) -> Figure:
    """The attack on its way, as ``medleak audit --keep-iterations`` keeps it."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = _audited(Path(folder), network, prior, truth, label)
    shown = [("prior", prior[0, 0].numpy()), *pictures, ("true image", truth[0, 0].numpy())]
    figure = Figure(figsize=(1.45 * len(shown), 1.6), layout="constrained")
    for axes, (title, pixels) in zip(figure.subplots(1, len(shown)), shown, strict=True):
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=1)
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    return figure


def _audited(
    root: Path, network: nn.Module, prior: Tensor, truth: Tensor, label: Tensor
) -> list[tuple[str, np.ndarray]]:
    _record(root, network, truth, label)
    Image.fromarray((prior[0, 0] * 255).round().byte().numpy()).save(root / "prior.png")
    command = ["medleak", "audit", str(root / "run"), "--prior", str(root / "prior.png")]
    command += ["--out", str(root / "audit"), "--keep-iterations", "6", "--no-health"]
    subprocess.run(command, check=True)
    rows = list(csv.DictReader((root / "audit/results.csv").open()))
    print({k: rows[0][k] for k in ("attack", "ssim", "ssim_prior", "seconds", "iterations")})
    files = sorted((root / "audit/images").glob("*_it*.png"), key=lambda p: int(p.stem[-4:]))
    kept = [(f"iteration {int(p.stem.rsplit('_it')[-1])}", _pixels(p)) for p in files]
    return kept[1:]  # the first is the prior itself


def _pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("L")) / 255


def _record(root: Path, network: nn.Module, truth: Tensor, label: Tensor) -> None:
    """One client's plain SGD step on ``truth``, as a server would record it."""
    sent = {n: v.clone() for n, v in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.train().parameters(), lr=LR)
    optimizer.zero_grad()
    functional.cross_entropy(network(model_units(truth)), label).backward()
    optimizer.step()
    update = {n: (v - sent[n]).numpy() for n, v in network.state_dict().items()}
    manifest = Manifest(
        job="picture",
        created=utc_now(),
        model=ModelSpec(path="medleak.custom.networks.resnet18"),
        task=TaskSpec(num_classes=2),
        input=InputSpec(spatial_size=(SIZE, SIZE), channels=1, mean=(0.5,) * 3, std=(0.25,) * 3),
    )
    schedule = {"n_images": 1, "n_steps": 1, "batch_size": 1, "local_epochs": 1, "lr": LR}
    said = {"round": 0, "site": "site-9", "time": utc_now(), **schedule}
    write_manifest(root / "run", manifest)
    info = UpdateInfo.model_validate(said)
    write_record(root / "run", info, {n: v.numpy() for n, v in sent.items()}, update)


def main(arguments: Sequence[str]) -> None:
    """Write both pictures beside this file, or into the folder named."""
    matplotlib.use("agg")
    out = Path(arguments[0]) if arguments else HERE
    public, labels = xrays(range(60))
    prior = public.mean(0, keepdim=True)
    network = trained(public, labels)
    images, kinds = xrays(range(900, 902))
    truth, label = images[:1], kinds[:1]
    meta = {"Software": None}
    landscape(network, prior, truth, label).savefig(
        out / "attack-landscape.png", dpi=130, metadata=meta
    )
    strip(network, prior, truth, label).savefig(out / "attack-way.png", dpi=130, metadata=meta)


if __name__ == "__main__":
    main(sys.argv[1:])

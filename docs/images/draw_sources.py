"""Draw the pictures of docs/explanation/sources.md: python docs/images/draw_sources.py.

Made-up X-rays of nobody; one client makes one step of SGD on one of them. A minute of one core.
"""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import matplotlib
import torch
from draw_attacks import BLUE, GREEN, ORANGE, SIZE, model_units, trained, xrays
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from monai.networks.nets.unet import UNet
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.swin_transformer import SwinTransformer

from medleak.inversion.attacks.reconstruct import observe_update
from medleak.inversion.evidence.algebra.row_spaces import centre, decomposed
from medleak.inversion.evidence.layers import ConvLayer
from medleak.inversion.evidence.reading import Reading
from medleak.inversion.evidence.sources import cover, first_linear, grouped_rows, recovered_features

HERE = Path(__file__).parent
LR, MEAN, STD = 0.01, (0.5,) * 3, (0.25,) * 3  # as model_units has them


def read(network: nn.Module, image: Tensor, target: Tensor) -> Reading:
    """The update of one step on ``image``; ``network`` stays as it is."""
    before = {n: v.clone() for n, v in network.state_dict().items()}
    network.zero_grad()
    functional.cross_entropy(network.train()(model_units(image)), target).backward()
    torch.optim.SGD(network.parameters(), lr=LR).step()
    update = {n: v - before[n] for n, v in network.state_dict().items()}
    network.load_state_dict(before)
    return Reading(
        observe_update(network, update, spatial_size=(SIZE, SIZE), lr=LR, mean=MEAN, std=STD)
    )


def statistics(reading: Reading, images: Mapping[str, Tensor]) -> Figure:
    """Batch means that the update tells of a norm layer, beside those of two images."""
    name = reading.probe.norms[4]
    seen = {
        word: reading.probe.run(image, statistics=[name]).statistics[name][0]
        for word, image in images.items()
    }
    usual = seen.pop("mean image")
    told = reading.statistics[name][0] - usual
    figure, axes = framed(4.2)
    for (word, means), colour in zip(seen.items(), (GREEN, ORANGE), strict=True):
        axes.scatter(told, means - usual, s=9, color=colour, label=word)
    ends = [float(told.min()), float(told.max())]
    axes.plot(ends, ends, color="0.7", linewidth=1, zorder=0)
    axes.set_xlabel("channel means, as the update tells")
    axes.set_ylabel("channel means of an image")
    axes.legend(frameon=False)
    return figure


def spectra(layers: Sequence[tuple[str, Reading, str]]) -> Figure:
    """Singular values of updates: those of the patches, a gap, and rounding."""
    figure, axes = framed(6.4)
    for (word, reading, name), colour in zip(layers, (BLUE, ORANGE, GREEN), strict=True):
        span = reading.row_spaces[name]
        values = decomposed(span.conv.matrix(reading.update[f"{name}.weight"])).values
        rank = len(span.space.basis)
        axes.semilogy((values / values[0])[: 2 * rank + 10], ".-", color=colour, markersize=4)
        axes.plot([], [], color=colour, label=f"{word}: {rank}")
        axes.axvline(rank - 0.5, color=colour, linestyle=":", linewidth=1)
    axes.set_xlabel("singular value of the update, from the largest")
    axes.set_ylabel("size, 1 for the largest")
    axes.legend(frameon=False, loc="upper right", fontsize=8)
    return figure


def shares(title: str, found: Mapping[str, float]) -> Figure:
    """What of a layer's evidence images leave unexplained."""
    figure, axes = framed(5.2, 1.5)
    colours = (GREEN, ORANGE, BLUE)
    bars = axes.barh(list(found), list(found.values()), color=colours)
    axes.bar_label(bars, [f"{v:.1g}" for v in found.values()], padding=3)
    axes.set_xlim(0, 1.15 * max(found.values()))
    axes.locator_params(axis="x", nbins=5)
    axes.invert_yaxis()
    axes.set_xlabel(title)
    return figure


def uncovered(reading: Reading, image: Tensor) -> float:
    """Share of the first convolution's rows that the patches of ``image`` do not give."""
    found = next(iter(cover.covers(reading, reading.row_spaces, reading.sigma or 0.0).values()))
    return float(found.rows.uncovered(patches(reading, found.conv, image)))


def unmixed_rows(reading: Reading, image: Tensor) -> float:
    """Likewise of the first depthwise convolution that tells anything."""
    clue = next(iter(grouped_rows.clues(reading).values()))
    return float(clue.misfit(reading.probe.run(image, inputs=clue.inputs).inputs))


def patches(reading: Reading, conv: ConvLayer, image: Tensor) -> Tensor:
    """Of the layer's input, centred as its update has them."""
    found = conv.patches(reading.probe.run(image, inputs=[conv.name]).inputs[conv.name])
    return centre(found, per_image=conv.centred == "image") if conv.normed else found


def features(reading: Reading, image: Tensor) -> Figure:
    """The largest channels of a layer's input, and what linear algebra made of its update."""
    found, _ = recovered_features.recovered(reading, reading.row_spaces)
    name, maps = next(iter(found.items()))
    true = reading.probe.run(image, inputs=[name]).inputs[name][0]
    true = true / true.norm()
    chosen = true.flatten(1).norm(dim=1).argsort(descending=True)[:6]
    rows = [("input of the layer", true[chosen]), ("from the update", maps[0][chosen])]
    return pictured(rows, float(true[chosen].max()))


def pictured(rows: Sequence[tuple[str, Tensor]], most: float) -> Figure:
    """Rows [N, H, W] of pictures, from 0 to ``most``."""
    columns = len(rows[0][1])
    figure = Figure(figsize=(1.0 + 1.1 * columns, 1.15 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for line, (word, images) in zip(grid, rows, strict=True):
        for axes, image in zip(line, images, strict=True):
            axes.imshow(image.detach(), cmap="gray", vmin=0, vmax=most)
            axes.set_xticks([])
            axes.set_yticks([])
        line[0].set_ylabel(word, fontsize=8)
    return figure


def linear_layer(image: Tensor, label: Tensor) -> Figure:
    """An image, four rows of a perceptron's update, and their quotient by the bias's."""
    torch.manual_seed(0)
    layers = nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 32), nn.ReLU(), nn.Linear(32, 2)
    reading = read(nn.Sequential(*layers), image, label)
    if (
        first_linear.SOURCE.answer is None
        or (answer := first_linear.SOURCE.answer(reading)) is None
    ):
        raise RuntimeError("A perceptron's update gave no image: there is nothing to draw.")
    rows = reading.update["1.weight"].view(32, 3, SIZE, SIZE).mean(1)
    moved = rows[rows.flatten(1).norm(dim=1).argsort(descending=True)[:3]]
    moved = (moved - moved.amin((1, 2), True)) / (
        moved.amax((1, 2), True) - moved.amin((1, 2), True)
    )
    shown = torch.cat([image[0], moved, answer.images[0]])
    figure = pictured([("", shown)], 1.0)
    words = ("image", "row of dW", "another", "another", "row / db")
    for axes, word in zip(figure.axes, words, strict=True):
        axes.set_title(word, fontsize=9)
    return figure


def head(reading: Reading, image: Tensor, label: Tensor) -> Figure:
    """The bias of the head, which one class alone pulls up, and the features of its rows."""
    name = next(n for n, u in reading.update.items() if n.endswith(".weight") and u.shape[0] == 2)
    bias = reading.update[name.replace("weight", "bias")]
    row = (reading.update[name][0] / bias[0]).detach()
    figure = Figure(figsize=(6.4, 2.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    words = [f"class {k}" + (" (true)" if k == int(label) else "") for k in range(len(bias))]
    left.barh(words, bias.tolist(), color=[GREEN if b > 0 else BLUE for b in bias])
    left.axvline(0, color="0.5", linewidth=1)
    left.set_xlabel("update of the head's bias")
    left.locator_params(axis="x", nbins=4)
    seen: list[Tensor] = []
    network = reading.observation.network()
    layer = network.get_submodule(name.removesuffix(".weight"))
    layer.register_forward_pre_hook(lambda _, x: seen.append(x[0][0].detach()))
    network.train()(model_units(image))
    right.scatter(row, seen[0], s=6, color=BLUE)
    right.set_xlabel("row of the head / bias")
    right.set_ylabel("features of the image")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def framed(width: float, height: float = 2.6) -> tuple[Figure, Axes]:
    """One plain plot."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def depthwise() -> nn.Module:
    """Pointwise and 5 x 5 depthwise convolutions on maps of 4 x 4."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 32, 4, 4, bias=False), nn.BatchNorm2d(32), nn.SiLU(),
        nn.Conv2d(32, 128, 3, 4, 1, bias=False), nn.BatchNorm2d(128), nn.SiLU(),
        nn.Conv2d(128, 128, 5, 1, 2, groups=128, bias=False), nn.BatchNorm2d(128), nn.SiLU(),
        nn.Conv2d(128, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.SiLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2),
    )  # fmt: skip


def main(arguments: Sequence[str]) -> None:
    """Write the pictures beside this file, or into the folder named."""
    matplotlib.use("agg")
    out = Path(arguments[0]) if arguments else HERE
    public, labels = xrays(range(60))
    network = trained(public, labels)
    (truth, other), kinds = xrays(range(900, 901))[0].split(1), torch.tensor([0])
    images = {"true image": truth, "another": other, "mean image": public.mean(0, keepdim=True)}
    plain = read(network, truth, kinds)
    torch.manual_seed(0)
    sizes = {"channels": (16, 32, 64, 128), "strides": (2, 2, 2), "num_res_units": 1}
    up = read(UNet(2, 3, 2, **sizes), truth, (truth[:, 0] > 0.5).long())
    windows = {"patch_size": [4, 4], "window_size": [4, 4], "stochastic_depth_prob": 0.0}
    swin = SwinTransformer(
        embed_dim=24, depths=[1, 1, 1], num_heads=[2, 4, 8], num_classes=2, **windows
    )
    tokens = read(swin, truth, kinds)
    layers = [
        ("patches of a convolution (ResNet-18)", plain, "features.layer2.0.conv2"),
        ("pixels of a transposed one (U-Net)", up, _last(up, "transposed")),
        ("tokens of a linear layer (Swin)", tokens, "features.5.0.mlp.3"),
    ]
    deep = read(depthwise(), truth, kinds)
    measured = {
        "cover": (
            "share of the rows that no mixture of its patches gives",
            partial(uncovered, plain),
        ),
        "grouped": (
            "share of the rows that no mixture of its patches gives",
            partial(unmixed_rows, deep),
        ),
    }
    pictures = {
        "norms": statistics(plain, images),
        "row-spaces": spectra(layers),
        "features": features(plain, truth),
        "linear": linear_layer(truth, kinds),
        "head": head(plain, truth, kinds),
    }
    with torch.no_grad():
        for name, (title, of) in measured.items():
            pictures[name] = shares(title, {word: of(image) for word, image in images.items()})
    for name, figure in pictures.items():
        figure.savefig(out / f"source-{name}.png", dpi=110, metadata={"Software": None})


def _last(reading: Reading, kind: str) -> str:
    return [n for n, s in reading.row_spaces.items() if s.conv.kind == kind][-1]


if __name__ == "__main__":
    main(sys.argv[1:])

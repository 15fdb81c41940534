"""Does a classifier still recognise the class in recovered images? (MedPFL, Table V.)

An SSIM of 0.5 may hide a person and show a tumour. The accuracy of a classifier, trained elsewhere,
on original images, on recovered ones, and on those recovered under noise says how much of the
class survives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from medleak.custom.data.transforms import network_input
from medleak.custom.intervals import wilson
from medleak.inversion.images.pictures import read_picture
from medleak.inversion.measures.similarity import as_channels
from medleak.inversion.results.rows import Row, read_rows

ORIGINAL = "original"
_IMAGES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Share of images whose class a network names, with Wilson's 95 % interval.

    Attributes:
        share: In [0, 1].
        lower95: And `upper95`; None where there is one image.
        n: Different images.
    """

    share: float
    lower95: float | None
    upper95: float | None
    n: int


def recognised(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
) -> Tensor:
    """Whether ``network`` names the class of each image: bool [N].

    Args:
        network: From model units [N, 3, H, W] to logits [N, classes]; evaluated as it stands in
            evaluation mode, its mode is put back.
        images: [N, C, H, W] in [0, 1].
        labels: [N] class indices.
        mean: Of the network's input, see `medleak.custom.data.transforms.network_input`.
        std: Likewise.

    Raises:
        ValueError: Images and labels differ in number, or the network has no output for a label.
    """
    if len(images) != len(labels):
        raise ValueError(
            f"There are {len(images)} images and {len(labels)} labels: whether a class is "
            "recognised cannot be said. Give one label an image."
        )
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            found = [
                network(network_input(part, mean, std)) for part in images.split(_IMAGES_AT_ONCE)
            ]
    finally:
        network.train(was_training)
    logits = torch.cat(found)
    if len(labels) and int(labels.max()) >= logits.shape[1]:
        raise ValueError(
            f"The classifier has {logits.shape[1]} classes and a label is {int(labels.max())}: it "
            "was trained for another task. Name one of the images' own classes."
        )
    return logits.argmax(1) == labels.to(logits.device)


def audit_accuracy(
    out: Path,
    network: nn.Module,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
) -> Mapping[str, Accuracy]:
    """Table V of an audit directory: accuracy on originals and on what each attack recovered.

    An image that was attacked in several runs counts once, by the share of runs in which its class
    was recognised. The classifier must not have been trained on the attacked images.

    Returns:
        `ORIGINAL`, and ``attack | defence | knowledge`` of each group, in order of the table.

    Raises:
        ValueError: No row has a truth, or see `recognised`.
        DataError: A picture is missing or damaged.
    """
    rows = [row for row in read_rows(out / "results.csv") if row.truth_picture is not None]
    if not rows:
        raise ValueError(
            f"{out} has no row with a truth: without labels, accuracy is undefined. Audit with "
            "--truth."
        )
    groups: dict[str, list[tuple[Row, str]]] = {ORIGINAL: []}
    originals: set[str] = set()
    for row in rows:
        if row.truth_picture is not None and row.truth_picture not in originals:
            originals.add(row.truth_picture)
            groups[ORIGINAL].append((row, row.truth_picture))
        name = f"{row.attack} | {row.defence} | {row.knowledge}"
        groups.setdefault(name, []).append((row, row.picture))
    return {name: _accuracy(out, of, network, mean, std) for name, of in groups.items()}


def _accuracy(
    out: Path,
    pictures: Sequence[tuple[Row, str]],
    network: nn.Module,
    mean: Sequence[float],
    std: Sequence[float],
) -> Accuracy:
    by_image: dict[str | None, list[bool]] = {}
    for start in range(0, len(pictures), _IMAGES_AT_ONCE):
        part = pictures[start : start + _IMAGES_AT_ONCE]
        images = torch.stack(
            [as_channels(read_picture(out / name)[None], 3)[0] for _, name in part]
        )
        labels = torch.tensor([row.truth_label or 0 for row, _ in part])
        right = recognised(network, images, labels, mean, std)
        for (row, _), known in zip(part, right.tolist(), strict=True):
            by_image.setdefault(row.truth_picture, []).append(known)
    share = sum(sum(runs) / len(runs) for runs in by_image.values()) / len(by_image)
    if len(by_image) == 1:
        return Accuracy(share, None, None, 1)
    return Accuracy(share, *wilson(min(1.0, share), len(by_image)), len(by_image))

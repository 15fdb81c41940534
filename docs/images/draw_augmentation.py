"""Draw the picture of docs/explanation/augmentation.md: python docs/images/draw_augmentation.py.

Made-up films of nobody: as a site lists them, as its augmentation showed them to the network, and
the transformation that registration finds from a grainy copy of what was seen. Takes seconds.
"""

import tempfile
from pathlib import Path

import matplotlib
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.transforms import functional

from medleak.custom.data.datalist import Item
from medleak.custom.data.transforms import load_images
from medleak.custom.phantoms import listing, render
from medleak.inversion.measures.registration import compare

HERE = Path(__file__).parent
SIZE, GRAIN = 64, 0.03
SMOOTH = functional.InterpolationMode.BILINEAR


def films(n: int, seed: int) -> Tensor:
    """[n, 1, SIZE, SIZE]."""
    made = listing(n, seed)
    with tempfile.TemporaryDirectory() as folder:
        at = render(made, Path(folder), SIZE, seed=seed)
        items = [Item(str(at / i.image), i.label, i.patient) for i in made]
        return load_images(items, spatial_size=(SIZE, SIZE), channels=1)[0]


def rows() -> list[tuple[str, Tensor, Tensor]]:
    """What was done, the listed image, and what the network saw (or another film)."""
    listed, other = films(2, 0)[1], films(1, 9)[0]
    size = [SIZE, SIZE]
    crop = functional.resized_crop(listed, 4, 10, 48, 48, size, SMOOTH, antialias=True)
    return [
        ("flip", listed, listed.flip(-1)),
        ("rotation", listed, functional.rotate(listed, 12.0, SMOOTH)),
        ("crop", listed, crop),
        ("another film", listed, other),
    ]


def main() -> None:
    """One row a kind: listed, came back, listed as it may have been seen."""
    matplotlib.rcParams["font.size"] = 9
    found = rows()
    figure = Figure(figsize=(6.6, 2.5 * len(found)), layout="constrained")
    axes = figure.subplots(len(found), 3)
    generator = torch.Generator().manual_seed(0)
    for row, (name, listed, seen) in zip(axes, found, strict=True):
        came_back = (seen + GRAIN * torch.randn(seen.shape, generator=generator)).clamp(0, 1)
        match = compare(listed, came_back)
        as_seen = listed if match.transformation is None else match.transformation(listed[None])[0]
        titles = (
            f"{name}: as listed",
            f"came back\nSSIM as listed {match.plain:.2f}",
            f"{match.transformation or 'as listed'}\nSSIM {match.ssim:.2f}",
        )
        for ax, image, title in zip(row, (listed, came_back, as_seen), titles, strict=True):
            ax.imshow(image[0].numpy(), cmap="gray", vmin=0, vmax=1)
            ax.set_title(title.replace(", ", ",\n").replace(",\n-", ", -"), fontsize=8)
            ax.axis("off")
    figure.savefig(HERE / "augmentation.png", dpi=110)


if __name__ == "__main__":
    main()

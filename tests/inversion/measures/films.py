"""Made-up films, and what augmentation in training makes of them."""

import tempfile
from pathlib import Path

import torch
from torchvision.transforms import functional

from medleak.custom.data.datalist import Item
from medleak.custom.data.transforms import load_images
from medleak.custom.phantoms import listing, render

SIZE = 64
_SMOOTH = functional.InterpolationMode.BILINEAR


def films(n, size=SIZE, seed=0, modality="cxr"):
    """[n, 1, size, size] of different patients."""
    made = listing(n, seed, modality)
    with tempfile.TemporaryDirectory() as folder:
        at = render(made, Path(folder), size, seed=seed)
        items = [Item(str(at / i.image), i.label, i.patient) for i in made]
        images, _ = load_images(items, spatial_size=(size, size), channels=1)
    return images


def cropped(images, top=4, left=10, side=48):
    size = list(images.shape[-2:])
    return functional.resized_crop(images, top, left, side, side, size, _SMOOTH, antialias=True)


AUGMENTATIONS = {
    "flip": lambda x: x.flip(-1),
    "upside down": lambda x: x.flip(-2),
    "quarter turn": lambda x: x.rot90(1, (-2, -1)),
    "rotation": lambda x: functional.rotate(x, 12.0, _SMOOTH),
    "rotation, gray corners": lambda x: functional.rotate(x, -12.0, _SMOOTH, fill=[0.45]),
    "crop": cropped,
    "shift": lambda x: functional.affine(x, 0.0, [5, -4], 1.0, [0.0]),
    "flip and rotation": lambda x: functional.rotate(x.flip(-1), 9.0, _SMOOTH),
    "zoom out": lambda x: functional.affine(x, 0.0, [2, 0], 0.9, [0.0], _SMOOTH),
    "crop and intensities": lambda x: (1.25 * cropped(x) - 0.1).clamp(0, 1),
}
"""From images [N, C, H, W] to what the network sees."""


def grainy(images, sigma=0.02, seed=0):
    """As an attack brings images back."""
    grain = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    return (images + sigma * grain).clamp(0, 1)

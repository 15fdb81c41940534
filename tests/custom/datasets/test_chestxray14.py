"""Tests of the form of NIH ChestX-ray14."""

import numpy as np
from PIL import Image

from medleak.custom.datasets.catalogue import find
from medleak.custom.datasets.dataset import read


def picture(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def test_patients_of_the_priors_are_in_their_file_names(tmp_path):
    for name in ("00000001_000", "00000001_001", "00000002_000"):
        picture(tmp_path / f"{name}.png")
    items = read(find("chestxray14"), tmp_path)
    assert [item.patient for item in items] == ["00000001", "00000001", "00000002"]

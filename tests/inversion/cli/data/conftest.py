"""Where the commands of medleak data are run, and what they find there."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder(tmp_path):
    """Fifty X-rays of 25 patients in two classes."""
    root = tmp_path / "scans"
    for label, name in enumerate(("normal", "sick")):
        for k in range(25):
            path = root / name / f"{100 * label + k // 2:05d}_{k % 2:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            # A slope, so that there is something to see; each image has its own.
            pixels = np.linspace(5 * k, 250 - k, 81).astype(np.uint8).reshape(9, 9)
            Image.fromarray(pixels).save(path)
    return root

"""Tests of MedPFL's tables of colours and of recognition."""

import numpy as np
from PIL import Image

from medleak.inversion.reproduce.appearance import _text, table_iv
from medleak.inversion.reproduce.material import phantoms
from medleak.inversion.reproduce.recognition import Accuracy


def test_table_iv_has_a_line_a_set_with_the_statistics_of_its_pixels(tmp_path):
    material = phantoms(tmp_path, "cxr", 1, 32)
    entry = table_iv([material], 32)
    items = [*material.items, *material.public]
    pixels = np.stack([np.asarray(Image.open(i.image).convert("L")) for i in items]) / 255
    line = entry.here.splitlines()[-1]
    assert f"{pixels.mean():.4f}" in line
    assert f"{pixels.std():.4f}" in line
    assert line.endswith(f"| {len(items)} |")
    assert "| set | mean | standard deviation |" in entry.published


def test_an_accuracy_has_its_interval_where_there_is_one():
    assert _text(Accuracy(share=0.5, lower95=0.25, upper95=0.75, n=4)) == "0.50 [0.25, 0.75]"
    assert _text(Accuracy(share=1.0, lower95=None, upper95=None, n=1)) == "1.00"

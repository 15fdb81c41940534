"""Tests of medleak prior."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.inversion.cli.commands import medleak, refused

pytestmark = pytest.mark.usefixtures("here")


def test_prior_writes_the_mean_of_a_folder(tmp_path):
    for value in (0, 100):
        (tmp_path / "public").mkdir(exist_ok=True)
        Image.new("L", (32, 32), value).save(tmp_path / "public" / f"{value}.png")
    result = medleak("prior", "--data", "public", "-o", "p.png", "--size", 16, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["images"] == 2
    picture = Image.open("p.png")
    assert picture.size == (16, 16)
    assert (np.asarray(picture) == 50).all()
    assert not picture.info


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--data", "nowhere"], "nowhere"),
        (["--data", "public", "--channels", "2"], "--channels is 2"),
        (["--data", "text"], "bad.png"),
    ],
)
def test_prior_of_what_is_no_image_set_is_refused(tmp_path, args, said):
    for folder in ("public", "text"):
        (tmp_path / folder).mkdir()
    (tmp_path / "text" / "bad.png").write_text("no image")
    Image.new("L", (8, 8)).save(tmp_path / "public" / "a.png")
    assert said in refused(medleak("prior", *args, "-o", "p.png"), 2)
    assert not Path("p.png").exists()

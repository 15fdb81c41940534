"""Tests of medleak.custom.training.first_look: what a site is told of its own images."""

import pytest
import torch

from medleak.custom.phantoms import MODALITIES, listing, phantom
from medleak.custom.training.first_look import LOOKED, look_once


def images(n, modality="cxr", seed=0):
    """Phantoms as `transforms.load_images` gives them."""
    drawn = [phantom(modality, item.image, 32, seed).image for item in listing(n, seed, modality)]
    stack = torch.stack([torch.from_numpy(pixels) for pixels in drawn]) / 255
    return stack[:, None] if stack.ndim == 3 else stack.permute(0, 3, 1, 2)


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_site_with_sound_images_is_told_nothing(modality, tmp_path, caplog):
    look_once("a", {"training": images(24, modality)}, tmp_path)
    assert caplog.records == []
    assert (tmp_path / LOOKED).read_bytes() == b""


def test_what_is_odd_is_one_line_of_places_once_a_run(tmp_path, caplog):
    validation, training = images(12), images(12, seed=1)
    validation[3] = 0.5
    training[[1, 4]] /= 16
    sections = {"validation": validation, "training": training}
    for _ in range(2):
        look_once("a", sections, tmp_path)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(
        "a: Of 24 images, 1 hold one value alone (likely an empty file, or a window beside their "
        "values; 'validation[3]'); 2 use less than a sixteenth of the range (likely 12 bits in 16, "
        "or a missing window; 'training[1]', 'training[4]')."
    )
    assert (tmp_path / LOOKED).read_text() == record.getMessage().removeprefix("a: ") + "\n"
    look_once("a", sections, tmp_path / "another")
    assert len(caplog.records) == 2


def test_the_images_stay_as_they_are(tmp_path):
    training = images(3, "dermoscopy")
    before = training.clone()
    look_once("a", {"training": training}, tmp_path)
    assert torch.equal(training, before)

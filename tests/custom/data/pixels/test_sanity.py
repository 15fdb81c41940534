"""Tests of medleak.custom.data.pixels.sanity: what is odd is counted, what is not is not said."""

import numpy as np
import pytest

from medleak.custom.data.pixels.sanity import glance, oddities, remark
from medleak.custom.phantoms import MODALITIES, listing, phantom


def chest(n, seed=0):
    """Pictures that are alike, as those of one modality are."""
    return [phantom("cxr", item.image, 64, seed).image for item in listing(n, seed, "cxr")]


def found(pictures):
    return {oddity.what: oddity.places for oddity in oddities([glance(p) for p in pictures])}


@pytest.mark.parametrize("modality", MODALITIES)
def test_sound_pictures_of_any_modality_are_not_odd(modality):
    items = listing(40, 1, modality)
    assert found([phantom(modality, item.image, 64, 1).image for item in items]) == {}


def test_a_glance_by_hand():
    pixels = np.zeros((100, 100), np.uint8)
    pixels[:50] = 200
    pixels[0, :40] = 255  # 0.4 percent
    seen = glance(pixels)
    assert (seen.least, seen.low, seen.high, seen.most) == (0, 0, 200, 255)
    assert seen.mean == pytest.approx(pixels.mean())
    assert seen.thumbnail.shape == (16, 16)


def test_an_image_of_one_value_is_constant():
    assert found([*chest(3), np.full((9, 9), 77, np.uint8)]) == {"hold one value alone": (3,)}


def test_12_bits_in_16_are_less_than_a_sixteenth_even_with_a_label_on_them():
    dark = chest(1)[0] // 16
    dark[:3, :5] = 255
    what = "use less than a sixteenth of the range"
    assert found([*chest(4), dark]) == {what: (4,)}
    bright = 255 - dark
    assert found([*chest(4), bright]) == {what: (4,)}


def test_a_negative_among_its_siblings_is_found_and_all_negatives_are_a_look_of_their_own():
    pictures = chest(20)
    pictures[7], pictures[11] = 255 - pictures[7], 255 - pictures[11]
    assert found(pictures) == {"are negatives of the others": (7, 11)}
    assert found([255 - picture for picture in chest(20)]) == {}


def test_noise_has_no_common_look_to_be_a_negative_of():
    rng = np.random.default_rng(0)
    assert found([rng.integers(0, 256, (32, 32), dtype=np.uint8) for _ in range(30)]) == {}


def test_an_image_of_another_brightness_by_an_order_of_magnitude_is_found():
    pictures = chest(12)
    dim = np.zeros((64, 64), np.uint8)
    dim[30:33] = 100
    assert found([*pictures, dim]) == {"are ten times as bright or as dark as the others": (12,)}


def test_too_few_pictures_have_no_siblings():
    pictures = chest(6)
    assert found([*pictures, 255 - pictures[0]]) == {}
    assert found([]) == {}


def test_ten_thousand_odd_files_are_one_line_that_counts_and_says_why():
    glances = [glance(np.full((4, 4), 9, np.uint8))] * 9_000 + [glance(chest(1)[0])] * 1_000
    line = remark(oddities(glances), [f"{k}.png" for k in range(10_000)])
    assert "\n" not in line
    assert line.startswith("Of 10,000 images, 9,000 hold one value alone (likely an empty file")
    assert "'0.png', '1.png', '2.png', …" in line
    assert len(line) < 300
    assert remark([], ["a.png"]) == ""

"""Tests of the made-up fundus photographs."""

import numpy as np

from medleak.custom.phantoms import MODALITIES, phantom


def test_the_pale_area_of_the_disc_is_larger_in_glaucoma():
    areas = {}
    for kind in MODALITIES["fundus"].classes:
        images = [phantom("fundus", f"{kind}/p{k:05d}_00.png", 128).image for k in range(30)]
        # Blue is what the pale cup has and the red retina lacks.
        blue = [image[..., 2] for image in images]
        areas[kind] = np.median([(b > 0.8 * b.max()).mean() for b in blue])
    assert areas["glaucoma"] > 2 * areas["normal"]


def test_a_fundus_is_red_in_a_round_field_on_black():
    image = phantom("fundus", "normal/p00001_00.png", 64).image / 255
    assert image[:3, :3].max() < 0.1
    assert image[20:44, 20:44, 0].mean() > 1.2 * image[20:44, 20:44, 2].mean()

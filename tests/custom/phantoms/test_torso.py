"""Tests of medleak.custom.phantoms.torso, and of volumes among the phantoms."""

import numpy as np
import pytest

from medleak.custom.data.volumes import load_volume
from medleak.custom.phantoms import VOLUMES, listing, mask_root, phantom, render

SIZE = (32, 24, 40)


def torso(name, seed=0, size=SIZE):
    return phantom("torso_ct", name, size, seed)


def test_a_volume_is_repeatable_and_each_argument_counts():
    one = torso("mass/p00001_00.nii")
    assert one.image.shape == SIZE
    assert one.image.dtype == np.uint8
    np.testing.assert_array_equal(torso("mass/p00001_00.nii").image, one.image)
    for other in (
        torso("mass/p00001_00.nii", seed=1),
        torso("mass/p00003_00.nii"),
        torso("mass/p00001_01.nii"),
    ):
        assert np.mean(other.image != one.image) > 0.3


def test_it_shows_air_lungs_tissue_and_bone():
    image = torso("normal/p00002_00.nii", size=(48, 48, 48)).image
    assert image.min() < 15
    assert image.max() > 200
    assert 0.1 < np.mean(image < 20) < 0.6
    assert np.mean((image > 20) & (image < 60)) > 0.01  # lungs
    assert np.mean(image > 200) > 0.002  # spine


def test_the_mask_is_the_liver_and_a_mass_makes_a_hole_in_its_brightness():
    names = [f"{kind}/p00001_00.nii" for kind in ("normal", "mass")]
    normal, mass = (torso(name, size=(48, 48, 48)) for name in names)
    assert mass.mask is not None
    assert normal.mask is not None
    assert set(np.unique(mass.mask)) == {0, 255}
    inside = mass.mask > 0
    assert 0.01 < inside.mean() < 0.1
    dark = np.mean(mass.image[inside] < 120)
    assert dark > np.mean(normal.image[normal.mask > 0] < 120) + 0.01


def test_volumes_are_listed_and_rendered_as_nifti_with_their_masks(tmp_path):
    items = listing(3, 0, "torso_ct")
    assert {item.image.rpartition(".")[2] for item in items} == {"nii"}
    assert {item.image.partition("/")[0] for item in items} == set(VOLUMES["torso_ct"].classes)
    root = render(items, tmp_path, 16, 0, "torso_ct")
    assert root.name.endswith("16x16x16")
    for item in items:
        drawn = torso(item.image, size=(16, 16, 16))
        assert drawn.mask is not None
        for place, voxels in ((root, drawn.image), (mask_root(root), drawn.mask)):
            loaded = load_volume(place / item.image, (16, 16, 16), 1)
            np.testing.assert_allclose(loaded[0] * 255, voxels, atol=1e-3)


@pytest.mark.parametrize(
    ("modality", "name", "size"),
    [("torso_ct", "mass/p0_0.nii", (32, 32)), ("cxr", "normal/p0_0.png", (32, 32, 32))],
)
def test_sides_must_be_as_many_as_the_modality_has(modality, name, size):
    with pytest.raises(ValueError, match="sides, and spatial_size is"):
        phantom(modality, name, size)

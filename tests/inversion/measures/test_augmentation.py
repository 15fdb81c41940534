"""Tests of medleak.inversion.measures.augmentation: what it does to pixels, and what it says."""

import math

import pytest
import torch
from torchvision.transforms import functional

from medleak.inversion.measures.augmentation import BORDERS, Transformation

IMAGES = torch.rand(2, 1, 24, 24, generator=torch.Generator().manual_seed(0))


def rotation(degrees, zoom=1.0):
    c, s = (f(math.radians(degrees)) / zoom for f in (math.cos, math.sin))
    return (c, -s, s, c)


def test_nothing_done_is_nothing_changed():
    torch.testing.assert_close(Transformation()(IMAGES), IMAGES)


def test_flips_and_turns_are_exact_and_can_be_undone():
    for turns in range(4):
        for flip in (False, True):
            done = Transformation(flip=flip, turns=turns)
            seen = (IMAGES.flip(-1) if flip else IMAGES).rot90(turns, (-2, -1))
            assert torch.equal(done(IMAGES), seen)
            assert torch.equal(done.undone(seen), IMAGES)


def test_a_rotation_is_the_one_that_torchvision_does():
    seen = functional.rotate(IMAGES, 12.0, functional.InterpolationMode.BILINEAR)
    found = Transformation(matrix=rotation(12.0))
    inside = found.shown(24, 24)
    torch.testing.assert_close(found(IMAGES)[..., inside], seen[..., inside], atol=1e-4, rtol=0)
    assert found.degrees == pytest.approx(12.0)
    assert str(found) == "rotated by +12.0°"


def test_a_shift_moves_the_image_and_shows_the_fill_where_it_ends():
    found = Transformation(shift=(3, 0), fill=0.25)
    seen = found(IMAGES)
    torch.testing.assert_close(seen[..., :-3], IMAGES[..., 3:], atol=1e-5, rtol=0)
    torch.testing.assert_close(seen[..., -2:], torch.full_like(seen[..., -2:], 0.25))
    assert [Transformation(shift=(3, 0), border=b)(IMAGES).shape for b in BORDERS]


def test_intensities_are_scaled_moved_and_clipped():
    seen = Transformation(gain=1.2, offset=0.1)(IMAGES)
    torch.testing.assert_close(seen, (1.2 * IMAGES + 0.1).clamp(0, 1))


def test_a_quarter_turn_of_an_image_that_is_not_square_is_refused():
    with pytest.raises(ValueError, match="turn square images alone"):
        Transformation(turns=1)(torch.zeros(1, 1, 24, 32))
    assert Transformation(turns=2)(torch.zeros(1, 1, 24, 32)).shape == (1, 1, 24, 32)


@pytest.mark.parametrize(
    ("found", "usual"),
    [
        (Transformation(flip=True, turns=3), True),
        (Transformation(matrix=rotation(29.0)), True),
        (Transformation(matrix=rotation(31.0)), False),
        (Transformation(matrix=rotation(0, 1.9)), True),
        (Transformation(matrix=rotation(0, 2.1)), False),
        (Transformation(matrix=rotation(0, 0.7)), False),
        (Transformation(matrix=(1.0, 0.0, 0.0, 0.8)), True),
        (Transformation(matrix=(1.0, 0.0, 0.0, 0.7)), False),
        (Transformation(gain=0.1), False),
        (Transformation(offset=0.3), False),
        (Transformation(matrix=(0.0, 0.0, 0.0, 0.0)), False),
    ],
)
def test_what_no_augmentation_in_use_does_is_not_usual(found, usual):
    assert found.usual is usual


def test_the_words_say_all_that_was_done_and_nothing_else():
    found = Transformation(
        flip=True, turns=2, matrix=rotation(-8.0, 1.25), shift=(1, -2), gain=0.9, offset=-0.05
    )
    assert str(found) == (
        "flipped top-bottom, rotated by -8.0°, zoomed by 1.25, shifted by (1.0, -2.0) px, "
        "intensity x 0.90 - 0.05"
    )
    assert str(Transformation(matrix=(1.0, 0.0, 0.0, 0.8))).startswith("zoomed by 1.12, stretched")
    assert str(Transformation(shift=(0.1, 0))) == "moved by less than a pixel"

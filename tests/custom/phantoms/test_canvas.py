"""Tests of what phantoms are drawn with."""

import numpy as np

from medleak.custom.phantoms.canvas import (
    Pose,
    averaged,
    draw_strokes,
    generator,
    pixel_coordinates,
    step,
    supersampled,
    tissue_noise,
    to_uint8,
    walk,
)


def test_a_pose_maps_points_to_the_pixels_that_have_their_coordinates():
    pose = Pose(1.1, 0.3, 0.05, -0.02)
    x, y = pose.coordinates((40, 60))
    points = [(x[10, 20], y[10, 20]), (x[33, 4], y[33, 4])]
    np.testing.assert_allclose(
        pose.pixels(points, (40, 60)), [(20.5, 10.5), (4.5, 33.5)], atol=1e-4
    )


def test_a_straight_stroke_covers_the_pixels_on_its_way_and_no_others():
    still = Pose(1.0, 0.0, 0.0, 0.0)
    stroke, headings = walk(generator(0), (-0.5, 0.0), 0.0, 0.0, 1.0, (0.1, 0.1), 0.0)
    covered = draw_strokes([stroke], still, (64, 64))
    assert covered[31:33, 20:44].min() > 0.9
    assert covered[:26].max() == 0
    assert covered[31, 52:].max() == 0
    assert not headings.any()


def test_a_generator_depends_on_its_key_alone():
    assert generator("fundus", 0, "p1").random() == generator("fundus", 0, "p1").random()
    assert generator("fundus", 0, "p1").random() != generator("fundus", 1, "p1").random()


def test_the_shorter_side_runs_from_minus_one_to_one():
    u, v = pixel_coordinates((4, 8))
    np.testing.assert_allclose(v[:, 0], [-0.75, -0.25, 0.25, 0.75])
    np.testing.assert_allclose(u[0, [0, -1]], [-1.75, 1.75])


def test_small_images_are_drawn_twice_as_fine_and_averaged_back():
    assert supersampled((64, 80)) == ((128, 160), 2)
    assert supersampled((224, 224)) == ((224, 224), 1)
    np.testing.assert_array_equal(
        averaged(np.arange(16.0).reshape(4, 4), 2), [[2.5, 4.5], [10.5, 12.5]]
    )


def test_gray_levels_are_clipped_and_rounded():
    np.testing.assert_array_equal(to_uint8(np.array([-1, 0.5, 2])), [0, 128, 255])


def test_a_step_is_half_on_its_edge_and_as_wide_as_its_softness():
    np.testing.assert_allclose(
        step([-1, -0.05, 0, 0.05, 1], 0.2), [0, 0.25, 0.5, 0.75, 1], atol=1e-6
    )


def test_noise_of_tissue_lies_still_in_the_patient():
    x, y = Pose(1.0, 0.0, 0.0, 0.0).coordinates((64, 64))
    field = tissue_noise(generator(0), 8, x, y)
    moved = tissue_noise(generator(0), 8, x + 0.5, y)
    np.testing.assert_array_equal(field[:, 16:], moved[:, :48])

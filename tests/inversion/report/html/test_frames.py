"""Tests of what the gallery and the CSV of a report hold."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.inversion.report.directories import grid

from medleak.inversion.audit.panels import keep_picture
from medleak.inversion.report.html.album import Album
from medleak.inversion.report.html.frames import CSV_COLUMNS, gallery, spread
from medleak.inversion.report.reading import read_audit


@pytest.mark.parametrize(
    ("values", "found"),
    [([], []), ([3], [3]), ([2, 1], [1, 2]), ([0, 1, 2, 3, 4], [0, 4, 2, 1, 3])],
)
def test_rounds_are_taken_from_both_ends_and_then_between(values, found):
    assert spread(values) == found


@given(st.lists(st.integers(0, 50)))
def test_no_round_is_lost_and_none_is_there_twice(values):
    assert sorted(spread(values)) == sorted(set(values))


def test_every_reconstruction_is_a_frame_with_the_values_of_its_row(directory):
    audit = read_audit(directory.write(grid(["a", "b"], rounds=2, images=2)))
    frames = gallery([audit], Album(10**7), "shown")
    assert frames.rows == frames.kept == frames.pictured == frames.originals == 8
    payload = frames.payload
    site, ssim = (1 + CSV_COLUMNS.index(c) for c in ("site", "ssim"))
    found = sorted((payload["words"]["site"][f[site]], f[ssim]) for f in payload["frames"])
    assert found == sorted((r.site, r.ssim) for r in audit.rows)


def test_the_best_reconstruction_of_each_case_comes_before_any_second_best(directory):
    audit = read_audit(directory.write(grid(["a", "b"], rounds=2, images=2)))
    place = 1 + CSV_COLUMNS.index("reconstruction")
    frames = gallery([audit], Album(10**7), "shown").payload["frames"]
    assert [f[place] for f in frames] == [0] * 4 + [1] * 4


@pytest.mark.parametrize(("originals", "pictures"), [("redacted", True), ("shown", False)])
def test_redacted_originals_and_unwanted_pictures_are_not_in_the_album(
    directory, originals, pictures
):
    audit = read_audit(directory.write(grid(["a"])))
    album = Album(10**7)
    frames = gallery([audit], album, originals, pictures=pictures)
    assert frames.originals == 0
    assert bool(frames.pictured) == bool(album.pictures) == pictures


def with_volumes(folder):
    """The audit in ``folder`` as one of volumes: a sheet of planes beside every picture."""
    generator = torch.Generator().manual_seed(0)
    for path in sorted((folder / "images").glob("*.png")):
        keep_picture(folder, f"images/{path.name}", torch.rand(1, 12, 10, 9, generator=generator))
    return folder


def test_volumes_come_with_their_planes_and_images_without(directory):
    rows = grid(["site-1"], rounds=1, leak={"site-1": 0.9})
    folder = directory.write(rows)
    flat = gallery([read_audit(folder)], Album(10**6), "hidden").payload
    assert flat["sheets"] == [None]
    assert all(frame[-2:] == [None, None] for frame in flat["frames"])

    with_volumes(folder)
    deep = gallery([read_audit(folder)], Album(10**6), "hidden").payload
    assert deep["sheets"] != [None]
    assert all(None not in frame[-2:] for frame in deep["frames"])


def test_planes_of_originals_stay_out_with_the_originals(directory):
    folder = with_volumes(directory.write(grid(["site-1"], rounds=1)))
    payload = gallery([read_audit(folder)], Album(10**6), "redacted").payload
    assert all(frame[-1] is None and frame[-2] is not None for frame in payload["frames"])


def test_where_pictures_are_reduced_planes_are_left_out(directory):
    folder = with_volumes(directory.write(grid(["site-1"], rounds=1)))
    album = Album(10**6, reduced=True)
    payload = gallery([read_audit(folder)], album, "hidden").payload
    assert payload["sheets"] == [None]
    assert album.left_out > 0

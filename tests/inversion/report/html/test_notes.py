"""Tests of what a report says about itself."""

import pytest

from medleak.inversion.report.html.album import Album
from medleak.inversion.report.html.frames import Frames
from medleak.inversion.report.html.notes import no_picture, notes


def frames(rows=4, kept=4, pictured=4, originals=4):
    return Frames(payload={}, rows=rows, kept=kept, pictured=pictured, originals=originals)


def album(**counts):
    made = Album(1000)
    for name, count in counts.items():
        setattr(made, name, count)
    return made


@pytest.mark.parametrize(
    ("content", "counts", "options", "said"),
    [
        (frames(pictured=0, originals=0), {}, {"pictures": False}, "left out, as asked"),
        (frames(pictured=2), {"left_out": 2}, {}, "Of 4 reconstructions 2 are shown"),
        (frames(), {}, {"reduced": True}, "Pictures are reduced in size"),
        (frames(kept=3), {}, {}, "has 3 of 4 lines"),
        (frames(), {"unreadable": 2}, {}, "2 pictures are missing or damaged"),
        (frames(), {"withheld": 1}, {}, "1 reconstructions were left out with the originals"),
        (frames(originals=0), {}, {"originals": "redacted"}, "handle this file as patient data"),
        (frames(), {}, {}, "holds the original images"),
        (frames(originals=0), {}, {}, "had no original to compare with"),
    ],
)
def test_what_is_not_in_the_file_is_said_with_the_reason(content, counts, options, said):
    settings = {"originals": "shown", "pictures": True, "reduced": False} | options
    assert any(said in note for note in notes(content, album(**counts), **settings))


@pytest.mark.parametrize(
    ("content", "counts", "pictures", "said"),
    [
        (frames(), {}, False, "as asked"),
        (frames(rows=0), {}, True, "No update was attacked"),
        (frames(), {"withheld": 4}, True, "equal to an original"),
        (frames(), {"left_out": 4}, True, "None is small enough"),
        (frames(), {"unreadable": 4}, True, "missing or damaged"),
    ],
)
def test_where_there_is_no_picture_it_says_why(content, counts, pictures, said):
    assert said in no_picture(content, album(**counts), pictures)

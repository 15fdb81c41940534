"""Tests of how a user says what a folder of images is."""

from pathlib import Path

import pytest

from medleak.inversion.cli.data.folder import Arrangement, refuse_inside


def test_the_options_say_what_the_reader_takes():
    told = Arrangement(
        classes="a, b",
        layout="parts",
        labels=Path("x.csv"),
        columns="image=A",
        patients="folder",
        leave_out=["masks"],
    ).told()
    assert told.classes == ["a", "b"]
    assert (told.layout, told.labels, told.patients) == ("parts", Path("x.csv"), "folder")
    assert told.columns == {"image": "A"}
    assert told.leave_out == ["masks"]
    nothing = Arrangement().told()
    assert (nothing.classes, nothing.layout, nothing.columns) == (None, None, None)


def test_lists_may_stand_beside_classes_but_not_among_them(tmp_path):
    refuse_inside(tmp_path, tmp_path)
    refuse_inside(tmp_path / "b", tmp_path / "a")
    with pytest.raises(ValueError, match="lies inside"):
        refuse_inside(tmp_path / "a" / "b", tmp_path / "a")
    with pytest.raises(ValueError, match="is the folder that is read"):
        refuse_inside(tmp_path / "a", tmp_path / "b" / ".." / "a", images=True)

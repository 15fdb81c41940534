"""Tests of medleak.custom.data.folders.table."""

import pytest

from medleak.custom.data.data_error import DataError
from medleak.custom.data.folders.table import Labelled, matched, parse_columns, read_table


def table(tmp_path, text):
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    return tmp_path / "labels.csv"


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("image,label\na.png,x\n", ("image", "label", "")),
        ("\ufeffImage Index;Finding Labels;Patient ID\na.png;x;7\n", None),
        ("filename\tdiagnosis\na.png\tx\n", ("filename", "diagnosis", "")),
    ],
)
def test_usual_columns_are_recognised(tmp_path, text, columns):
    rows, found = read_table(table(tmp_path, text))
    assert rows["a.png"].label == "x"
    if columns is None:
        assert (found.image, found.label, found.patient) == (
            "Image Index",
            "Finding Labels",
            "Patient ID",
        )
    else:
        assert (found.image, found.label, found.patient) == columns


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,MEL,NV\na,1,0\n", "no column that could be the label's"),
        ("image,label,class\na,x,y\n", "2 columns that could be the label's"),
        ("image,label\na,x\na,y\n", "line 2 and, otherwise, in line 3"),
        ("image,label\na,x,z\n", "line 2: it has 3 values for 2 columns"),
        ("image,label\n", "has no row"),
        ("", "no column"),
        ('image,label\n"a,x\n', "cannot be read"),
    ],
)
def test_a_table_that_does_not_say_the_class_is_refused(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        read_table(table(tmp_path, text))


def test_columns_can_be_named(tmp_path):
    path = table(tmp_path, "a,b,label\n1.png,x,no\n")
    rows, _ = read_table(path, parse_columns("image=a, label=b"))
    assert rows == {"1.png": Labelled(label="x", patient="", line=2)}
    with pytest.raises(DataError, match="no column that could be the image's"):
        read_table(path, parse_columns("image=z,label=b"))
    for wrong in ("image", "picture=a", "image=a,image=b"):
        with pytest.raises(DataError, match="cannot be understood"):
            parse_columns(wrong)


def test_rows_find_their_images_by_path_name_or_stem(tmp_path):
    rows, _ = read_table(table(tmp_path, "image,label\nd/a.png,x\nb.png,y\nc,z\nnone,x\n"))
    found, without = matched(["d/a.png", "e/b.png", "e/c.jpg", "e/d.png"], rows, tmp_path)
    assert {image: row.label for image, row in found.items()} == {
        "d/a.png": "x",
        "e/b.png": "y",
        "e/c.jpg": "z",
    }
    assert without == 1
    with pytest.raises(DataError, match="2 images have the name in it"):
        matched(["d/b.png", "e/b.png"], rows, tmp_path)
    with pytest.raises(DataError, match="names none of the 1 images"):
        matched(["q.png"], rows, tmp_path)

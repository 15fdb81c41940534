"""What is left out of the file is not in it in any form."""

import base64
import dataclasses
import io
import json
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from tests.inversion.report.directories import grid, report_of


@pytest.fixture
def audit(directory):
    return directory.write(grid(["site-1", "site-2"], images=2, leak={"site-2": 0.5}))


def files(folder, pattern="truth_*.png"):
    found = sorted((folder / "images").glob(pattern))
    assert found
    return found


def parts(png):
    """Pieces of a picture that could be found in another file, whatever they are wrapped in."""
    with Image.open(io.BytesIO(png)) as picture:
        pixels = np.asarray(picture.convert("L"))
    idat = png[png.index(b"IDAT") + 4 : -16]
    raw = [png, idat, idat[:24], idat[-24:], pixels.tobytes(), pixels[20:24].tobytes()]
    texts = [
        base64.b64encode(p[s:]).rstrip(b"=")[:-2] for p in raw for s in (0, 1, 2)
    ]  # every alignment that base64 may have
    return [*raw, zlib.compress(pixels.tobytes()), *texts, *(p.hex().encode() for p in raw[:4])]


def test_redacted_no_byte_of_an_original_nor_of_a_difference_is_in_the_file(audit):
    html = report_of(audit, originals="redacted").html
    pictures = [path.read_bytes() for path in files(audit)]
    for truth in pictures:
        found = [p for p in parts(truth) if len(p) > 12 and p in html]
        assert found == []
    with Image.open(io.BytesIO(pictures[0])) as a, Image.open(audit / "images/prior.png") as b:
        difference = np.abs(np.asarray(a, dtype=int) - np.asarray(b, dtype=int)).astype(np.uint8)
    assert base64.b64encode(difference.tobytes())[:-4] not in html


@pytest.mark.parametrize("originals", ["hidden", "shown"])
def test_the_same_search_finds_them_where_they_are_not_redacted(audit, originals):
    html = report_of(audit, originals=originals).html
    for path in files(audit):
        assert base64.b64encode(path.read_bytes()) in html


def test_a_reconstruction_that_equals_an_original_goes_with_it(audit, directory):
    rows = grid(["site-1", "site-2"], images=2)
    stolen = audit / rows[0].picture
    with Image.open(files(audit)[0]) as truth:
        truth.convert("RGB").save(stolen, compress_level=1)  # the same pixels, other bytes
    made = report_of(directory.path, originals="redacted")
    assert base64.b64encode(stolen.read_bytes())[:-4] not in made.html
    assert any("equal to an original" in note for note in made.notes)


def test_an_original_of_either_audit_goes_from_both(directory, another):
    before = directory.write(grid(["site-1"], rounds=1))
    rows = [dataclasses.replace(r, truth_picture=None) for r in grid(["site-1"], rounds=1)]
    after = another.write(rows)
    stolen = files(before)[0].read_bytes()
    (after / rows[0].picture).write_bytes(stolen)
    made = report_of(before, after, originals="redacted")
    assert base64.b64encode(stolen)[:-4] not in made.html


def test_an_original_that_no_row_names_is_known_by_its_file(directory):
    rows = [dataclasses.replace(r, truth_picture=None) for r in grid(["site-1"], rounds=1)]
    folder = directory.write(rows)
    stolen = directory.save("images/truth_site-1_7.png", directory.phantoms[5]).read_bytes()
    (folder / rows[0].picture).write_bytes(stolen)
    assert base64.b64encode(stolen)[:-4] not in report_of(folder, originals="redacted").html


@pytest.mark.parametrize("name", ["{stem}_it0010.png", "images/prior.png"])
def test_no_other_picture_brings_an_original_back(directory, name):
    rows = grid(["site-1"], rounds=1)
    folder = directory.write(rows)
    path = folder / name.format(stem=rows[0].picture.removesuffix(".png"))
    stolen = files(folder)[0].read_bytes()
    path.write_bytes(stolen)
    assert base64.b64encode(stolen)[:-4] not in report_of(folder, originals="redacted").html
    assert base64.b64encode(stolen) in report_of(folder, originals="shown").html


def test_panels_that_hold_originals_are_never_embedded(audit, directory):
    name = "images/round_0000_panel.png"
    panel = directory.save(name, np.arange(4096).reshape(64, 64) % 251).read_bytes()
    assert base64.b64encode(panel)[:-4] not in report_of(audit, originals="shown").html


def test_a_picture_is_embedded_without_its_metadata(audit):
    path = audit / "images/prior.png"
    with Image.open(path) as picture:
        words = PngImagePlugin.PngInfo()
        words.add_text("Comment", "patient 4711, born 1961")
        picture.save(path, pnginfo=words)
    assert b"patient 4711" in path.read_bytes()
    html = report_of(audit, originals="shown").html
    assert b"patient 4711" not in html
    assert base64.b64encode(b"patient 4711")[:-2] not in html


def test_no_pictures_means_none_at_all(audit):
    made = report_of(audit, originals="hidden", pictures=False)
    assert b"iVBORw0KGgo" not in made.html
    assert any("All pictures were left out" in note for note in made.notes)


def test_each_picture_is_in_the_file_once(audit):
    html = report_of(audit, originals="shown").html
    for path in [*files(audit), *files(audit, "round_*.png"), audit / "images/prior.png"]:
        assert html.count(base64.b64encode(path.read_bytes())) == 1, path.name


def test_folders_of_truth_lists_are_not_told(audit):
    config = json.loads((audit / "config.json").read_text())
    assert "patient-17" in json.dumps(config["truth"])
    assert b"patient-17" not in report_of(audit, originals="shown").html


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "images/link.png", "images"])
def test_a_picture_outside_of_the_audit_is_not_read(directory, name, tmp_path):
    secret = directory.save("../secret.png", np.full((8, 8), 77.0))
    (row,) = grid(["site-1"], rounds=1)
    directory.write([row])
    (directory.path / "images/link.png").symlink_to(secret)
    folder = directory.write([dataclasses.replace(row, picture=name)], pictures=False)
    made = report_of(folder, originals="shown")
    assert base64.b64encode(secret.read_bytes())[:-4] not in made.html
    assert any("missing or damaged" in note for note in made.notes)

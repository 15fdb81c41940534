"""Every kind of bad data that a site may have: used as a viewer shows it, or refused in a line."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from medleak.custom.data.datalist import DataError, Item, load_datalist
from medleak.custom.data.folders.classes import read_folders, read_images
from medleak.custom.data.image_files import open_image
from medleak.custom.data.masks import load_masks
from medleak.custom.data.transforms import decode, load_images

GRAY = np.linspace(0, 255, 24 * 16).astype(np.uint8).reshape(16, 24)
NOISE = np.random.default_rng(0).integers(0, 256, (16, 24), dtype=np.uint8)
COLOUR = np.stack([GRAY, GRAY[::-1], GRAY[:, ::-1]], 2)


def saved(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def encoded(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def frames(format):
    pictures = [Image.new("L", (8, 8), shade) for shade in (0, 99, 255)]
    return encoded(pictures[0], format, save_all=True, append_images=pictures[1:])


def one_line(call, *args, **kwargs):
    with pytest.raises(DataError) as caught:
        call(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    assert re.search(r": .*\. [A-Z].*\.$", message)
    return message


# What stands in a class folder, and what the reader or the decoder says of it.
REFUSED = {
    "zero bytes": (b"", "holds no PNG"),
    "text": (b"patient,label\n", "holds no PNG"),
    "a spreadsheet": (b"PK\x03\x04", "holds no PNG"),
    "truncated PNG": (encoded(Image.fromarray(NOISE), "PNG")[:200], "cannot be read|is damaged"),
    "truncated JPEG": (encoded(Image.fromarray(NOISE), "JPEG")[:-200], "cannot be read|is damaged"),
    "animated GIF": (frames("GIF"), "3 frames"),
    "animated PNG": (frames("PNG"), "3 frames"),
    "animated WebP": (frames("WEBP"), "3 frames"),
    "a stack in TIFF": (frames("TIFF"), "3 frames"),
    "12 bits in 16": (encoded(Image.fromarray(GRAY.astype(np.uint16) * 16), "PNG"), "--window"),
    "14 bits in 16": (encoded(Image.fromarray(GRAY.astype(np.uint16) * 64), "PNG"), "--window"),
    "32-bit values": (encoded(Image.fromarray(GRAY.astype(np.int32) * 999), "TIFF"), "--window"),
    "real values": (encoded(Image.fromarray(GRAY.astype(np.float32)), "TIFF"), "--window"),
    "negative values": (
        encoded(Image.fromarray(GRAY.astype(np.int32) * 200 - 1000), "TIFF"),
        "--window",
    ),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_single_sound_image_is_refused_by_name(tmp_path, content, message):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "scan.png").write_bytes(content)

    def read():
        items, _ = read_folders(tmp_path)
        load_images(items, spatial_size=(8, 8), data_root=tmp_path)

    said = one_line(read)
    assert re.search(message, said)
    assert "scan.png" in said


def test_ten_thousand_by_ten_thousand_pixels_are_refused_before_decoding(tmp_path, monkeypatch):
    path = saved(tmp_path / "bomb.png", Image.new("1", (10_000, 10_000)))
    assert path.stat().st_size < 50_000

    def decoded(self):
        raise AssertionError("the bomb went off")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", decoded)
    assert "pixels" in one_line(open_image, path)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_all_sizes_modes_and_depths_come_in_one_size_and_range(tmp_path, channels):
    palette = Image.fromarray(COLOUR).quantize(16)
    masked = Image.fromarray(COLOUR).convert("RGBA")
    masked.putalpha(Image.fromarray(GRAY))
    cmyk = Image.fromarray(COLOUR).convert("CMYK")
    images = {
        "gray.png": Image.fromarray(GRAY),
        "bits.png": Image.fromarray(GRAY).convert("1"),
        "colour.jpg": Image.fromarray(COLOUR),
        "palette.png": palette,
        "palette.gif": palette,
        "alpha.png": masked,
        "gray-alpha.png": Image.fromarray(GRAY).convert("LA"),
        "cmyk.jpg": cmyk,
        "cmyk.tif": cmyk,
        "sixteen.png": Image.fromarray(GRAY.astype(np.uint16) * 257),
        "sixteen.tif": Image.fromarray(GRAY.astype(np.uint16) * 257),
        "large.webp": Image.fromarray(COLOUR).resize((333, 222)),
        "one.bmp": Image.new("RGB", (1, 1), (255, 255, 255)),
    }
    for name, image in images.items():
        saved(tmp_path / "a" / name, image)
    items, _ = read_folders(tmp_path)
    assert len(items) == len(images)
    loaded, _ = load_images(items, spatial_size=(16, 24), channels=channels, data_root=tmp_path)
    assert loaded.shape == (len(images), channels, 16, 24)
    assert 0 <= loaded.min() <= loaded.max() <= 1
    assert loaded.amax((1, 2, 3)).min() > 0.4


@pytest.mark.parametrize(("suffix", "order"), [("png", "<"), ("tif", "<"), ("tif", ">")])
def test_sixteen_bits_are_shown_over_their_full_range(tmp_path, suffix, order):
    values = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    path = saved(tmp_path / f"x.{suffix}", Image.fromarray(values.astype(f"{order}u2")))
    np.testing.assert_array_equal(decode(path, (8, 8), 1)[..., 0], np.rint(values / 257))


def test_a_loop_of_links_is_refused_and_does_not_hang(tmp_path):
    saved(tmp_path / "a" / "x.png", Image.fromarray(GRAY))
    (tmp_path / "a" / "again").symlink_to(tmp_path, target_is_directory=True)
    for read in (read_folders, read_images):
        assert "again" in one_line(read, tmp_path)


def test_an_image_that_may_not_be_read_is_refused_by_name(tmp_path, monkeypatch):
    saved(tmp_path / "a" / "locked.png", Image.fromarray(GRAY))

    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.open", refuse)
    assert "Permission denied" in one_line(read_folders, tmp_path)


def test_a_typo_in_a_class_is_refused_with_the_classes_there_are(tmp_path):
    for name in ("normal", "pneumonia"):
        saved(tmp_path / name / "x.png", Image.fromarray(GRAY))
    said = one_line(read_folders, tmp_path, ["normal", "pneumona"])
    assert "'pneumona'" in said
    assert "'normal', 'pneumonia'" in said


@pytest.mark.parametrize("label", ["pneumona", "1", 2, -1, None, 0.5])
def test_a_typo_in_a_label_is_refused_by_its_place(tmp_path, label):
    (tmp_path / "l.json").write_text(json.dumps({"training": [{"image": "x.png", "label": label}]}))
    assert "training[0]" in one_line(load_datalist, tmp_path / "l.json", num_classes=2)


def test_other_files_beside_the_images_are_passed_over(tmp_path):
    saved(tmp_path / "a" / "x.png", Image.fromarray(GRAY))
    for name in ("notes.txt", "labels.csv", "Thumbs.db", "report.pdf", "x.png.md5"):
        (tmp_path / "a" / name).write_bytes(b"%PDF-1.7 Jane Doe")
    assert [item.image for item in read_images(tmp_path)] == ["a/x.png"]


def test_a_folder_without_images_is_refused_unless_it_may_be_empty(tmp_path):
    assert "holds no image" in one_line(read_images, tmp_path)
    assert read_images(tmp_path, may_be_empty=True) == []


@pytest.mark.parametrize("load", [load_images, load_masks])
def test_a_jobs_message_names_the_place_of_a_bad_image_and_not_its_file(tmp_path, load):
    good = saved(tmp_path / "good.png", Image.fromarray(GRAY))
    (tmp_path / "Doe_Jane_1970.png").write_bytes(b"")
    items = [Item(str(path), 0, "p", str(path)) for path in (good, tmp_path / "Doe_Jane_1970.png")]
    with pytest.raises(DataError) as caught:
        load(items, spatial_size=(8, 8), section="training")
    assert re.match(r"training\[1\]: Image '…' holds no PNG", str(caught.value))
    assert "Doe" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["Doe_J", "O'Doe, J", 'Doe "J"', """Doe ' and " J""", "Doe\\J", "Doe\nJ", "(Doe)'"]
)
@pytest.mark.parametrize(
    "call",
    [
        lambda root, name: open_image(root / name),
        lambda root, name: read_folders(root / name),
        lambda root, name: read_folders(root, [name]),
        lambda root, name: load_datalist(root / name),
        lambda root, name: decode(root / name, (8, 8), 1),
    ],
)
def test_a_message_for_a_log_has_nothing_of_any_name(tmp_path, call, name):
    (tmp_path / "patient Doe").mkdir()
    with pytest.raises(DataError) as caught:
        call(tmp_path, name)
    assert "Doe" in str(caught.value)
    said = caught.value.for_log()
    assert "Doe" not in said
    assert str(tmp_path) not in said
    assert re.search(r"\. [A-Z].*\.$", said)

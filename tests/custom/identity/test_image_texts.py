"""Tests of medleak.custom.identity.image_texts: where formats keep words."""

import struct

import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from medleak.custom.identity.image_texts import values_of
from medleak.custom.identity.values import matches

SECRET = "ZX-7731904"
NAME = "zx7731904"


def found(path):
    return [v.place for v in values_of(path) if matches(v, NAME, own=False)]


def exif(tag, value):
    made = Image.Exif()
    made[tag] = value
    return made


def xmp(text):
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description dc:creator="nobody">'
        f"<dc:title>{text}</dc:title></rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def iptc(text):
    data = text.encode()
    record = b"\x1c\x02\x78" + struct.pack(">H", len(data)) + data
    body = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(record)) + record + b"\0" * (len(record) % 2)
    block = b"Photoshop 3.0\0" + body
    return b"\xff\xed" + struct.pack(">H", len(block) + 2) + block


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(
    ("tag", "value"),
    [
        (0x010E, SECRET),
        (0x013B, SECRET),
        (0x8298, f"(c) {SECRET}"),
        (0x9C9C, SECRET.encode("utf-16-le")),
    ],
)
def test_exif_of_every_format_is_read(tmp_path, format, tag, value):
    path = tmp_path / "x.image"
    Image.new("L", (9, 9)).save(path, format=format, exif=exif(tag, value))
    assert found(path)


def test_the_comment_that_a_camera_writes_is_read(tmp_path):
    made = Image.Exif()
    made.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + SECRET.encode()
    Image.new("L", (9, 9)).save(tmp_path / "x.jpg", exif=made)
    assert found(tmp_path / "x.jpg")


def test_comments_of_jpeg_and_gif_are_read(tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "x.jpg", comment=f"of {SECRET}".encode())
    Image.new("L", (9, 9)).save(tmp_path / "x.gif", comment=f"of {SECRET}".encode())
    assert found(tmp_path / "x.jpg")
    assert found(tmp_path / "x.gif")


def test_xmp_and_iptc_are_read(tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "x.jpg", xmp=xmp(SECRET))
    Image.new("L", (9, 9)).save(tmp_path / "x.webp", xmp=xmp(SECRET))
    assert found(tmp_path / "x.jpg")
    assert found(tmp_path / "x.webp")
    Image.new("L", (9, 9)).save(tmp_path / "y.jpg")
    content = (tmp_path / "y.jpg").read_bytes()
    (tmp_path / "y.jpg").write_bytes(content[:2] + iptc(SECRET) + content[2:])
    assert found(tmp_path / "y.jpg")


@pytest.mark.parametrize("kind", ["plain", "compressed", "international", "key", "behind"])
def test_texts_of_png_are_read_wherever_they_stand(tmp_path, kind):
    texts = PngImagePlugin.PngInfo()
    if kind in ("plain", "compressed"):
        texts.add_text("Title", f"of {SECRET}", zip=kind == "compressed")
    elif kind == "international":
        texts.add_itxt("Title", f"of {SECRET} Müller", zip=True)
    elif kind == "key":
        texts.add_text(SECRET, "x")
    else:
        texts.add(b"tEXt", b"Title\0" + SECRET.encode(), after_idat=True)
    Image.new("L", (9, 9)).save(tmp_path / "x.png", pnginfo=texts)
    assert found(tmp_path / "x.png")


def test_tags_of_tiff_are_read(tmp_path):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[269] = SECRET  # DocumentName
    Image.new("L", (9, 9)).save(tmp_path / "x.tif", tiffinfo=tags)
    assert found(tmp_path / "x.tif")


def test_an_image_that_says_nothing_has_no_values_and_a_damaged_one_is_anothers_to_refuse(tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "x.png")
    assert values_of(tmp_path / "x.png") == []
    (tmp_path / "y.png").write_bytes((tmp_path / "x.png").read_bytes()[:40])
    (tmp_path / "z.jpg").write_bytes(b"\xff\xd8\xff\xe1\xff\xff")
    assert values_of(tmp_path / "y.png") == values_of(tmp_path / "z.jpg") == []

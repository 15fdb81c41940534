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


def segment(marker, data):
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def iptc(text):
    data = text.encode()
    record = b"\x1c\x02\x78" + struct.pack(">H", len(data)) + data
    body = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(record)) + record + b"\0" * (len(record) % 2)
    return segment(0xED, b"Photoshop 3.0\0" + body)


def jpeg_with(path, *segments):
    """A JPEG file with ``segments`` before its own comment."""
    Image.new("L", (9, 9)).save(path, format="JPEG", comment=b"the last of the comments")
    content = path.read_bytes()
    path.write_bytes(content[:2] + b"".join(segments) + content[2:])
    return path


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
    assert found(jpeg_with(tmp_path / "y.jpg", iptc(SECRET)))


EXTENDED = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 40
BAD_EXIF = b"Exif\0\0XX*\0"


@pytest.mark.parametrize(
    ("segments", "place"),
    [
        ([(0xFE, SECRET.encode())], "the comment (COM)"),
        ([(0xFE, SECRET.encode()), (0xFE, b"another")], "the comment (COM)"),
        ([(0xEC, b"Ducky " + SECRET.encode())], "APP12"),
        ([(0xE1, EXTENDED + f"<x><y>{SECRET}</y></x>".encode())], "APP1"),
        ([(0xE1, BAD_EXIF + SECRET.encode())], "damaged metadata"),
        ([(0xE1, BAD_EXIF + b"rubbish"), (0xFE, SECRET.encode())], "the comment (COM)"),
    ],
)
def test_every_segment_of_a_jpeg_is_read_and_a_damaged_one_hides_no_other(
    tmp_path, segments, place
):
    path = jpeg_with(tmp_path / "x.jpg", *(segment(*one) for one in segments))
    assert found(path) == [place]
    assert found(jpeg_with(path, *(segment(m, d.replace(b"77", b"88")) for m, d in segments))) == []


def test_the_end_of_a_long_text_is_read(tmp_path):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Title", "word " * 20_000 + SECRET, zip=True)
    Image.new("L", (9, 9)).save(tmp_path / "x.png", pnginfo=texts)
    assert found(tmp_path / "x.png") == ["a PNG text"]


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

"""Every DICOM file that pydicom ships, read by decode_dicom and by a second way written here.

The second way takes the header's numbers from pydicom, and neither its decoders nor the code under
test: native data are cut by numpy, frames are decoded by imagecodecs, RLE by hand.
"""

import re
import warnings
from itertools import pairwise
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from tests.places import ROOT

from medleak.custom.data.data_error import DataError
from medleak.custom.data.dicom import decode_dicom, is_dicom

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")


def shipped():
    """The files in the package; what get_testdata_file would download is not among them."""
    from pydicom.data.data_manager import DATA_ROOT

    root = Path(str(DATA_ROOT)) / "test_files"
    return sorted(path for path in root.rglob("*") if path.is_file() and is_dicom(path))


def header(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some files have what pydicom warns of
        return pydicom.dcmread(path)


def has_picture(dataset):
    return "Rows" in dataset and any("PixelData" in keyword for keyword in dataset.dir())


def by_second_way(dataset) -> np.ndarray:
    rows, columns, samples = dataset.Rows, dataset.Columns, dataset.SamplesPerPixel
    space = dataset.PhotometricInterpretation
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        stored = decoded(dataset, joined_fragments(dataset), syntax.name)
    else:
        stored = native(dataset, "<" if syntax.is_little_endian else ">")
    stored = np.asarray(stored).reshape((rows, columns, samples)[: 2 + (samples > 1)])
    if space.startswith("YBR_FULL"):
        stored = rgb(stored)
    if samples > 1:
        return np.rint(stored / (2.0**dataset.BitsStored - 1) * 255).astype(np.uint8)
    if space == "PALETTE COLOR":
        return coloured(dataset, stored)
    values = with_sign(stored, dataset) * float(dataset.get("RescaleSlope") or 1)
    values = values + float(dataset.get("RescaleIntercept") or 0)
    gray = shown(dataset, values, stored)
    return 255 - gray if space == "MONOCHROME1" else gray


def native(dataset, order):
    """Values as the bytes say: one bit, whole bytes, planes, or brightness at twice the columns."""
    data, bits = dataset.PixelData, dataset.BitsAllocated
    count = dataset.Rows * dataset.Columns * dataset.SamplesPerPixel
    if bits == 1:
        return np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[:count]
    if dataset.PhotometricInterpretation == "YBR_FULL_422":
        four = np.frombuffer(data, np.uint8).reshape(-1, 4)  # Y1 Y2 Cb Cr
        pairs = [np.stack([four[:, y], four[:, 2], four[:, 3]], -1) for y in (0, 1)]
        return np.stack(pairs, 1)
    if order == ">" and bits == 8 and dataset["PixelData"].VR == "OW":
        data = np.frombuffer(data, "<u2").byteswap().tobytes()
    stored = np.frombuffer(data, f"{order}u{bits // 8}")[:count]
    if dataset.get("PlanarConfiguration") == 1:
        stored = stored.reshape(3, dataset.Rows, dataset.Columns).transpose(1, 2, 0)
    return stored


def joined_fragments(dataset):
    """The one frame's bytes: all items of the sequence but its first, the offset table."""
    data, at, found = dataset.PixelData, 0, []
    while data[at : at + 4] == b"\xfe\xff\x00\xe0":
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        found.append(data[at + 8 : at + 8 + size])
        at += 8 + size
    return b"".join(found[1:])


def decoded(dataset, frame, syntax):
    if syntax.startswith("RLE"):
        return unpacked(dataset, frame)
    if "JPEG 2000" in syntax:
        return imagecodecs.jpeg2k_decode(frame)
    if "JPEG-LS" in syntax:
        return imagecodecs.jpegls_decode(frame)
    if "Lossless" in syntax:
        return imagecodecs.ljpeg_decode(frame)
    if dataset.PhotometricInterpretation == "RGB":
        return imagecodecs.jpeg8_decode(frame, colorspace="RGB", outcolorspace="RGB")
    return imagecodecs.jpeg8_decode(frame, colorspace="YCBCR", outcolorspace="YCBCR")


def unpacked(dataset, frame):
    """PackBits of each byte plane, the most significant first (PS3.5 annex G)."""
    head = np.frombuffer(frame[:64], "<u4")
    bounds = [*head[1 : 1 + head[0]].tolist(), len(frame)]
    size = dataset.Rows * dataset.Columns
    planes = []
    for start, end in pairwise(bounds):
        plane, at = bytearray(), start
        while at < end - 1 and len(plane) < size:
            n = frame[at]
            if n < 128:
                plane += frame[at + 1 : at + 2 + n]
                at += 2 + n
            elif n > 128:
                plane += frame[at + 1 : at + 2] * (257 - n)
                at += 2
            else:
                at += 1
        planes.append(np.frombuffer(bytes(plane[:size]), np.uint8).astype(np.uint64))
    width = dataset.BitsAllocated // 8
    channels = []
    for c in range(dataset.SamplesPerPixel):
        value = np.zeros(size, np.uint64)
        for plane in planes[c * width : (c + 1) * width]:
            value = value * np.uint64(256) + plane
        channels.append(value)
    return np.stack(channels, -1).astype(f"u{width}")


def with_sign(stored, dataset):
    bits = int(dataset.BitsStored)
    values = stored.astype(np.int64) % 2**bits
    negative = dataset.PixelRepresentation == 1 and values >= 2 ** (bits - 1)
    return np.where(negative, values - 2**bits, values)


def rgb(ybr):
    y, cb, cr = (ybr[..., k].astype(float) for k in range(3))
    red, blue = y + 1.402 * (cr - 128), y + 1.772 * (cb - 128)
    green = y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128)
    return np.clip(np.rint(np.stack([red, green, blue], -1)), 0, 255)


def coloured(dataset, stored):
    channels = []
    for name in ("Red", "Green", "Blue"):
        count, first, _ = dataset[f"{name}PaletteColorLookupTableDescriptor"].value
        table = np.frombuffer(dataset[f"{name}PaletteColorLookupTableData"].value, "<u2")
        assert len(table) == count
        channels.append(table[np.clip(stored.astype(int) - first, 0, count - 1)])
    return np.rint(np.stack(channels, -1) / 257).astype(np.uint8)


def shown(dataset, values, stored):
    if "WindowCenter" in dataset:
        c, w = (np.ravel(dataset[name].value)[0] for name in ("WindowCenter", "WindowWidth"))
        c, w = float(c), float(w)
        share = (values - (c - 0.5)) / (w - 1) + 0.5  # PS3.3 C.11.2.1.2.1
    else:
        shown = values
        if "PixelPaddingValue" in dataset:
            shown = values[stored != dataset.PixelPaddingValue]
        share = (values - shown.min()) / max(shown.max() - shown.min(), 1e-9)
    return np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)


def tolerance(dataset):
    """Decoders of JPEG, and of JPEG 2000 with losses, round differently by a value or two."""
    name = dataset.file_meta.TransferSyntaxUID.name
    return 4 if re.search("JPEG (Base|2000)", name) and "Lossless" not in name else 0


# Files whose pixels cannot be had, and why; all others must be read.
REFUSED = {
    "JPGExtended.dcm": "cannot be decoded",  # JPEG of 12 bits, which no decoder of the extra reads
    "JPEG-lossy.dcm": "cannot be decoded",  # the stream is broken
    "JPEG2000-embedded-sequence-delimiter.dcm": "cannot be decoded",  # likewise
    "MR_truncated.dcm": "cannot be decoded",
    "badVR.dcm": "is damaged",
    "SC_rgb_rle_32bit.dcm": "black and white is unknown",
    "SC_rgb_rle_2frame.dcm": "holds 2 frames",
    "SC_rgb_rle_16bit_2frame.dcm": "holds 2 frames",
    "SC_rgb_rle_32bit_2frame.dcm": "holds 2 frames",
    "examples_ybr_color.dcm": "holds 30 frames",
    "rtdose.dcm": "holds 15 frames",
    "rtdose_expb.dcm": "holds 15 frames",
    "rtdose_rle.dcm": "holds 15 frames",
}


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.name)
def test_every_file_is_shown_as_by_a_second_reading_or_refused_for_its_reason(path):
    dataset = header(path)
    if not has_picture(dataset):
        with pytest.raises(DataError, match="no pixel data"):
            decode_dicom(path)
    elif path.name in REFUSED:
        with pytest.raises(DataError, match=REFUSED[path.name]):
            decode_dicom(path)
    else:
        image, _ = decode_dicom(path)
        other = by_second_way(dataset)
        assert image.shape == other.shape
        assert np.abs(image.astype(int) - other.astype(int)).max() <= tolerance(dataset)


def test_the_table_of_the_docs_counts_these_files():
    pictures = [path for path in shipped() if has_picture(header(path))]
    refused = [path for path in pictures if path.name in REFUSED]
    assert {path.name for path in refused} == set(REFUSED)
    page = (ROOT / "docs" / "reference" / "data.md").read_text(encoding="utf-8")
    row = "| pydicom's own test files | all that ship with pydicom 3.0 and hold pixels "
    assert f"{row}| {len(pictures) - len(refused)} | {len(refused)} |" in page
    assert f"files, {len(shipped()) - len(pictures)} hold no picture" in page


def test_equal_pictures_in_different_encodings_are_equal():
    read = {path.name: path for path in shipped()}
    for names in (
        ("liver_1frame.dcm", "liver_expb_1frame.dcm"),
        ("rtdose_1frame.dcm", "rtdose_expb_1frame.dcm", "rtdose_rle_1frame.dcm"),
        ("SC_rgb_jpeg.dcm", "SC_rgb_jpeg_dcmd.dcm"),
        ("SC_rgb_small_odd.dcm", "SC_rgb_small_odd_big_endian.dcm"),
        *(("MR_small.dcm", name) for name in read if re.match("MR_small_.*dcm", name)),
    ):
        first, *others = (decode_dicom(read[name])[0] for name in names)
        for other in others:
            np.testing.assert_array_equal(first, other)

"""DICOM of every mode: bits, sign, polarity, windows, tables, colour, planes, compression."""

import io
from collections.abc import Iterator
from itertools import product
from typing import Any

import imagecodecs
import numpy as np
from tests.custom.contracts.modes import HEIGHT, WIDTH, Case, eight, random, saved, smooth

SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "explicit": "1.2.840.10008.1.2.1",
    "deflated": "1.2.840.10008.1.2.1.99",
    "big endian": "1.2.840.10008.1.2.2",
}
JPEG, JPEG12, LOSSLESS, JPEG_LS, NEAR, RLE, J2K, J2K_LOSSY, HTJ2K = (
    f"1.2.840.10008.1.2.{end}"
    for end in ("4.50", "4.51", "4.70", "4.80", "4.81", "5", "4.90", "4.91", "4.201")
)


def dicom(
    values: np.ndarray,
    *,
    stored: int,
    high: int | None = None,
    space: str = "MONOCHROME2",
    syntax: str = SYNTAXES["explicit"],
    planes: bool = False,
    frame: bytes | None = None,
    data: bytes | None = None,
    **header: Any,
) -> bytes:
    """A file of ``values`` [H, W] or [H, W, 3], of ``frame`` compressed or of ``data`` as it is."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, SecondaryCaptureImageStorage, generate_uid

    dataset, uid = Dataset(), UID(syntax)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = 3 if values.ndim == 3 else 1
    dataset.PhotometricInterpretation = space
    if values.ndim == 3:
        dataset.PlanarConfiguration = int(planes)
    dataset.BitsAllocated, dataset.BitsStored = 8 * values.dtype.itemsize, stored
    dataset.HighBit = stored - 1 if high is None else high
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    order = "<" if uid.is_little_endian else ">"
    if data is None:
        laid = np.moveaxis(values, -1, 0) if planes else values
        data = laid.astype(values.dtype.newbyteorder(order)).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2) if frame is None else encapsulate([frame])
    dataset["PixelData"].VR = "OB" if frame is not None or values.dtype.itemsize == 1 else "OW"
    for name, value in header.items():
        if isinstance(value, bytes) and order == ">" and name.endswith("TableData"):
            value = np.frombuffer(value, "<u2").byteswap().tobytes()
        setattr(dataset, name, value)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def bit_cases() -> Iterator[Case]:
    """Bits allocated and stored x their place x sign x polarity x byte order."""
    for (kind, stored), low, signed, space, syntax in product(
        (("1", 6), ("1", 8), ("2", 10), ("2", 12), ("2", 14), ("2", 16), ("4", 24), ("4", 32)),
        (True, False),
        (False, True),
        ("MONOCHROME1", "MONOCHROME2"),
        SYNTAXES,
    ):
        size = 8 * int(kind)
        meant = random((HEIGHT, WIDTH), 2**stored - 1, np.int64) - signed * 2 ** (stored - 1)
        shift = 0 if low else size - stored
        values = (meant << shift).astype(f"{'i' if signed else 'u'}{kind}")
        picture = eight(meant - meant.min(), float(meant.max() - meant.min()))
        yield Case(
            label=f"{stored} in {size}, low {low}, signed {signed}, {space}, {syntax}",
            content=dicom(
                values,
                stored=stored,
                high=stored - 1 + shift,
                space=space,
                syntax=SYNTAXES[syntax],
            ),
            right=255 - picture if space == "MONOCHROME1" else picture,
        )
    bits = random((HEIGHT, WIDTH), 1)
    data = np.packbits(bits.ravel(), bitorder="little").tobytes()
    content = dicom(bits, stored=1, data=data, BitsAllocated=1)
    yield Case(label="1 bit", content=content, right=bits * 255)
    unfilled = np.full((HEIGHT, WIDTH), -5, np.int16) & 0x0FFF  # sign not carried to the top
    unfilled[0] = 100
    right = np.where(unfilled == 100, 255, 0).astype(np.uint8)
    content = dicom(unfilled.astype(np.int16), stored=12)
    yield Case(label="signed, top bits empty", content=content, right=right)
    values = random((HEIGHT, WIDTH), 4095, "u2")
    marked = values | (random((HEIGHT, WIDTH), 1, "u2") << 12)
    yield Case(label="14 bits in 12", content=dicom(marked, stored=12), right="beyond the 12 bits")
    content = with_overlay(dicom(marked, stored=12))
    yield Case(label="an overlay in bit 12", content=content, right=eight(values, 4095))


def with_overlay(content: bytes) -> bytes:
    import pydicom

    dataset = pydicom.dcmread(io.BytesIO(content))
    dataset.add_new(0x60000100, "US", 16)
    dataset.add_new(0x60000102, "US", 12)
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


def window_cases() -> Iterator[Case]:
    """Slope and intercept, windows of three functions, a window that is asked for, padding."""
    for signed, space, (slope, intercept) in product(
        (False, True), ("MONOCHROME1", "MONOCHROME2"), ((1, 0), (2, -1024), (0.5, 10))
    ):
        values = random((HEIGHT, WIDTH), 4095, "u2")
        values = (values.astype("i2") - 2048) if signed else values
        real = values * float(slope) + intercept
        c, w = float(real.mean()), 1000.0
        rescale: dict[str, Any] = {"RescaleSlope": f"{slope}", "RescaleIntercept": f"{intercept}"}
        window: dict[str, Any] = {"WindowCenter": f"{c:.4f}", "WindowWidth": "1000"}
        c = float(window["WindowCenter"])
        for name, header, picture, asked in (
            ("none", {}, eight(real - real.min(), float(real.max() - real.min())), None),
            ("linear", window, eight((real - c + 0.5) / (w - 1) + 0.5, 1), None),
            ("exact", window, eight((real - c) / w + 0.5, 1), None),
            ("sigmoid", window, eight(1 / (1 + np.exp(-4 * (real - c) / w)), 1), None),
            ("asked", window, eight(real, c + 300, c - 300), (c - 300, c + 300)),
        ):
            function = {"exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}.get(name)
            more: dict[str, Any] = {"VOILUTFunction": function} if function else {}
            yield Case(
                label=f"signed {signed}, {space}, {slope}, {intercept}, {name}",
                content=dicom(values, stored=16, space=space, **rescale, **header, **more),
                right=255 - picture if space == "MONOCHROME1" else picture,
                window=asked,
            )
    content = dicom(random((4, 4), 9), stored=8, RescaleSlope="0")
    yield Case(label="slope 0", content=content, right="slope of zero")
    content = dicom(random((4, 4), 9), stored=8, WindowCenter="3", WindowWidth="0")
    yield Case(label="width 0", content=content, right="no width")
    values = random((HEIGHT, WIDTH), 1000, "i2")
    padded = values.copy()
    padded[:2] = -2000
    padded[2] = -1990
    inner = values[3:].astype(float)
    right = eight(padded - inner.min(), float(np.ptp(inner)))
    for first, last in ((-2000, -1990), (-1990, -2000)):
        pads: dict[str, Any] = {"PixelPaddingValue": first, "PixelPaddingRangeLimit": last}
        yield Case(label="padding", content=dicom(padded, stored=16, **pads), right=right)


def table_cases() -> Iterator[Case]:
    """Tables of interest and of modality, of any width, and palettes, also segmented."""
    from pydicom.dataset import Dataset

    def table(entries: np.ndarray, first: int, bits: int, syntax: str) -> Any:
        item = Dataset()
        item.LUTDescriptor = [len(entries), first % 65536, bits]
        item["LUTDescriptor"].VR = "US"
        order = ">" if syntax == "big endian" else "<"
        item.LUTData = entries.astype(f"{order}u2").tobytes()
        item["LUTData"].VR = "OW"
        return item

    for most, bits, first, syntax, space in product(
        (4095, 65535), (8, 12, 16), (0, 100), ("explicit", "big endian"), ("MONOCHROME1", "2")
    ):
        space = space if space == "MONOCHROME1" else "MONOCHROME2"
        values = random((HEIGHT, WIDTH), 255, "u2")
        entries = np.linspace(0, most, 200).round()
        picture = eight(entries[np.clip(values.astype(int) - first, 0, 199)], most)
        lut = [table(entries, first, bits, syntax)]
        options = {"stored": 16, "space": space, "syntax": SYNTAXES[syntax]}
        right = 255 - picture if space == "MONOCHROME1" else picture
        label = f"{most} in {bits} bits, first {first}, {syntax}, {space}"
        content = dicom(values, VOILUTSequence=lut, **options)
        yield Case(label=f"of interest: {label}", content=content, right=right)
        content = dicom(values, ModalityLUTSequence=lut, **options)
        yield Case(label=f"modality: {label}", content=content, right=right, window=(0, most))
    for wide, first, syntax, deep in product(
        (True, False), (0, 3), ("explicit", "big endian"), (True, False)
    ):
        most = 65535 if wide else 255
        colours = random((3, 200), most, "u2")
        values = random((HEIGHT, WIDTH), 255, "u2" if deep else "u1")
        picture = eight(colours, most).T[np.clip(values.astype(int) - first, 0, 199)]
        header = {}
        for name, entries in zip(("Red", "Green", "Blue"), colours, strict=True):
            title = f"{name}PaletteColorLookupTable"
            header[f"{title}Descriptor"] = [200, first, 16]
            header[f"{title}Data"] = entries.astype("<u2").tobytes()
        yield Case(
            label=f"palette: wide {wide}, first {first}, {syntax}, deep {deep}",
            content=dicom(
                values,
                stored=16 if deep else 8,
                space="PALETTE COLOR",
                syntax=SYNTAXES[syntax],
                **header,
            ),
            right=picture,
        )
    yield from segmented()


def segmented() -> Iterator[Case]:
    """A palette of a run and a ramp: 0, 40000, then eight steps up to 65535."""
    words = np.array([0, 2, 0, 40000, 1, 8, 65535], "<u2").tobytes()
    shades = np.array([0, 40000, *(40000 + np.arange(1, 9) * (65535 - 40000) / 8)]).round()
    header = {}
    for name in ("Red", "Green", "Blue"):
        header[f"{name}PaletteColorLookupTableDescriptor"] = [10, 0, 16]
        header[f"Segmented{name}PaletteColorLookupTableData"] = words
    values = random((HEIGHT, WIDTH), 9)
    content = dicom(values, stored=8, space="PALETTE COLOR", **header)
    right = np.stack([eight(shades, 65535)[values]] * 3, -1)
    yield Case(label="segmented", content=content, right=right)


def colour_cases() -> Iterator[Case]:
    """RGB and YBR of 8, 12 and 16 bits, in pixels or planes, in every byte order."""
    for stored, planes, syntax, space in product(
        (8, 12, 16), (False, True), SYNTAXES, ("RGB", "YBR_FULL")
    ):
        values = random((HEIGHT, WIDTH, 3), 2**stored - 1, "u1" if stored == 8 else "u2")
        picture = values.astype(float)
        if space == "YBR_FULL":
            y, cb, cr = (picture[..., k] - (k > 0) * 2 ** (stored - 1) for k in range(3))
            green = y - 0.344136 * cb - 0.714136 * cr
            picture = np.stack([y + 1.402 * cr, green, y + 1.772 * cb], -1)
            picture = np.clip(np.rint(picture), 0, 2**stored - 1)
        yield Case(
            label=f"{space}, {stored} bits, planes {planes}, {syntax}",
            content=dicom(
                values, stored=stored, space=space, planes=planes, syntax=SYNTAXES[syntax]
            ),
            right=eight(picture, 2**stored - 1),
            tolerance=int(space == "YBR_FULL"),
        )
    faint = random((HEIGHT, WIDTH, 3), 4095, "u2")
    content = dicom(faint, stored=16, space="RGB")
    yield Case(label="12 in 16, RGB", content=content, right="--window")
    picture = eight(faint, 4095)
    yield Case(label="12 in 16, RGB", content=content, right=picture, window=(0, 4095))
    content = dicom(random((HEIGHT, WIDTH, 3), 255), stored=8, space="RGB")
    yield Case(label="8 bits", content=content, right="a window is for gray", window=(0, 9))
    for space in ("HSV", "YBR_PARTIAL_422", "MONOCHROME2"):
        content = dicom(random((HEIGHT, WIDTH, 3), 255), stored=8, space=space)
        yield Case(label=space, content=content, right="colour space")


def compressed_cases() -> Iterator[Case]:
    """RLE, JPEG, JPEG Lossless, JPEG-LS, JPEG 2000, HTJ2K x depth x sign x colour."""
    for name, encode, syntax, tolerance in (
        ("RLE", None, RLE, 0),
        ("JPEG Lossless", imagecodecs.ljpeg_encode, LOSSLESS, 0),
        ("JPEG-LS", jpeg_ls, JPEG_LS, 0),
        ("JPEG 2000", lossless_j2k, J2K, 0),
        ("HTJ2K", lossless_htj2k, HTJ2K, 0),
    ):
        for stored, colour in product((8, 12, 16), (False, True)):
            if colour and (name == "JPEG Lossless" or stored == 12):
                continue
            shape = (HEIGHT * 8, WIDTH * 8, 3) if colour else (HEIGHT * 8, WIDTH * 8)
            values = random(shape, 2**stored - 1, "u1" if stored == 8 else "u2")
            options = {"bitspersample": stored} if "Lossless" in name or "2" in name else {}
            frame = rle(values) if encode is None else bytes(encode(values, **options))
            space = "MONOCHROME2" if not colour else "YBR_RCT" if "2" in name else "RGB"
            yield Case(
                label=f"{name}, {stored} bits, colour {colour}",
                content=dicom(values, stored=stored, syntax=syntax, space=space, frame=frame),
                right=eight(values, 2**stored - 1),
                tolerance=tolerance,
            )
    ramp = np.tile(smooth(1)[..., 0], (4, 4))
    content = dicom(
        ramp, stored=8, syntax=JPEG, frame=saved_jpeg(ramp), WindowCenter="128", WindowWidth="256"
    )
    yield Case(label="JPEG", content=content, right=ramp, tolerance=2)
    deep = (ramp.astype("u2") * 16).astype("u2")
    frame = bytes(imagecodecs.jpeg_encode(deep, level=100, bitspersample=12))
    content = dicom(deep, stored=12, syntax=JPEG12, frame=frame)
    yield Case(label="JPEG of 12 bits", content=content, right="cannot be decoded")
    signed = random((48, 80), 4095, "i2") - 2048
    content = dicom(signed, stored=12, syntax=RLE, frame=rle(signed))
    yield Case(label="RLE, signed", content=content, right=eight(signed + 2048, 4095))
    raw = (signed & 0x0FFF).astype("u2")
    frame = jpeg_ls(raw)
    content = dicom(signed, stored=12, syntax=JPEG_LS, frame=frame)
    yield Case(label="JPEG-LS, signed", content=content, right=eight(signed + 2048, 4095))


def lossless_j2k(values: np.ndarray, bitspersample: int) -> bytes:
    options: dict[str, Any] = {"codecformat": "J2K", "reversible": True, "level": 0}
    return bytes(imagecodecs.jpeg2k_encode(values, bitspersample=bitspersample, **options))


def lossless_htj2k(values: np.ndarray, bitspersample: int) -> bytes:
    return bytes(imagecodecs.htj2k_encode(values, reversible=True))


def jpeg_ls(values: np.ndarray) -> bytes:
    # Noise becomes longer by compression than the encoder expects.
    return bytes(imagecodecs.jpegls_encode(values, out=2 * values.nbytes + 1024))


def saved_jpeg(values: np.ndarray) -> bytes:
    from PIL import Image

    return saved(Image.fromarray(values), "JPEG", quality=100)


def rle(values: np.ndarray) -> bytes:
    """PackBits without runs, a segment a byte plane, the most significant first (PS3.5 annex G)."""
    flat = values.reshape(*values.shape[:2], -1)
    planes = []
    for channel in np.moveaxis(flat, -1, 0):
        size = channel.dtype.itemsize
        for byte in range(size - 1, -1, -1):
            plane = b""
            for line in (channel.view(f"u{size}") >> (8 * byte)).astype(np.uint8):
                for at in range(0, len(line), 128):
                    part = line[at : at + 128].tobytes()
                    plane += bytes([len(part) - 1]) + part
            planes.append(plane + b"\0" * (len(plane) % 2))
    starts = [64 + sum(map(len, planes[:k])) for k in range(len(planes))]
    head = np.zeros(16, "<u4")
    head[: len(starts) + 1] = [len(planes), *starts]
    return head.tobytes() + b"".join(planes)

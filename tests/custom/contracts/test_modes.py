"""Every mode of every kind of file: seen as it must be, or refused for its reason.

``python -m tests.custom.contracts.test_modes`` prints the table of docs/reference/data.md.
"""

import pytest
from tests.custom.contracts import dicom_modes, mask_modes, raster_modes, tiff_modes
from tests.custom.contracts.modes import Family, counts, row
from tests.places import ROOT

FAMILIES = [
    Family(
        name="PNG",
        varied="1 to 16 bits, gray, RGB, palette, alpha, transparent shade, Adam7, 8 orientations",
        suffix="png",
        cases=raster_modes.png_cases,
    ),
    Family(
        name="PNG, 12 bits in 16",
        varied="gray, RGB, alpha, a burned-in label; refused without a window",
        suffix="png",
        cases=raster_modes.deep_png_cases,
    ),
    Family(
        name="JPEG",
        varied="gray, RGB, CMYK, progressive, subsampling, 8 orientations",
        suffix="jpg",
        cases=raster_modes.jpeg_cases,
    ),
    Family(
        name="BMP, GIF, WebP",
        varied="1 and 8 bits, RGB, palette, alpha, orientations; animations refused",
        suffix="img",
        cases=raster_modes.other_cases,
    ),
    Family(
        name="TIFF, gray",
        varied="8 and 16 bits, polarity, compression, byte order, 8 orientations, tiles, BigTIFF",
        suffix="tif",
        cases=tiff_modes.gray_cases,
    ),
    Family(
        name="TIFF, bits",
        varied="1 to 14 bits packed, polarity, orientation; fax, PackBits, LZW",
        suffix="tif",
        cases=tiff_modes.bit_cases,
    ),
    Family(
        name="TIFF, range unknown",
        varied="signed, 32 bits, real, 12 bits in 16; refused without a window",
        suffix="tif",
        cases=tiff_modes.unknown_range_cases,
    ),
    Family(
        name="TIFF, colour",
        varied="8 and 16 bits, pixels or planes, alpha of 3 kinds, compression, orientation",
        suffix="tif",
        cases=tiff_modes.colour_cases,
    ),
    Family(
        name="TIFF, colour spaces",
        varied="palettes of 8 and 16 bits, CMYK, CIELAB, YCbCr, JPEG; raw sensors refused",
        suffix="tif",
        cases=tiff_modes.space_cases,
    ),
    Family(
        name="TIFF, several images",
        varied="pages, ImageJ, OME, volumes; half a file",
        suffix="tif",
        cases=tiff_modes.stack_cases,
    ),
    Family(
        name="DICOM, gray",
        varied="1 to 32 bits, low or high, sign, polarity, 4 encodings, overlay in the pixels",
        suffix="dcm",
        cases=dicom_modes.bit_cases,
    ),
    Family(
        name="DICOM, windows",
        varied="slope, linear, exact, sigmoid, --window, padding, sign, polarity",
        suffix="dcm",
        cases=dicom_modes.window_cases,
    ),
    Family(
        name="DICOM, tables",
        varied="of interest, of modality, palettes; entries not as declared, byte order",
        suffix="dcm",
        cases=dicom_modes.table_cases,
    ),
    Family(
        name="DICOM, colour",
        varied="RGB, YBR_FULL, 8 to 16 bits, planes, 4 encodings; other spaces refused",
        suffix="dcm",
        cases=dicom_modes.colour_cases,
    ),
    Family(
        name="DICOM, compressed",
        varied="RLE, JPEG, JPEG Lossless, JPEG-LS, JPEG 2000, HTJ2K; 8 to 16 bits, sign, colour",
        suffix="dcm",
        cases=dicom_modes.compressed_cases,
    ),
    Family(
        name="masks, PNG",
        varied="1 to 16 bits, any value in any channel, palette, alpha, 8 orientations",
        suffix="mask",
        cases=mask_modes.png_cases,
    ),
    Family(
        name="masks, TIFF",
        varied="integers and real numbers, polarity, orientation",
        suffix="mask",
        cases=mask_modes.tiff_cases,
    ),
    Family(
        name="masks, JPEG and WebP",
        varied="cut at half; labels in them refused",
        suffix="mask",
        cases=mask_modes.lossy_cases,
    ),
]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_mode_is_read_right_or_refused_and_the_docs_count_it(family):
    if family.suffix == "dcm":
        pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    found, wrong = counts(family)
    assert wrong == []
    page = (ROOT / "docs" / "reference" / "data.md").read_text(encoding="utf-8")
    assert row(family, found) in page.splitlines()


if __name__ == "__main__":
    for family in FAMILIES:
        found, wrong = counts(family)
        print(row(family, found), *wrong, sep="\n")

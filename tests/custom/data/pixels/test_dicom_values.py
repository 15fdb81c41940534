"""Tests of medleak.custom.data.pixels.dicom_values; every mode is in tests/custom/contracts."""

import io

import numpy as np
import pytest
from tests.custom.contracts.dicom_modes import J2K, JPEG, JPEG12, JPEG_LS, LOSSLESS, dicom

from medleak.custom.data.pixels.dicom_values import dicom_image, syntax_name
from medleak.custom.data.pixels.samples import UnreadableError

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def image(values=RAMP, *, window=None, stored=12, **header):
    return dicom_image(pydicom.dcmread(io.BytesIO(dicom(values, stored=stored, **header))), window)


def table(bits, most=4095):
    from pydicom.dataset import Dataset

    item = Dataset()
    item.LUTDescriptor = [4096, 0, bits]
    item["LUTDescriptor"].VR = "US"
    item.LUTData = np.linspace(0, most, 4096).astype("<u2").tobytes()
    item["LUTData"].VR = "OW"
    return item


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16, 0])
def test_white_of_a_table_is_its_largest_entry_whatever_the_descriptor_says(bits):
    shown = image(VOILUTSequence=[table(bits)])
    np.testing.assert_array_equal(shown, np.rint(RAMP / 4095 * 255))


def test_a_table_that_uses_its_bits_keeps_their_white():
    assert image(VOILUTSequence=[table(12, most=3000)]).max() == round(3000 / 4095 * 255)


def test_enhanced_objects_say_slope_and_window_in_their_groups():
    from pydicom.dataset import Dataset

    shared, frame, rescale, window = Dataset(), Dataset(), Dataset(), Dataset()
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = "2", "-1000", "HU"
    window.WindowCenter, window.WindowWidth = "500.5", "2001"
    shared.PixelValueTransformationSequence = [rescale]
    frame.FrameVOILUTSequence = [window]
    shown = image(SharedFunctionalGroupsSequence=[shared], PerFrameFunctionalGroupsSequence=[frame])
    real = RAMP * 2.0 - 1000
    np.testing.assert_array_equal(shown, np.rint(255 * np.clip((real + 500) / 2000, 0, 1)))


def test_real_values_are_shown_and_keep_their_padding_out():
    values = np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)
    values[0] = -99
    dataset = pydicom.dcmread(io.BytesIO(dicom(np.zeros((8, 8), np.uint32), stored=32)))
    del dataset.PixelData
    dataset.FloatPixelData = values.tobytes()
    dataset.FloatPixelPaddingValue = -99.0
    shown = dicom_image(dataset)
    inner = values[1:]
    np.testing.assert_array_equal(shown[0], 0)
    right = np.rint((inner - inner.min()) / (inner.max() - inner.min()) * 255)
    np.testing.assert_array_equal(shown[1:], right)


@pytest.mark.parametrize(
    ("syntax", "package"),
    [
        (JPEG, "python-gdcm"),
        (JPEG12, "python-gdcm"),
        (LOSSLESS, "python-gdcm"),
        (JPEG_LS, "pyjpegls"),
        (J2K, "pylibjpeg-openjpeg"),
        ("1.2.840.10008.1.2.4.201", "pylibjpeg-openjpeg"),
    ],
)
def test_a_decoder_that_is_missing_is_named(monkeypatch, syntax, package):
    from pydicom.pixels.decoders.base import Decoder

    monkeypatch.setattr(Decoder, "is_available", property(lambda self: False))
    with pytest.raises(UnreadableError) as caught:
        image(RAMP, syntax=syntax, frame=bytes(64))
    said = str(caught.value)
    assert "what decodes it is not installed" in said
    assert f"pip install {package}" in said.replace("pylibjpeg pylibjpeg", "pylibjpeg")
    assert "pip install 'medleak[dicom]'" in said


def test_a_compression_that_nothing_decodes_is_refused_by_name():
    with pytest.raises(UnreadableError, match=r"MPEG2 .* is not read"):
        image(RAMP, syntax="1.2.840.10008.1.2.4.100", frame=bytes(64))


def test_bits_outside_their_container_are_refused():
    with pytest.raises(UnreadableError, match="bits that its values do not have"):
        image(RAMP, stored=12, high=5)


def test_a_transfer_syntax_is_named_by_the_standard_and_nothing_else():
    dataset = pydicom.dcmread(io.BytesIO(dicom(RAMP, stored=12)))
    assert syntax_name(dataset) == "Explicit VR Little Endian"
    dataset.file_meta.TransferSyntaxUID = "1.2.3.4711"
    assert syntax_name(dataset) == "unknown transfer syntax"

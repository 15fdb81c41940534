"""Tests of medleak.custom.data.dicom."""

import re
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medleak.custom.data.datalist import DataError
from medleak.custom.data.dicom import decode_dicom, is_dicom

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")

RAMP = np.linspace(0, 4095, 64).astype(np.uint16).reshape(8, 8)


def write(path, pixels: Any = RAMP, *, bits=12, kind="MONOCHROME2", signed=False, **header):
    """A DICOM file as a scanner writes it, ``header`` added."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    dataset.PatientID = "MRN-0815"
    dataset.PatientName = "Doe^Jane"
    dataset.Rows, dataset.Columns = pixels.shape[-2 - (pixels.ndim == 3) :][:2]
    dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = kind
    dataset.BitsAllocated = 8 * pixels.dtype.itemsize
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelRepresentation = int(signed)
    dataset.PixelData = pixels.tobytes()
    for name, value in header.items():
        setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def shown(path, window=None):
    return decode_dicom(path, window)[0]


def refusal(path):
    with pytest.raises(DataError) as caught:
        decode_dicom(path)
    message = str(caught.value)
    assert re.fullmatch(rf"DICOM file '.*{path.name}' [^\n]*\. [A-Z][^\n]*\.", message)
    assert not re.search("MRN|Doe", message)
    return message


def expected(values, low, high):
    return np.rint(255 * np.clip((values.astype(float) - low) / (high - low), 0, 1))


def test_without_a_window_the_whole_range_is_shown(tmp_path):
    np.testing.assert_array_equal(shown(write(tmp_path / "x")), expected(RAMP, 0, 4095))


def test_monochrome1_is_inverted_so_that_white_is_dense(tmp_path):
    plain = shown(write(tmp_path / "x"))
    np.testing.assert_array_equal(shown(write(tmp_path / "y", kind="MONOCHROME1")), 255 - plain)


def test_the_files_own_window_applies_as_the_standard_says(tmp_path):
    # PS3.3 C.11.2.1.2: from c - 0.5 - (w - 1) / 2 to c - 0.5 + (w - 1) / 2.
    path = write(tmp_path / "x", WindowCenter=2048, WindowWidth=1024)
    np.testing.assert_array_equal(shown(path), expected(RAMP, 1536, 2559))


def test_an_exact_window_reaches_half_its_width_to_either_side(tmp_path):
    path = write(tmp_path / "x", WindowCenter=2048, WindowWidth=1024, VOILUTFunction="LINEAR_EXACT")
    np.testing.assert_array_equal(shown(path), expected(RAMP, 1536, 2560))


def test_a_sigmoid_window_is_half_gray_at_its_centre(tmp_path):
    path = write(tmp_path / "x", WindowCenter=2048, WindowWidth=800, VOILUTFunction="SIGMOID")
    image = shown(path).astype(int)
    assert abs(np.interp(2048, RAMP.ravel(), image.ravel()) - 127.5) < 3
    assert (np.diff(image.ravel()) >= 0).all()


def test_the_first_of_several_windows_counts(tmp_path):
    path = write(tmp_path / "x", WindowCenter=[2048, 40], WindowWidth=[1024, 80])
    np.testing.assert_array_equal(shown(path), expected(RAMP, 1536, 2559))


def test_a_window_that_is_asked_for_counts_before_the_files_own(tmp_path):
    path = write(tmp_path / "x", WindowCenter=2048, WindowWidth=1024)
    np.testing.assert_array_equal(shown(path, (0, 1000)), expected(RAMP, 0, 1000))


def test_slope_and_intercept_come_before_the_window(tmp_path):
    path = write(tmp_path / "x", RescaleSlope="0.5", RescaleIntercept="-1000")
    np.testing.assert_array_equal(
        shown(path, (-1000, 400)), expected(0.5 * RAMP - 1000, -1000, 400)
    )


def test_signed_values_keep_their_sign(tmp_path):
    values = np.linspace(-1000, 1000, 64).astype(np.int16).reshape(8, 8)
    path = write(tmp_path / "x", values, bits=16, signed=True)
    np.testing.assert_array_equal(shown(path, (-500, 500)), expected(values, -500, 500))


def test_padding_does_not_widen_the_range(tmp_path):
    values = np.full((8, 8), 1000, np.int16)
    values[0], values[1] = -2000, 2000
    path = write(tmp_path / "x", values, bits=16, signed=True, PixelPaddingValue=-2000)
    image = shown(path)
    assert (image[0].max(), image[2].max(), image[1].min()) == (0, 0, 255)


def test_a_flat_image_is_black_and_no_error(tmp_path):
    assert shown(write(tmp_path / "x", np.full((8, 8), 7, np.uint16))).max() == 0


def test_eight_bits_are_enough(tmp_path):
    values = np.arange(64, dtype=np.uint8).reshape(8, 8)
    np.testing.assert_array_equal(
        shown(write(tmp_path / "x", values, bits=8)), expected(values, 0, 63)
    )


def test_rgb_stays_rgb(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    path = write(tmp_path / "x", values, bits=8, kind="RGB")
    np.testing.assert_array_equal(shown(path), values)


def test_brightness_and_colour_difference_become_rgb(tmp_path):
    values = np.zeros((8, 8, 3), np.uint8)
    values[..., 0], values[..., 1:] = 200, 128  # gray: no colour difference
    path = write(tmp_path / "x", values, bits=8, kind="YBR_FULL")
    np.testing.assert_array_equal(shown(path), np.full((8, 8, 3), 200))


def test_a_palette_becomes_rgb(tmp_path):
    header = {}
    for colour, values in (("Red", [0, 65535]), ("Green", [65535, 0]), ("Blue", [0, 0])):
        header[f"{colour}PaletteColorLookupTableDescriptor"] = [2, 0, 16]
        table = np.array(values, np.uint16).tobytes()
        header[f"{colour}PaletteColorLookupTableData"] = table
    pixels = np.eye(8, dtype=np.uint8)
    image = shown(write(tmp_path / "x", pixels, bits=8, kind="PALETTE COLOR", **header))
    assert image[0, 0].tolist() == [255, 0, 0]
    assert image[0, 1].tolist() == [0, 255, 0]


def test_a_lookup_table_of_the_file_counts_before_its_window(tmp_path):
    from pydicom.dataset import Dataset

    table = Dataset()
    table.LUTDescriptor = [4096, 0, 16]
    table.LUTData = (65535 - 257 * (np.arange(4096) // 16)).astype(np.uint16).tobytes()
    path = write(tmp_path / "x", VOILUTSequence=[table], WindowCenter=100, WindowWidth=10)
    np.testing.assert_array_equal(shown(path), 255 - RAMP // 16)


def test_compressed_pixels_are_decoded(tmp_path):
    from pydicom.uid import RLELossless

    path = write(tmp_path / "x")
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless)
    dataset.save_as(tmp_path / "y")
    np.testing.assert_array_equal(shown(tmp_path / "y"), shown(path))


def test_the_patient_is_told_apart_but_a_file_without_one_has_none(tmp_path):
    assert decode_dicom(write(tmp_path / "x"))[1] == "MRN-0815"
    assert decode_dicom(write(tmp_path / "y", PatientID=""))[1] is None


@pytest.mark.parametrize(
    ("header", "sound", "damaged"),
    [
        ({"NumberOfFrames": "1 "}, b"IS\x02\x001 ", b"IS\x02\x00Do"),
        ({"WindowCenter": "1.0", "WindowWidth": "4"}, b"DS\x04\x001.0 ", b"DS\x04\x00Doe "),
    ],
)
def test_a_value_in_the_wrong_place_is_quoted_nowhere(
    tmp_path, caplog, recwarn, capfd, header, sound, damaged
):
    path = write(tmp_path / "x.dcm", **header)
    content = path.read_bytes()
    assert sound in content
    path.write_bytes(content.replace(sound, damaged))
    with caplog.at_level("DEBUG"):
        assert "ValueError" in refusal(path)
    assert not recwarn.list
    assert "Do" not in caplog.text + "".join(capfd.readouterr())


def test_several_frames_are_refused(tmp_path):
    frames = np.zeros((2, 8, 8), np.uint16)
    path = write(tmp_path / "x", RAMP, NumberOfFrames=2, PixelData=frames.tobytes())
    assert "2 frames" in refusal(path)


def test_more_pixels_than_pillows_limit_are_refused_before_decoding(tmp_path, monkeypatch):
    path = write(tmp_path / "x")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)
    assert "more than 60 pixels" in refusal(path)


def test_truncated_pixels_are_refused(tmp_path):
    path = write(tmp_path / "x", PixelData=RAMP.tobytes()[:-64])
    assert "cannot be decoded" in refusal(path)


def test_a_report_without_pixels_is_refused(tmp_path):
    path = write(tmp_path / "x")
    dataset = pydicom.dcmread(path)
    del dataset.PixelData
    dataset.save_as(path)
    assert "no pixel data" in refusal(path)


def test_a_file_that_only_claims_to_be_dicom_is_refused(tmp_path):
    (tmp_path / "x.dcm").write_bytes(b"patient: Jane Doe")
    assert "holds no DICOM" in refusal(tmp_path / "x.dcm")


def test_a_data_set_without_a_preamble_is_read_as_the_same_image(tmp_path):
    path = write(tmp_path / "x")
    dataset = pydicom.dcmread(path)
    del dataset.file_meta, dataset.preamble
    for implicit in (True, False):
        bare = tmp_path / f"implicit {implicit}"
        dataset.save_as(bare, implicit_vr=implicit, little_endian=True)
        assert bare.read_bytes()[128:132] != b"DICM"
        assert is_dicom(bare)
        np.testing.assert_array_equal(shown(bare), expected(RAMP, 0, 4095))


@pytest.mark.parametrize(
    "content", [b"\x08\0", b"\x08\0\x05\0CS\x02\0IS", bytes(200), b"\0\x08" * 99]
)
def test_what_only_begins_as_a_data_set_does_is_none(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    assert not is_dicom(tmp_path / "x")


def test_a_missing_extra_is_said_with_the_command_that_installs_it(tmp_path, monkeypatch):
    path = write(tmp_path / "x")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(DataError, match=r"pip install 'medleak\[dicom\]'"):
        decode_dicom(path)


def test_what_no_decoder_here_reads_names_those_that_there_are_beside(tmp_path):
    from pydicom.uid import JPEGLosslessSV1

    path = write(tmp_path / "x", RAMP)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    dataset.PixelData = pydicom.encaps.encapsulate([b"\0" * 64])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path)
    said = refusal(path)
    assert "cannot be decoded" in said
    assert "gdcm" in said
    assert "pylibjpeg" in said

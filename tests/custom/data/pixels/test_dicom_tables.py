"""Tests of medleak.custom.data.pixels.dicom_tables; more are in tests/custom/contracts."""

import numpy as np
import pytest

from medleak.custom.data.pixels.dicom_tables import Table, palette, read_table
from medleak.custom.data.pixels.samples import UnreadableError

pytest.importorskip("pydicom", reason="the extra dicom is not installed")


def table(descriptor, data, vr="OW"):
    from pydicom.dataset import Dataset

    item = Dataset()
    item.set_original_encoding(False, True)
    item.LUTDescriptor = descriptor
    item["LUTDescriptor"].VR = "US"
    item.LUTData = data
    item["LUTData"].VR = vr
    return item


def read(descriptor, data, signed=False, vr="OW"):
    item = table(descriptor, data, vr)
    return read_table(item, item, signed=signed)


def test_values_beside_the_table_take_its_nearest_entry():
    found = Table(entries=np.array([5, 6, 7]), first=10, bits=8)
    assert found.look_up(np.array([-3, 10, 11, 12, 99])).tolist() == [5, 5, 6, 7, 7]


def test_entries_of_8_or_16_bits_are_told_by_the_length_of_the_data():
    assert read([4, 0, 16], np.arange(4, dtype="<u2").tobytes()).entries.tolist() == [0, 1, 2, 3]
    assert read([4, 0, 16], bytes([0, 1, 2, 3])).entries.tolist() == [0, 1, 2, 3]
    assert read([3, 0, 16], bytes([0, 1, 2, 0])).entries.tolist() == [0, 1, 2]  # padded


def test_numbers_may_come_as_a_list_and_one_entry_alone():
    assert read([2, 0, 16], [7, 65535], vr="US").entries.tolist() == [7, 65535]
    assert read([1, 0, 16], 9, vr="US").entries.tolist() == [9]


def test_zero_entries_are_65536_and_the_first_may_have_a_sign():
    assert len(read([0, 0, 16], np.zeros(65536, "<u2").tobytes()).entries) == 65536
    data = np.arange(4, dtype="<u2").tobytes()
    assert read([4, 65534, 16], data, signed=True).first == -2
    assert read([4, 65534, 16], data).first == 65534


def test_a_table_that_is_shorter_than_it_says_is_refused():
    with pytest.raises(UnreadableError, match="shorter than it declares"):
        read([9, 0, 16], bytes(8))


def coloured(**more):
    from pydicom.dataset import Dataset

    dataset = Dataset()
    dataset.set_original_encoding(False, True)
    dataset.PixelRepresentation = 0
    for name, entries in (("Red", [0, 255]), ("Green", [255, 0]), ("Blue", [9, 9])):
        dataset[f"{name}PaletteColorLookupTableDescriptor"] = element(name, "Descriptor", [2, 0, 8])
        dataset[f"{name}PaletteColorLookupTableData"] = element(name, "Data", bytes(entries))
    for name, value in more.items():
        setattr(dataset, name, value)
    return dataset


def element(colour, what, value):
    from pydicom.datadict import tag_for_keyword
    from pydicom.dataelem import DataElement

    tag = tag_for_keyword(f"{colour}PaletteColorLookupTable{what}")
    assert tag is not None
    return DataElement(tag, "US" if what == "Descriptor" else "OW", value)


def test_a_palette_of_more_indices_than_its_entries_can_count():
    # 300 entries of 8 bits: pydicom 3.0 looks the last of them up modulo 256.
    dataset = coloured()
    entries = (np.arange(300) % 251).astype(np.uint8).tobytes()
    for name in ("Red", "Green", "Blue"):
        dataset[f"{name}PaletteColorLookupTableDescriptor"].value = [300, 0, 8]
        dataset[f"{name}PaletteColorLookupTableData"].value = entries
    colours, alpha, bits = palette(dataset, np.array([[0, 255, 299]], np.uint16))
    assert colours[..., 0].tolist() == [[0, 255 - 251, 299 - 251]]
    assert (alpha, bits) == (None, 8)


def test_a_palette_may_be_transparent():
    alpha = bytes([255, 0])
    dataset = coloured(AlphaPaletteColorLookupTableData=alpha)
    colours, shares, _ = palette(dataset, np.array([[0, 1]]))
    assert colours.tolist() == [[[0, 255, 9], [255, 0, 9]]]
    assert shares is not None
    assert shares.tolist() == [[1, 0]]


def test_a_missing_table_and_a_repeated_segment_are_refused():
    dataset = coloured()
    del dataset.BluePaletteColorLookupTableData
    with pytest.raises(UnreadableError, match="no palette"):
        palette(dataset, np.zeros((2, 2), np.uint8))
    words = np.array([0, 2, 1, 2, 2, 1, 0, 0], "<u2").tobytes()
    for name in ("Red", "Green", "Blue"):
        dataset[f"{name}PaletteColorLookupTableDescriptor"].value = [4, 0, 16]
        setattr(dataset, f"Segmented{name}PaletteColorLookupTableData", words)
        if f"{name}PaletteColorLookupTableData" in dataset:
            del dataset[f"{name}PaletteColorLookupTableData"]
    with pytest.raises(UnreadableError, match="repeats itself"):
        palette(dataset, np.zeros((2, 2), np.uint8))

"""Tests of compression: the very file comes back, or an error that names it."""

import sys

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from tests.custom.record.recorded import STATE, flip, record

from medleak.custom.record import RecordError, read_record
from medleak.custom.record.compression import compress, compressed_place, decompress, stored_place


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_what_was_compressed_comes_back(pieces):
    frame = b"".join(compress(pieces))
    whole = b"".join(pieces)
    assert decompress(None, frame, len(whole)) == whole  # pyright: ignore[reportArgumentType]
    assert zstandard.ZstdDecompressor().decompress(frame) == whole


def test_a_record_is_written_and_read_compressed(tmp_path):
    root = record(tmp_path / "records", compress=True)
    assert not list(root.rglob("*.safetensors"))
    np.testing.assert_array_equal(read_record(root, 2, "b").update["w"], STATE["w"])
    np.testing.assert_array_equal(read_record(root, 2, "b").global_state["w"], STATE["w"] + 2)


def test_a_plain_file_goes_before_a_compressed_one(tmp_path):
    path = tmp_path / "x.safetensors"
    assert stored_place(path) == path
    compressed_place(path).touch()
    assert stored_place(path) == compressed_place(path)
    path.touch()
    assert stored_place(path) == path


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    frame = b"".join(compress([b"\0" * 10_000_000]))
    assert len(frame) < 2000
    with pytest.raises(RecordError, match="more than 1000, which is all"):
        decompress(tmp_path, frame, 1000)
    streamed = zstandard.ZstdCompressor().compressobj()
    unsaid = streamed.compress(b"\0" * 10_000_000) + streamed.flush()
    with pytest.raises(RecordError, match="could fill all memory"):
        decompress(tmp_path, unsaid, 1000)
    lie = frame.replace((10_000_000).to_bytes(4, "little"), (900).to_bytes(4, "little"))
    assert lie != frame
    with pytest.raises(RecordError, match=r"damaged|says 900"):
        decompress(tmp_path, lie, 1000)


@pytest.mark.parametrize("damage", [lambda d: d[:-9], lambda d: b"PK" + d, lambda d: b""])
def test_a_damaged_frame_is_named(tmp_path, damage):
    frame = damage(b"".join(compress([bytes(range(256)) * 4])))
    with pytest.raises(RecordError, match=r"damaged|says"):
        decompress(tmp_path / "x.zst", frame, 10_000)


@pytest.mark.parametrize("more", [b"\0", b"PK" * 9, b"".join(compress([b"another"]))])
def test_what_follows_a_frame_is_not_passed_over(tmp_path, more):
    frame = b"".join(compress([bytes(range(256))])) + more
    with pytest.raises(RecordError, match=r"damaged|more than it says"):
        decompress(tmp_path / "x.zst", frame, 10_000)


def test_a_changed_file_of_a_record_is_found(tmp_path):
    root = record(tmp_path / "records", compress=True)
    flip(root / "round_0000" / "a.safetensors.zst")
    with pytest.raises(RecordError, match=r"a\.safetensors\.zst"):
        read_record(root, 0, "a")


def test_without_the_library_it_is_said_what_to_install(tmp_path, monkeypatch):
    root = record(tmp_path / "records", compress=True)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(RecordError, match=r"pip install 'medleak\[zstd\]'"):
        read_record(root, 0, "a")

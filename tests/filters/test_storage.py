"""Tests of medleak.filters.storage."""

import stat

import numpy as np

from medleak.filters import storage


def test_values_come_back_with_order_types_and_dtypes(tmp_path, update):
    update = {
        "z": np.float32(1.5),
        **update,
        "a": np.array(7, np.int64),
        "h": np.ones(2, np.float16),
    }
    path = tmp_path / "new" / "values.safetensors"
    sha256 = storage.save(path, update)
    read = storage.read_if(path, sha256)
    assert read is not None
    assert list(read) == list(update)
    for name, value in update.items():
        assert type(read[name]) is type(value)
        assert read[name].dtype == value.dtype
        np.testing.assert_array_equal(read[name], value)


def test_files_are_for_their_owner_only_and_leave_no_partial_file(tmp_path):
    storage.save(tmp_path / "v.safetensors", {"w": np.ones(3)})
    assert [p.name for p in tmp_path.iterdir()] == ["v.safetensors"]
    assert stat.S_IMODE((tmp_path / "v.safetensors").stat().st_mode) == 0o600


def test_a_file_with_another_hash_is_not_read(tmp_path):
    path = tmp_path / "v.safetensors"
    first = storage.save(path, {"w": np.ones(3)})
    assert storage.read_if(tmp_path / "missing", first) is None
    storage.save(path, {"w": np.zeros(3)})
    assert storage.read_if(path, first) is None


def test_a_repeated_round_starts_from_the_state_before_it(tmp_path):
    for r in range(5):
        storage.save_round(tmp_path, r, {"w": np.full(1, float(r))})
    assert storage.before_round(tmp_path, 4)["w"] == 3
    assert storage.before_round(tmp_path, 5)["w"] == 4
    assert len(list(tmp_path.iterdir())) == 2
    assert storage.before_round(tmp_path / "none", 3) == {}

"""Tests of the forms of CIFAR-10: binary batches, and what is refused unread."""

import numpy as np
import pytest
from PIL import Image

from medleak.custom.data.datalist import DataError
from medleak.custom.datasets import cifar10
from medleak.custom.datasets.dataset import read


def batch(path, labels):
    path.parent.mkdir(parents=True, exist_ok=True)
    records = np.zeros((len(labels), 3073), np.uint8)
    records[:, 0] = labels
    for k in range(len(labels)):
        records[k, 1:1025], records[k, 1025:2049], records[k, 2049:] = 10 * k, 20, 30
    path.write_bytes(records.tobytes())


def test_binary_batches_of_cifar_become_images_in_a_folder_a_class(tmp_path):
    batch(tmp_path / "cifar-10-batches-bin" / "data_batch_1.bin", range(10))
    root = cifar10.unpack(tmp_path, tmp_path / "out")
    items = read(cifar10.SET, root)
    assert [item.label for item in items] == list(range(10))
    with Image.open(root / items[2].image) as image:
        assert image.getpixel((31, 31)) == (20, 20, 30)
    assert items[2].image == "bird/data_batch_1_00002.png"


def test_a_damaged_batch_is_refused_by_name(tmp_path):
    batch(tmp_path / "test_batch.bin", [3])
    with (tmp_path / "test_batch.bin").open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=r"'test_batch.bin' is damaged"):
        cifar10.unpack(tmp_path, tmp_path / "out")
    batch(tmp_path / "test_batch.bin", [10])
    with pytest.raises(DataError, match="is damaged"):
        cifar10.unpack(tmp_path, tmp_path / "out")


def test_cifar_as_pickles_is_refused_and_not_read(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"\x80\x04.")
    with pytest.raises(DataError, match="binary version"):
        cifar10.unpack(tmp_path, tmp_path / "out")

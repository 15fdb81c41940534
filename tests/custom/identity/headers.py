"""DICOM files that say whose they are."""

from pathlib import Path
from typing import Any

import numpy as np

PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8)


def a_file(path: Path, *, preamble: bool = True, private: Any = None, **header: Any) -> Path:
    """An 8 x 8 image with ``header``, and ``private`` values as (element, VR, value)."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    data = Dataset()
    data.SOPClassUID = SecondaryCaptureImageStorage
    data.SOPInstanceUID = UID("1.2.826.0.1.3680043.8.498.1")
    data.Rows, data.Columns = PIXELS.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.PixelData = PIXELS.tobytes()
    for name, value in header.items():
        setattr(data, name, value)
    if private:
        block = data.private_block(0x0011, "ACME 1.0", create=True)
        for element, representation, value in private:
            block.add_new(element, representation, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not preamble:
        data.save_as(path, implicit_vr=True, little_endian=True)
        return path
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.save_as(path, enforce_file_format=True)
    return path


def an_item(**header: Any) -> Any:
    """An item of a sequence."""
    from pydicom.dataset import Dataset

    item = Dataset()
    for name, value in header.items():
        setattr(item, name, value)
    return item

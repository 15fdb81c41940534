"""DICOM files to 8-bit images: pixel data as a viewer would show them, and nothing else.

Of the header, only what says how to read the pixels is used. The patient's identity is used to keep
a patient's images together and leaves no trace but a running number. pydicom (extra ``dicom``)
waits until a function is called.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medleak.custom.data.datalist import DataError
from medleak.custom.data.images import check_window
from medleak.custom.data.pixels.dicom_values import PIXELS, dicom_image, syntax_name
from medleak.custom.data.pixels.samples import UnreadableError
from medleak.custom.data.quiet import quiet

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


# Identification or file meta information, as the first two bytes of a data set have it.
_FIRST_GROUPS = (b"\x08\0", b"\0\x08", b"\x02\0")


def is_dicom(path: Path) -> bool:
    """Whether the file has DICOM's preamble, or is a bare data set of an image without one.

    Old scanners and network captures leave the latter.
    """
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError:
        return False
    return head[128:] == b"DICM" or (head[:2] in _FIRST_GROUPS and _is_bare(path))


def _is_bare(path: Path) -> bool:
    """Whether pydicom, told to try, finds an image's own attributes."""
    try:
        from pydicom import dcmread
    except ImportError:
        return False
    with quiet("pydicom"):
        try:
            head = dcmread(path, force=True, specific_tags=["SOPClassUID", "Rows", "Columns"])
            return "SOPClassUID" in head and int(head.Rows) > 0 and int(head.Columns) > 0
        except Exception:  # whatever else begins with these bytes
            return False


def decode_dicom(
    path: Path, window: tuple[float, float] | None = None
) -> tuple[NDArray[np.uint8], str | None]:
    """The image in the DICOM file ``path`` as a viewer shows it, and a key of its patient.

    What is shown of its values is `pixels.dicom_values.dicom_image`'s to say: white is dense in
    every image, and colour of any kind becomes RGB.

    Args:
        path: One file, one frame.
        window: Values after rescaling that become black and white, before the file's own.

    Returns:
        uint8 [H, W] or [H, W, 3], and the patient ID, or None where the file has none. The latter
        is for grouping alone and must not be written anywhere.

    Raises:
        DataError: pydicom is not installed, or the file holds no single sound image, more pixels
            than Pillow's limit, or compression that no installed decoder reads. The message never
            quotes the header.
        ValueError: ``window`` is empty.
    """
    if window is not None:
        check_window(*window)
    with quiet("pydicom"):
        dataset = _open(path)
        try:
            rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
            frames = int(dataset.get("NumberOfFrames") or 1)
            patient = str(dataset.get("PatientID") or "") or None
        except Exception as error:  # as below
            raise _refusal(path, f"is damaged ({type(error).__name__})") from None
        if not rows or not columns or not any(name in dataset for name in PIXELS):
            raise _refusal(path, "holds no picture (no pixel data)")
        if frames != 1:
            raise _refusal(path, f"holds {frames} frames instead of one image")
        if rows * columns > (Image.MAX_IMAGE_PIXELS or rows * columns):
            raise _refusal(path, f"has more than {Image.MAX_IMAGE_PIXELS} pixels")
        try:
            pixels = dicom_image(dataset, window)
        except UnreadableError as error:
            raise DataError(f"DICOM file {str(path)!r} {error}") from None
        except Exception as error:  # plug-ins for compressed data raise nearly anything
            # Not the error's own words: pydicom's may quote values of the header.
            raise _refusal(
                path,
                f"cannot be decoded ({type(error).__name__}, {syntax_name(dataset)}"
                f"{_decoders(dataset)})",
            ) from None
    return pixels, patient


def _decoders(dataset: "Dataset") -> str:
    """Which packages were tried on compressed pixels, and which others there are.

    Another one may know what these do not.
    """
    from pydicom.pixels.decoders.base import get_decoder

    try:
        decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
    except (NotImplementedError, AttributeError):  # not compressed, or in a way that nobody reads
        return ""
    if not (tried := decoder.available_plugins):
        return ""
    others = [missing.partition(" - ")[0] for missing in decoder.missing_dependencies]
    more = f", not by {', '.join(others)}, which is not installed" if others else ""
    return f"; tried by {', '.join(tried)}{more}"


def _open(path: Path) -> "Dataset":
    try:
        from pydicom import dcmread
    except ImportError:
        raise DataError(
            "DICOM files need pydicom, which is not installed: their pixels cannot be read. Run "
            "pip install 'medleak[dicom]'."
        ) from None
    if not is_dicom(path):
        what = "holds no DICOM image" if path.exists() else "does not exist"
        raise _refusal(path, what)
    try:
        return _with_syntax(dcmread(path, force=True))
    except Exception as error:  # as above: neither its type nor its words can be relied on
        raise _refusal(path, f"is damaged ({type(error).__name__})") from None


def _with_syntax(dataset: "Dataset") -> "Dataset":
    """``dataset`` with the transfer syntax that it was read by, where a bare one says none."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    meta = getattr(dataset, "file_meta", None) or FileMetaDataset()
    if "TransferSyntaxUID" not in meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    dataset.file_meta = meta
    return dataset


def _refusal(path: Path, what: str) -> DataError:
    return DataError(
        f"DICOM file {str(path)!r} {what}: it cannot be trained on. Mend, replace or remove it."
    )

"""Seconds, CPU seconds and peak memory of medleak data on a thousand files of 512 px of each kind.

python tests/benchmarks/prepare.py [--files 1000] [--kinds png,dicom] [--json FILE]
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

SIZE = 512
PICTURES = 10
"""Different ones; drawing a thousand would take longer than preparing them."""
COMMAND = [sys.executable, "-c", "from medleak.inversion.cli import app\napp()", "data"]
JPEG_2000 = "1.2.840.10008.1.2.4.90"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
EXPLICIT = "1.2.840.10008.1.2.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Files of one kind: ``encode`` takes 12 bits [512, 512]; ``command`` and ``options`` read."""

    suffix: str
    encode: Callable[[NDArray[np.uint16]], bytes]
    command: str = "folder"
    options: tuple[str, ...] = ()
    masks: bool = False


def saved(pixels: NDArray[Any], form: str, **options: Any) -> bytes:
    """The file that Pillow writes."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def eight(values: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """The upper 8 of 12 bits."""
    return (values >> 4).astype(np.uint8)


def tiff(values: NDArray[np.uint16]) -> bytes:
    """A TIFF of 8 bits, deflated."""
    file = io.BytesIO()
    tifffile.imwrite(file, eight(values), compression="deflate")
    return file.getvalue()


def dicom(values: NDArray[np.uint16], syntax: str = EXPLICIT, frame: bytes | None = None) -> bytes:
    """A DICOM file of 12 bits, of ``frame`` where it is compressed."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, SecondaryCaptureImageStorage, generate_uid

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = values.astype("<u2").tobytes() if frame is None else encapsulate([frame])
    dataset["PixelData"].VR = "OW" if frame is None else "OB"
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def jpeg_2000(values: NDArray[np.uint16]) -> bytes:
    """DICOM in lossless JPEG 2000."""
    options: Any = {"codecformat": "J2K", "reversible": True, "level": 0, "bitspersample": 12}
    return dicom(values, JPEG_2000, bytes(imagecodecs.jpeg2k_encode(values, **options)))


def jpeg_lossless(values: NDArray[np.uint16]) -> bytes:
    """DICOM in JPEG Lossless."""
    frame = bytes(imagecodecs.ljpeg_encode(values, bitspersample=12))
    return dicom(values, JPEG_LOSSLESS, frame)


KINDS = {
    "png": Kind(suffix="png", encode=lambda v: saved(eight(v), "PNG")),
    "png16": Kind(suffix="png", encode=lambda v: saved(v, "PNG"), options=("--window", "0:4095")),
    "masks": Kind(suffix="png", encode=lambda v: saved(eight(v), "PNG"), masks=True),
    "jpeg": Kind(
        suffix="jpg", encode=lambda v: saved(np.dstack([eight(v)] * 3), "JPEG", quality=90)
    ),
    "tiff": Kind(suffix="tif", encode=tiff),
    "dicom": Kind(suffix="dcm", encode=dicom, command="dicom"),
    "jpeg_2000": Kind(suffix="dcm", encode=jpeg_2000, command="dicom"),
    "jpeg_lossless": Kind(suffix="dcm", encode=jpeg_lossless, command="dicom"),
}


def drawn() -> Iterator[NDArray[np.uint16]]:
    """Smooth pictures of 12 bits with a scanner's noise."""
    rng, (y, x) = np.random.default_rng(0), np.mgrid[:SIZE, :SIZE]
    for k in range(PICTURES):
        smooth = 2000 + 1500 * np.sin(x / 90 + k / 9) * np.cos(y / 70)
        yield (smooth + rng.normal(0, 40, (SIZE, SIZE))).clip(0, 4095).astype(np.uint16)


def write(kind: Kind, files: int, root: Path) -> None:
    """``files`` files in two folders, each of a patient of its own."""
    contents = [kind.encode(values) for values in drawn()]
    masks = [saved(np.where(values > 2500, 255, 0).astype("u1"), "PNG") for values in drawn()]
    for k in range(files):
        name = f"{'ab'[k % 2]}/{k:05d}_000.{kind.suffix}"
        below = {"images": contents, "masks": masks} if kind.masks else {"": contents}
        for folder, pictures in below.items():
            path = root / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pictures[k % PICTURES])


def measured(kind: Kind, files: int, folder: Path) -> dict[str, float]:
    """One run of the command in a process of its own."""
    write(kind, files, folder / "in")
    args = [kind.command, str(folder / "in"), "-o", str(folder / "out")]
    if kind.command == "folder":
        table = ",".join(f"site-{k}:16:{files * 2 // 5}:{files // 20}" for k in (1, 2))
        args += ["--table", table, "--scale", "1"]
    args += [*kind.options, *(("--masks",) if kind.masks else ())]
    started = time.perf_counter()
    process = subprocess.Popen([*COMMAND, *args], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"medleak data {' '.join(args)} ended with {process.returncode}.")
    scale = 1e6 if sys.platform == "darwin" else 1e3
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        "peak_megabytes": round(used.ru_maxrss / scale, 1),
    }


def main() -> None:
    """Measure each kind, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    names = args.kinds.split(",")
    if unknown := sorted(set(names) - set(KINDS)):
        parser.error(f"there is no kind {', '.join(unknown)}: use some of {', '.join(KINDS)}.")
    result: dict[str, Any] = {
        "files": args.files,
        "size": SIZE,
        "cores": len(os.sched_getaffinity(0)),
        "kinds": {},
    }
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            result["kinds"][name] = measured(KINDS[name], args.files, Path(folder))
        print(name, result["kinds"][name], flush=True)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

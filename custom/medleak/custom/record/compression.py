"""Tensor files of a record, compressed without loss by Zstandard (RFC 8878).

A file ``x.safetensors`` stands as ``x.safetensors.zst`` then; ``zstd -d`` gives the very file back.
Hashes are of what is inside, so that a record means the same with and without. Needs the extra
``zstd`` where something is compressed, and where it is read.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medleak.custom.record.tensors import RecordError

SUFFIX = ".zst"
LEVEL = 3
"""Zstandard's own default; weights gain less than 1 % from higher ones."""


def compressed_place(path: Path) -> Path:
    """Where the compressed file is that stands for ``path``."""
    return path.with_name(path.name + SUFFIX)


def stored_place(path: Path) -> Path:
    """``path``, or what stands for it where only that is there; a plain file goes first."""
    other = compressed_place(path)
    return other if not path.exists() and other.exists() else path


def compress(pieces: Sequence[bytes | memoryview]) -> list[bytes]:
    """One frame of all ``pieces``, which says how long its content is, and has its checksum.

    Raises:
        RecordError: Zstandard is not installed.
    """
    size = sum(memoryview(piece).nbytes for piece in pieces)
    packer = require_zstandard("compress=True").ZstdCompressor(level=LEVEL, write_checksum=True)
    writer = packer.compressobj(size=size)
    return [*filter(None, map(writer.compress, pieces)), writer.flush()]


def decompress(path: Path, data: bytes, limit: int) -> bytes:
    """What ``data`` of the file ``path`` holds, at most ``limit`` bytes.

    Nothing is taken from memory before the frame has said that it is small enough, and then no
    more than it said.

    Raises:
        RecordError: It is damaged, larger, or does not say how large it is.
    """
    library = require_zstandard(str(path))
    try:
        size = library.get_frame_parameters(data).content_size
        if size in (library.CONTENTSIZE_UNKNOWN, library.CONTENTSIZE_ERROR):
            raise RecordError(
                f"{path} does not say how large its content is, so that it could fill all memory. "
                "Compress it with `medleak records compress`, or zstd without a pipe."
            )
        if size > limit:
            raise RecordError(
                f"{path} holds {size} bytes, more than {limit}, which is all that the model of "
                "this record can have. Restore it."
            )
        packed = library.ZstdDecompressor()
        # Across frames: what follows the first one would be read by `zstd -d`, and be unseen here.
        with packed.stream_reader(data, read_across_frames=True) as reader:
            content = reader.read(size + 1)
    except library.ZstdError as error:
        raise RecordError(f"{path} is damaged ({error}). Restore it.") from None
    if len(content) != size:
        found = "more than it says" if len(content) > size else f"{len(content)} bytes"
        raise RecordError(f"{path} holds {found}, and says {size} bytes. Restore it.")
    return content


def require_zstandard(what: str) -> Any:
    """The library; a RecordError, about ``what``, where it is not installed."""
    try:
        import zstandard
    except ImportError:
        raise RecordError(
            f"{what} needs Zstandard, which is not installed: pip install 'medleak[zstd]'."
        ) from None
    return zstandard

"""Compress a whole record without loss, file by file."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from medleak.custom.record.compression import compress, compressed_place
from medleak.custom.record.files import (
    beside_of,
    digest_of_content,
    other_model,
    plain_bytes,
    write,
)
from medleak.custom.record.reading import list_updates, read_info, read_manifest
from medleak.custom.record.tensors import RecordError


@dataclass(slots=True, kw_only=True)
class Compressed:
    """What was done: files that are compressed now, their bytes before and after, and the rest."""

    files: int = 0
    before: int = 0
    after: int = 0
    damaged: list[str] = field(default_factory=list)


def compress_record(root: Path) -> Compressed:
    """Put a compressed file in the place of every tensor file of the record at ``root``.

    A file goes only after its compressed form was read back from the disk and had the hash that
    the record has. Stopped at any moment, every update can be read; the same again goes on.

    Raises:
        RecordError: The manifest cannot be read, the disk refuses a file, or Zstandard is missing.
    """
    root, done = Path(root), Compressed()
    seen: set[Path] = set()
    for path, digest in _tensor_files(root, done.damaged):
        if path in seen or (not path.exists() and compressed_place(path).exists()):
            continue
        seen.add(path)
        try:
            data = plain_bytes(path, digest, root)
        except RecordError as error:
            done.damaged.append(" ".join(str(error).split()))
            continue
        place = compressed_place(path)
        write(place, compress([data]))
        if digest_of_content(place) != digest:
            place.unlink()
            raise RecordError(f"{place} was not written as it should: the disk or memory is bad.")
        path.unlink()
        done.files += 1
        done.before += len(data)
        done.after += place.stat().st_size
    return done


def _tensor_files(root: Path, damaged: list[str]) -> Iterator[tuple[Path, str]]:
    """Every tensor file that the record names, with its SHA-256; ``damaged`` takes the others."""
    for round, digest in read_manifest(root).kept_models.items():
        yield root / f"round_{round:04d}" / "global.safetensors", digest
    for round, site in list_updates(root):
        try:
            hashes = read_info(root, round, site).sha256
        except RecordError as error:
            damaged.append(" ".join(str(error).split()))
            continue
        if hashes is None:
            continue
        folder = root / f"round_{round:04d}"
        other = other_model(folder, hashes.sent)
        there = other.exists() or compressed_place(other).exists()
        yield (other if there else folder / "global.safetensors"), hashes.sent
        yield folder / f"{site}.safetensors", hashes.update
        if hashes.beside is not None:
            yield beside_of(folder, site), hashes.beside

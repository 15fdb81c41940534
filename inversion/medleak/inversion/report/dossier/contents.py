"""The files of an audit directory that a signature vouches for, by size and SHA-256."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from medleak.filters.storage import open_regular
from medleak.inversion.report.dossier.record import File

EVIDENCE = "evidence.json"
SIGNATURE = "evidence.json.sig"
_OWN = frozenset({EVIDENCE, SIGNATURE})


def files_of(folder: Path) -> list[File]:
    """Every file below ``folder`` but the evidence itself, by name.

    Raises:
        ValueError: Something there is no plain file, such as a link: nothing could vouch for it.
        OSError: A file or a folder cannot be read.
    """
    return [file_of(folder, name) for name in sorted(names_below(folder))]


def file_of(folder: Path, name: str) -> File:
    """Size and hash of one file.

    Raises:
        OSError: It is missing, or no plain file.
    """
    with open_regular(folder / name) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    return File(name=name, bytes=size, sha256=digest)


def names_below(folder: Path) -> Iterator[str]:
    """Relative names, with ``/``, of all that is below ``folder`` but folders and the evidence.

    Raises:
        ValueError: A folder is a link, so that what is below it lies elsewhere.
        OSError: A folder cannot be listed, so that what is below it is not known.
    """
    for place, folders, files in os.walk(folder, onerror=_raise):
        here = Path(place)
        if links := [here / name for name in folders if (here / name).is_symlink()]:
            raise ValueError(
                f"{links[0]} is a link to another folder: what lies there can be exchanged without "
                "a trace, so it cannot be vouched for. Put a copy in its place."
            )
        names = ((here / name).relative_to(folder).as_posix() for name in files)
        yield from (name for name in names if name not in _OWN)


def _raise(error: OSError) -> None:
    raise error


def changed(folder: Path, listed: Iterable[File]) -> list[str]:
    """What of ``listed`` is not in ``folder`` as it was, a phrase each.

    Names that lead out of the folder, or through a link, are never followed.
    """
    found = []
    root = folder.resolve()
    for file in listed:
        path = folder / file.name
        if not _inside(root, path, file.name):
            found.append(f"{file.name!r} is no name of a file in the folder")
            continue
        try:
            now = file_of(folder, file.name)
        except OSError as error:
            found.append(f"{file.name} cannot be read ({error.strerror or error})")
            continue
        if now != file:
            found.append(f"{file.name} was changed")
    return found


def _inside(root: Path, path: Path, name: str) -> bool:
    parts = Path(name).parts
    return (
        not Path(name).is_absolute()
        and ".." not in parts
        and path.resolve().is_relative_to(root)
        and path.parent.resolve() == root.joinpath(*parts[:-1])
    )

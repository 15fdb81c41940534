"""Is the evidence as it was signed, and by whom? Three answers: genuine, changed, not known."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import ValidationError

from medleak.filters.storage import read_bounded
from medleak.inversion.report.dossier import signing
from medleak.inversion.report.dossier.contents import EVIDENCE, SIGNATURE, changed, names_below
from medleak.inversion.report.dossier.record import Evidence

_LARGEST = 64_000_000  # bytes
_LARGEST_SIGNATURE = 64_000
_SHOWN = 5
_DEEPEST = 3  # folders that a file may lie below evidence.json

State = Literal["genuine", "changed", "not known"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The answer.

    Attributes:
        state: ``genuine``: as it was signed, by a key that was named. ``changed``: something is not
            as it was. ``not known``: nothing is signed, by a key that nobody named, or not all.
        why: Sentences without their full stop.
        signer: Fingerprint; empty: nothing is signed.
        files: How many files were compared.
    """

    state: State
    why: Sequence[str]
    signer: str = ""
    files: int = 0


def verify(path: Path, keys: Sequence[Ed25519PublicKey] = ()) -> Verified:
    """Verify an audit directory, or one file of it.

    Args:
        path: Of a directory every file that is listed is compared, and others are named. Of
            evidence.json the signature alone; of another file that file as well.
        keys: Of the signers that the reader trusts.

    Raises:
        OSError: ``path`` is missing or cannot be read.
    """
    path.stat()
    folder = path if path.is_dir() else _above(path)
    if folder is None or not (folder / EVIDENCE).is_file():
        return _unknown(f"there is no {EVIDENCE} with {path}: nothing vouches for it")
    try:
        content = read_bounded(folder / EVIDENCE, _LARGEST)
        found = Evidence.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "at the top"
        return Verified(
            state="changed",
            why=[f"{EVIDENCE} is not as medleak writes it ({where}: {first['msg'][:120]})"],
        )
    wrong, files = _compared(path, folder, found)
    if wrong:
        return Verified(state="changed", why=_few(wrong), files=files)
    return _signed(path, folder, found, content, keys, files)


def _compared(path: Path, folder: Path, found: Evidence) -> tuple[list[str], int]:
    """What differs, and how many files were compared."""
    if path.is_dir():
        return changed(folder, found.files), len(found.files)
    if path.name in (EVIDENCE, SIGNATURE) and path.absolute().parent == folder:
        return [], 0
    name = (path.parent.resolve() / path.name).relative_to(folder.resolve()).as_posix()
    if listed := [f for f in found.files if f.name == name]:
        return changed(folder, listed), 1
    if not found.report.inside:
        if hashlib.sha256(path.read_bytes()).hexdigest() == found.report.sha256:
            return [], 1
        return [f"{path.name} is neither the report nor a file that {EVIDENCE} lists"], 1
    return [f"{path.name} is no file that {EVIDENCE} lists"], 1


def _signed(
    path: Path,
    folder: Path,
    found: Evidence,
    content: bytes,
    keys: Sequence[Ed25519PublicKey],
    files: int,
) -> Verified:
    if not (folder / SIGNATURE).is_file():
        return _unknown(f"{EVIDENCE} is not signed: anybody can have written it", files=files)
    try:
        key = signing.signer(content, read_bounded(folder / SIGNATURE, _LARGEST_SIGNATURE))
    except ValueError as error:
        return Verified(state="changed", why=[str(error)], files=files)
    who = signing.fingerprint(key)
    if not any(signing.same(key, known) for known in keys):
        which = "no key was named" if not keys else "it is none of the keys that were named"
        why = f"it is signed by {who}, and {which} (--public-key): whose that is, is not known"
        return _unknown(why, signer=who, files=files)
    if path.is_dir() and (why := _not_signed(folder, {f.name for f in found.files})):
        return _unknown(why, signer=who, files=files)
    return Verified(state="genuine", why=[], signer=who, files=files)


def _not_signed(folder: Path, listed: Collection[str]) -> str:
    """What lies in the folder and is not under the signature; empty: nothing does."""
    try:
        others = sorted({*names_below(folder)}.difference(listed))
    except (ValueError, OSError) as error:
        return f"what else lies in the folder cannot be seen ({error})"
    if not others:
        return ""
    many = f"{len(others)} file{'s' * (len(others) != 1)} in the folder"
    return f"not under the signature: {many} ({', '.join(_few(others))})"


def _above(path: Path) -> Path | None:
    return next(
        (p for p in list(path.absolute().parents)[:_DEEPEST] if (p / EVIDENCE).is_file()), None
    )


def _few(found: Sequence[str]) -> list[str]:
    more = len(found) - _SHOWN
    return [*found[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]


def _unknown(why: str, *, signer: str = "", files: int = 0) -> Verified:
    return Verified(state="not known", why=[why], signer=signer, files=files)

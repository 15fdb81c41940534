"""One record out of several of one run, as in a swarm, where each aggregating site has its own."""

import tempfile
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from medleak.custom.record.files import make_folder
from medleak.custom.record.reading import Reader, list_updates, read_beside, read_model
from medleak.custom.record.schema import Manifest
from medleak.custom.record.strays import strays
from medleak.custom.record.tensors import RecordError
from medleak.custom.record.writing import extended, write_global, write_manifest, write_update


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What became of several records.

    Attributes:
        root: The new record.
        updates: How many each of the records had.
        not_joined: Places in them that look like a part of a record and are none, and why.
    """

    root: Path
    updates: dict[Path, int]
    not_joined: Sequence[str]


def join_records(roots: Sequence[Path], out: Path) -> Joined:
    """Write all that is in ``roots`` to the new record ``out``; every file is checked on the way.

    Raises:
        RecordError: ``out`` exists; the records are not of one run, as far as they say; two of them
            have an update of one site in one round; there is no update; one cannot be read. Nothing
            is written then.
    """
    roots = list(dict.fromkeys(Path(root) for root in roots))
    if out.exists():
        raise RecordError(f"{out} exists: name a folder that does not, so that nothing is lost.")
    readers = [Reader(root) for root in roots]
    updates = {reader.root: list_updates(reader.root) for reader in readers}
    _require_apart(updates)
    there = {update for listed in updates.values() for update in listed}
    manifest = _manifest([reader.manifest for reader in readers], roots, there)
    make_folder(out.parent)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".join_") as scratch:
        new = Path(scratch) / "records"
        kept: dict[int, str] = {}
        for reader in readers:
            for round, site in updates[reader.root]:
                _copy(reader, round, site, new)
            for round in reader.manifest.kept_models:
                state = read_model(reader.root, round)
                kept[round] = write_global(new, round, state, several=True)
        rounds = {round for round, _ in there}
        kept = {round: digest for round, digest in kept.items() if round not in rounds}
        write_manifest(new, manifest.model_copy(update={"kept_models": kept}))
        new.rename(out)
    return Joined(
        root=out,
        updates={root: len(listed) for root, listed in updates.items()},
        not_joined=[f"{root}: {place}" for root in roots for place in strays(root)],
    )


def _copy(reader: Reader, round: int, site: str, new: Path) -> None:
    found = reader.record(round, site)
    digest = write_global(new, round, found.global_state, several=True)
    beside = read_beside(reader.root, round, site)
    write_update(new, found.info, digest, found.update, beside=beside)


def _require_apart(updates: dict[Path, list[tuple[int, str]]]) -> None:
    """Refuse what would overwrite, and what would join nothing."""
    of: dict[tuple[int, str], Path] = {}
    for root, listed in updates.items():
        for update in listed:
            if (other := of.setdefault(update, root)) != root:
                raise RecordError(
                    f"{other} and {root} both have an update of {update[1]} in round {update[0]}: "
                    "which of them counts is not known. Audit each record for itself."
                )
    if not of:
        raise RecordError(
            f"None of {', '.join(map(str, updates))} holds an update: there is nothing to join. "
            "`medleak records verify` says of each why."
        )


def _manifest(
    manifests: Sequence[Manifest], roots: Sequence[Path], there: Set[tuple[int, str]]
) -> Manifest:
    """What all say, if they say one thing; what one left out may be ``there`` in another."""
    joined = min(manifests, key=lambda manifest: manifest.created)
    for manifest, root in zip(manifests, roots, strict=True):
        if manifest.job != joined.job:
            raise RecordError(
                f"{root} is of the job {manifest.job[:80]!r}, another one of {joined.job[:80]!r}: "
                "records of one run are joined. Name those alone."
            )
        if manifest.class_names != joined.class_names:
            raise RecordError(f"{root} has other class names than another of the records.")
        joined = extended(root, joined, manifest)
    said = [one for manifest in manifests for one in manifest.left_out]
    left_out = [one for one in said if (one.round, one.site) not in there]
    return joined.model_copy(
        update={"left_out": tuple(dict.fromkeys(left_out)), "silence": "", "kept_models": {}}
    )

"""Take updates out of a record for good, and say what can no longer be asked of it."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from medleak.custom.record.chosen import chosen_updates
from medleak.custom.record.compression import compressed_place
from medleak.custom.record.files import beside_of, other_model, paths
from medleak.custom.record.reading import Reader, list_updates, read_info, read_manifest
from medleak.custom.record.schema import FORMAT_VERSION, LeftOut, utc_now
from medleak.custom.record.tensors import RecordError
from medleak.custom.record.writing import write_manifest

PRUNED = "pruned"
"""How the reason begins that the manifest gives for an update that was taken out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """What goes from the record at ``root``.

    Attributes:
        root: The record.
        updates: (round, site) that go.
        stay: Those that stay, at least one.
        models: Files of models that no remaining update starts from.
        kept: SHA-256 of the first round's model, which stays also without an update, by its round.
        freed_bytes: What is freed.
    """

    root: Path
    updates: Sequence[tuple[int, str]]
    stay: Sequence[tuple[int, str]]
    models: Sequence[Path]
    kept: dict[int, str]
    freed_bytes: int

    def no_longer(self) -> list[str]:
        """What audits of this record cannot ask any more; sentences."""
        sites = sorted({site for _, site in self.updates})
        whole = [site for site in sites if site not in {s for _, s in self.stay}]
        said = [
            f"{len(self.updates)} updates of {len(sites)} sites cannot be audited, verified, or "
            "asked who was in them, ever again."
        ]
        if whole:
            said.append(f"Of {_few(whole)} nothing is left.")
        if fewer := [site for site in sites if site not in whole]:
            said.append(
                f"--average, and membership over rounds, join fewer rounds of {_few(fewer)}: a "
                "leak that needs those rounds is not found."
            )
        left = Counter(round for round, _ in self.stay)
        touched = sorted({round for round, _ in self.updates})
        if alone := [r for r in touched if left[r] == 1]:
            said.append(
                f"In {_rounds(alone)} one site is left: it is compared with no other site's "
                "reconstructions, and no secure aggregation can be replayed."
            )
        if summed := [r for r in touched if left[r] > 1]:
            said.append(
                f"In {_rounds(summed)} secure aggregation is replayed over the sites that are left "
                "alone."
            )
        if gone := [r for r in touched if not left[r] and r not in self.kept]:
            said.append(
                f"The models of {_rounds(gone)} go: an attacker with the model of an earlier round "
                "(model_round), and `medleak sentinel`, find fewer of them."
            )
        return said


def plan_pruning(
    root: Path, rounds: Sequence[int] | None = None, sites: Sequence[str] | None = None
) -> Pruning:
    """What would go: the updates of ``rounds`` and of ``sites`` (None: all of them).

    Raises:
        RecordError: The record cannot be read, is of an older version, leads out of its folder, or
            nothing would be left of it.
        ValueError: A round or site is not recorded, or neither is named.
    """
    root = Path(root)
    if rounds is None and sites is None:
        raise ValueError("Name the rounds or the sites that are to go.")
    reader = Reader(root)
    if reader.version != FORMAT_VERSION:
        raise RecordError(
            f"{root} has format version {reader.version}, whose manifest cannot say what was "
            "pruned. Copy the updates that are to stay to a record of their own."
        )
    manifest = reader.manifest
    gone = chosen_updates(root, rounds, sites)
    stay = sorted(set(list_updates(root)) - set(gone))
    if not stay:
        raise RecordError(
            f"Nothing would be left of {root}: remove the folder if it is to go as a whole."
        )
    recorded = {round for round, _ in [*gone, *stay]}
    first = min({*manifest.kept_models, *recorded})
    kept, models = dict(manifest.kept_models), []
    for round in sorted({round for round, _ in gone}):
        folder = root / f"round_{round:04d}"
        needed = {_sent(root, r, s) for r, s in stay if r == round}
        if None in needed:
            continue  # which model a damaged update needs is not known: all of them stay
        free = {_sent(root, r, s) for r, s in gone if r == round} - needed - {None}
        for digest in sorted(filter(None, free)):
            other = other_model(folder, digest)
            if _exists(other):
                models.append(other)
            elif round == first:
                kept[round] = digest
            else:
                models.append(folder / "global.safetensors")
    found = [path for update in gone for path in _files(root, *update)]
    _require_inside(root, [*found, *models])
    freed = sum(_size(path) for path in [*found, *models])
    return Pruning(root=root, updates=gone, stay=stay, models=models, kept=kept, freed_bytes=freed)


def prune(plan: Pruning) -> None:
    """Do it. Stopped on the way, the same again finishes it; nothing else is ever touched.

    The manifest says it first: an update that is gone was never simply not there.

    Raises:
        RecordError: The disk refuses the manifest.
        OSError: It refuses to let go of a file.
    """
    manifest = read_manifest(plan.root)
    reason = f"{PRUNED} {utc_now()[:10]}"
    said = {(one.round, one.site) for one in manifest.left_out}
    more = [LeftOut(round=r, site=s, reason=reason) for r, s in plan.updates if (r, s) not in said]
    write_manifest(
        plan.root,
        manifest.model_copy(
            update={"left_out": (*manifest.left_out, *more), "kept_models": plan.kept}
        ),
    )
    for update in plan.updates:
        # The tensors first: without them the .json is an update that cannot be read, by name.
        for path in _files(plan.root, *update):
            _remove(path)
    for path in plan.models:
        _remove(path)
    for round in {round for round, _ in plan.updates}:
        folder = plan.root / f"round_{round:04d}"
        for empty in (folder / "beside", folder / "models", folder):
            if empty.is_dir() and not any(empty.iterdir()):
                empty.rmdir()


def _require_inside(root: Path, paths: Sequence[Path]) -> None:
    """Refuse a record, which may be a stranger's, whose folders lead to somebody else's files."""
    for folder in {path.parent for path in paths}:
        if folder.is_symlink() or not folder.resolve().is_relative_to(root.resolve()):
            raise RecordError(
                f"{folder} is a link out of the record: what lies behind it is not the record's to "
                "remove. Nothing was pruned."
            )


def _files(root: Path, round: int, site: str) -> list[Path]:
    """Of an update, its ``.json`` last."""
    folder = root / f"round_{round:04d}"
    tensors, sidecar = paths(folder, site)
    return [tensors, beside_of(folder, site), sidecar]


def _sent(root: Path, round: int, site: str) -> str | None:
    """Hash of the model that an update starts from; None: it is damaged and cannot say."""
    with suppress(RecordError):
        hashes = read_info(root, round, site).sha256
        return None if hashes is None else hashes.sent
    return None


def _exists(path: Path) -> bool:
    return path.exists() or compressed_place(path).exists()


def _size(path: Path) -> int:
    return sum(p.lstat().st_size for p in (path, compressed_place(path)) if p.exists())


def _remove(path: Path) -> None:
    for place in (path, compressed_place(path)):
        place.unlink(missing_ok=True)


def _rounds(rounds: Sequence[int]) -> str:
    return f"round {rounds[0]}" if len(rounds) == 1 else f"{len(rounds)} rounds"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 5 else f"{len(names)} sites"

"""Take updates out of a record for good, and say what can no longer be asked of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from medleak.custom.record.chosen import chosen_updates
from medleak.custom.record.compression import SUFFIX, compressed_place
from medleak.custom.record.files import beside_of, other_model, paths
from medleak.custom.record.reading import Reader, list_updates, read_info, read_manifest
from medleak.custom.record.schema import FORMAT_VERSION, LeftOut, Manifest, utc_now
from medleak.custom.record.tensors import RecordError
from medleak.custom.record.writing import write_manifest

PRUNED = "pruned"
"""How the reason begins that the manifest gives for an update that was taken out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """What goes from the record at ``root``.

    Attributes:
        root: The record.
        manifest: As it was when this was made.
        updates: (round, site) that go.
        stay: Those that stay, at least one.
        rounds: Whose folders go once they are empty.
        models: Files of models that no remaining update starts from.
        kept: SHA-256 of the first round's model, which stays also without an update, by its round.
        freed_bytes: What is freed.
    """

    root: Path
    manifest: Manifest
    updates: Sequence[tuple[int, str]]
    stay: Sequence[tuple[int, str]]
    rounds: Sequence[int]
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

    Of what was pruned before, what a pruning that was stopped left behind goes, too.

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
    manifest, recorded = reader.manifest, list_updates(root)
    gone, left = _asked(root, recorded, manifest, rounds, sites)
    stay = sorted(set(recorded) - set(gone))
    if not stay:
        raise RecordError(
            f"Nothing would be left of {root}: remove the folder if it is to go as a whole."
        )
    touched = sorted({round for round, _ in gone} | left)
    first = min({*manifest.kept_models, *(round for round, _ in recorded)})
    models, kept = _models_that_go(root, touched, gone, stay, first, manifest.kept_models)
    found = [path for update in gone for path in _files(root, *update)]
    _require_inside(root, [*found, *models, *(_folder(root, r) / "global" for r in touched)])
    freed = sum(_size(path) for path in [*found, *models])
    return Pruning(
        root=root,
        manifest=manifest,
        updates=gone,
        stay=stay,
        rounds=touched,
        models=models,
        kept=kept,
        freed_bytes=freed,
    )


def prune(plan: Pruning) -> None:
    """Do it. Stopped on the way, the same again finishes it; nothing else is ever touched.

    The manifest says it first: an update that is gone was never simply not there.

    Raises:
        RecordError: The record is not the one that was looked at, or the disk refuses the manifest.
        OSError: It refuses to let go of a file.
    """
    manifest = read_manifest(plan.root)
    there = set(list_updates(plan.root))
    if manifest != plan.manifest or there != {*plan.updates, *plan.stay}:
        raise RecordError(
            f"{plan.root} has changed since it was looked at: a job records to it, or somebody "
            "else prunes it. Nothing was pruned. Wait for the end, and prune then."
        )
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
    for round in plan.rounds:
        folder = _folder(plan.root, round)
        for empty in (folder / "beside", folder / "models", folder):
            if empty.is_dir() and not any(empty.iterdir()):
                empty.rmdir()


def _models_that_go(
    root: Path,
    rounds: Sequence[int],
    gone: Sequence[tuple[int, str]],
    stay: Sequence[tuple[int, str]],
    first: int,
    kept: Mapping[int, str],
) -> tuple[list[Path], dict[int, str]]:
    """Of ``rounds``, the models that no update needs; and those that are ``kept`` all the same."""
    models, kept = [], dict(kept)
    for round in rounds:
        folder = _folder(root, round)
        needed = {_sent(root, r, s) for r, s in stay if r == round}
        if None in needed:
            continue  # which model a damaged update needs is not known: all of them stay
        others = {other_model(folder, digest) for digest in filter(None, needed)}
        others = {other for other in others if _exists(other)}
        models += [other for other in _models_beside(folder) if other not in others]
        common = folder / "global.safetensors"
        if len(others) < len(needed) or round in kept or not _exists(common):
            continue
        sent = {_sent(root, r, s) for r, s in gone if r == round} - {None}
        digest = next((d for d in filter(None, sent) if not _exists(other_model(folder, d))), None)
        if round != first:
            models.append(common)
        elif digest is not None:
            kept[round] = digest
    return models, kept


def known_rounds(root: Path) -> list[int]:
    """Rounds that can be pruned: they have updates, or a folder that pruning left."""
    left = {round for round, _ in _pruned(read_manifest(root)) if _folder(root, round).is_dir()}
    return sorted(left | {round for round, _ in list_updates(root)})


def _asked(
    root: Path,
    recorded: Sequence[tuple[int, str]],
    manifest: Manifest,
    rounds: Sequence[int] | None,
    sites: Sequence[str] | None,
) -> tuple[list[tuple[int, str]], set[int]]:
    """The updates that are meant, and those rounds without any that a stopped pruning left.

    What was pruned before, and is asked for again, is no mistake where something is left to do.
    """
    pruned = _pruned(manifest)
    meant = {
        r for r, s in pruned if (rounds is None or r in rounds) and (sites is None or s in sites)
    }
    done = {r for r, _ in recorded} | manifest.kept_models.keys()
    left = {r for r in meant - done if _folder(root, r).is_dir()}
    rest, others = rounds, sites
    if rounds is not None:
        gone = {r for r, _ in pruned} - {r for r, _ in recorded}
        rest = [round for round in rounds if round not in gone]
    if sites is not None:
        away = {s for _, s in pruned} - {s for _, s in recorded}
        others = [site for site in sites if site not in away]
    if [] not in (rest, others):
        return chosen_updates(root, rest, others), left
    return ([] if left else chosen_updates(root, rounds, sites)), left


def _pruned(manifest: Manifest) -> set[tuple[int, str]]:
    return {(x.round, x.site) for x in manifest.left_out if x.reason.startswith(PRUNED)}


def _models_beside(folder: Path) -> list[Path]:
    """Models of a round beside its first one, by the names of their plain files."""
    names = {path.name.removesuffix(SUFFIX) for path in (folder / "models").glob("*")}
    digests = {name.removesuffix(".safetensors") for name in names}
    found = {other_model(folder, digest) for digest in digests}  # another name is no model's
    return sorted(path for path in found if path.parent.name == "models" and _exists(path))


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
    folder = _folder(root, round)
    tensors, sidecar = paths(folder, site)
    return [tensors, beside_of(folder, site), sidecar]


def _folder(root: Path, round: int) -> Path:
    return root / f"round_{round:04d}"


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

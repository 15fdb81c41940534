"""Read a record, and trust nothing in it before it is checked."""

import math
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medleak.custom.record.compression import stored_place
from medleak.custom.record.files import (
    SITE_NAME,
    beside_of,
    other_model,
    parse,
    paths,
    read_json,
    read_tensors,
    round_of,
)
from medleak.custom.record.fingerprints import Fingerprint, fingerprint, settled
from medleak.custom.record.schema import (
    READABLE_VERSIONS,
    Hashes,
    Manifest,
    UpdateInfo,
    migrated_info,
    migrated_manifest,
)
from medleak.custom.record.tensors import RecordError, check_update

LARGEST_SIDE = 8192  # pixels; radiographs have some 5,000
_NUMBERED = 200  # characters of a name; int() refuses thousands of digits


@dataclass(frozen=True, slots=True)
class Record:
    """One update with its context; arrays are keyed as in the network's ``state_dict()``.

    Attributes:
        unsent: Weights of the model that did not come, and that whoever reads on has set to no
            change in ``update``. A record as it is read has none: there they are simply absent.
    """

    manifest: Manifest
    info: UpdateInfo
    global_state: dict[str, np.ndarray]
    update: dict[str, np.ndarray]
    unsent: tuple[str, ...] = ()


def all_records(run: Path) -> list[Path]:
    """Every records directory of ``run``: itself, or those below it."""
    run = Path(run)
    if (run / "manifest.json").is_file():
        return [run]
    return sorted({m.parent for m in run.glob("**/records/manifest.json")})


def find_records(run: Path) -> Path:
    """The records directory of ``run``: itself, a job's run directory, or a simulator workspace.

    Of several that one which has updates, where all others say themselves that none came to them:
    so are those of a swarm's sites that never aggregated.

    Raises:
        RecordError: There is none, or more than one.
    """
    if found := all_records(run):
        return one_record(found, str(run))
    raise RecordError(
        f"No record in {run}: neither it nor a records/ folder below it holds a manifest.json. "
        "Name a run of a job with the recorder (the simulator's workspace, say)."
    )


def one_record(found: Sequence[Path], where: str) -> Path:
    """The one of the records ``found`` in ``where`` that has updates; see `find_records`.

    Raises:
        RecordError: There are several.
    """
    full = [root for root in found if not _silent(root)]
    if len(rest := full or found) == 1:
        return rest[0]
    raise RecordError(
        f"{where} holds {len(rest)} records: name one of {', '.join(map(str, rest))}. If they are "
        "of one run, such as the sites' of a swarm, make one of them: medleak records join "
        f"{shlex.join(map(str, rest))} -o NEW."
    )


def _silent(root: Path) -> bool:
    """Whether a record says that no update came to it, and has none."""
    with suppress(RecordError):
        return bool(read_manifest(root).silence) and not list_updates(root)
    return False


def read_manifest(root: Path) -> Manifest:
    """The manifest of the record at ``root``.

    Raises:
        RecordError: It is missing, of another version, or malformed.
    """
    return _read_manifest(Path(root))[0]


def _read_manifest(root: Path) -> tuple[Manifest, int]:
    """And the version that its files have."""
    path = root / "manifest.json"
    text = read_json(path, root)
    version = text.get("format_version")
    if version not in READABLE_VERSIONS or isinstance(version, bool):
        readable = " and ".join(map(str, READABLE_VERSIONS))
        raise RecordError(
            f"{path} has format version {version!r}; this medleak reads {readable}. "
            "Use the medleak that wrote it."
        )
    manifest = parse(Manifest, migrated_manifest(text) if version == 1 else text, path)
    size = () if manifest.input is None else manifest.input.spatial_size
    if max(size, default=0) > LARGEST_SIDE or math.prod(size) > LARGEST_SIDE**2:
        raise RecordError(
            f"{path} asks for images of {' x '.join(map(str, size))} pixels, more than "
            f"{LARGEST_SIDE} a side or {LARGEST_SIDE**2} in all: they would not fit into memory, "
            "and no radiograph is so large. Correct input.spatial_size."
        )
    return manifest, version


def list_updates(root: Path) -> list[tuple[int, str]]:
    """All recorded (round, site), in order of round and then of site (site-2 before site-10)."""
    found = [
        (round, sidecar.stem)
        for folder in Path(root).glob("round_*")
        if (round := round_of(folder.name)) is not None
        for sidecar in folder.glob("*.json")
        if SITE_NAME.fullmatch(sidecar.stem)
    ]
    return sorted(found, key=lambda key: (key[0], natural_key(key[1])))


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which site-2 comes before site-10.

    Of a very long name, which a stranger may have sent, only the beginning is read as numbers.

    Examples:
        >>> sorted(["site-10", "site-2", "site"], key=natural_key)
        ['site', 'site-2', 'site-10']
    """
    parts = re.findall(r"\d+|\D+", name[:_NUMBERED])
    rest = [(1, 0, name[_NUMBERED:])] if len(name) > _NUMBERED else []
    return [(0, int(p), p) if p.isdecimal() else (1, 0, p) for p in parts] + rest


def read_info(root: Path, round: int, site: str) -> UpdateInfo:
    """What ``site`` declared in ``round``, without its tensors.

    Raises:
        RecordError: It is not recorded, or malformed.
    """
    return _read_sidecar(Path(root), round, site)[0]


def _read_sidecar(
    root: Path, round: int, site: str, version: int | None = None
) -> tuple[UpdateInfo, Hashes]:
    _, sidecar = paths(root / f"round_{round:04d}", site)
    if not sidecar.is_file():
        raise RecordError(_not_recorded(root, round, site))
    text = read_json(sidecar, root)
    if (_version(root) if version is None else version) == 1:
        text = migrated_info(text)
    info = parse(UpdateInfo, text, sidecar)
    if (info.round, info.site) != (round, site) or info.sha256 is None:
        raise RecordError(
            f"{sidecar} speaks of round {info.round}, site {info.site}, or lacks its hashes: "
            "it was moved or edited. Restore it."
        )
    return info, info.sha256


def _version(root: Path) -> Any:
    """Of the format, as the manifest says; None without one."""
    path = root / "manifest.json"
    return read_json(path, root).get("format_version") if path.is_file() else None


def read_record(root: Path, round: int, site: str) -> Record:
    """Read one update and check it.

    Raises:
        RecordError: Not recorded; another version; a file that does not have the hash that was
            written with it; an update that does not fit the model by name or shape; NaN or inf.
    """
    return Reader(Path(root)).record(round, site)


def read_beside(root: Path, round: int, site: str) -> dict[str, dict[str, np.ndarray]]:
    """What a site sent beside its update, by set and by name; empty where it sent nothing.

    Raises:
        RecordError: As `read_record`.
    """
    root = Path(root)
    return _read_beside(root, round, site, _read_sidecar(root, round, site)[1])


def read_model(root: Path, round: int) -> dict[str, np.ndarray]:
    """The model of a round whose updates were pruned and whose model was kept.

    Raises:
        RecordError: It was not kept, or does not have the hash in the manifest.
    """
    digest = read_manifest(root).kept_models.get(round)
    if digest is None:
        raise RecordError(f"{root} keeps no model of round {round} without its updates.")
    path = Path(root) / f"round_{round:04d}" / "global.safetensors"
    return read_tensors(path, digest, Path(root))


class Reader:
    """Reads many updates of one record; the manifest, and the model of a round, only once.

    Arrays of a model are shared between the records that have it.
    """

    def __init__(self, root: Path) -> None:
        """Read the manifest of the record at ``root``.

        Raises:
            RecordError: See `read_manifest`.
        """
        self.root = Path(root)
        self.manifest, self.version = _read_manifest(self.root)
        self._model: tuple[Path, str, Fingerprint, dict[str, np.ndarray]] | None = None

    def record(self, round: int, site: str) -> Record:
        """As `read_record`."""
        return self._record(round, site, *self._sidecar(round, site))

    def check(self, round: int, site: str) -> None:
        """Read all that ``site`` sent in ``round``.

        Raises:
            RecordError: Something is wrong with it.
        """
        info, hashes = self._sidecar(round, site)
        self._record(round, site, info, hashes)
        _read_beside(self.root, round, site, hashes)

    def _sidecar(self, round: int, site: str) -> tuple[UpdateInfo, Hashes]:
        return _read_sidecar(self.root, round, site, self.version)

    def _record(self, round: int, site: str, info: UpdateInfo, hashes: Hashes) -> Record:
        folder = self.root / f"round_{round:04d}"
        sent = self._sent(folder, hashes.sent)
        # A difference is no larger than the model, but for entries that averaging widened to
        # float64.
        size = 8 * sum(value.size for value in sent.values())
        update = read_tensors(folder / f"{site}.safetensors", hashes.update, self.root, limit=size)
        check_update(f"{folder / site}.safetensors", sent, update)
        return Record(self.manifest, info, sent, update)

    def _sent(self, folder: Path, digest: str) -> dict[str, np.ndarray]:
        other = other_model(folder, digest)
        path = other if stored_place(other).exists() else folder / "global.safetensors"
        with suppress(OSError):  # reading it says what is wrong
            seen = fingerprint(stored_place(path))
            if seen is not None and settled(seen):
                if self._model is None or self._model[:3] != (path, digest, seen):
                    self._model = None  # two models are not in memory at once
                    self._model = path, digest, seen, read_tensors(path, digest, self.root)
                return self._model[3]
        return read_tensors(path, digest, self.root)


def _read_beside(
    root: Path, round: int, site: str, hashes: Hashes
) -> dict[str, dict[str, np.ndarray]]:
    if hashes.beside is None:
        return {}
    found: dict[str, dict[str, np.ndarray]] = {}
    path = beside_of(root / f"round_{round:04d}", site)
    for key, value in read_tensors(path, hashes.beside, root).items():
        kind, _, name = key.partition("/")
        if not np.isfinite(value.astype(np.float64)).all():
            raise RecordError(f"{path}: {key!r} holds NaN or inf. Restore it.")
        found.setdefault(kind, {})[name] = value
    return found


def verify(root: Path) -> Iterator[tuple[int, str, str | None]]:
    """Read every update; yield (round, site, None or what is wrong with it)."""
    reader = None
    for round, site in list_updates(root):
        try:
            reader = reader or Reader(root)
            reader.check(round, site)
        except RecordError as error:
            yield round, site, str(error)
        else:
            yield round, site, None


def _not_recorded(root: Path, round: int, site: str) -> str:
    updates = list_updates(root)
    rounds = sorted({r for r, _ in updates})
    if round not in rounds:
        span = ", ".join(map(str, rounds)) or "none"
        return f"Round {round} is not recorded in {root}. Recorded rounds: {span}."
    sites = ", ".join(s for r, s in updates if r == round) or "none"
    return f"Site {site!r} is not recorded in round {round} of {root}. Recorded there: {sites}."

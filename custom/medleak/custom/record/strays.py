"""What lies in a record and is no update of it: it was not examined, and that must be said."""

from collections import Counter
from collections.abc import Sequence, Set
from contextlib import suppress
from pathlib import Path

from medleak.custom.record.compression import SUFFIX
from medleak.custom.record.files import (
    SITE_NAME,
    RecordError,
    beside_of,
    other_model,
    round_of,
)
from medleak.custom.record.reading import read_info, read_manifest
from medleak.custom.record.schema import LeftOut, Manifest

_WEIGHTS = (".safetensors", ".zst", ".pt", ".pth", ".ckpt", ".bin", ".npz", ".npy", ".h5")


class EmptyRecord(RecordError):
    """A record that can be read and has no update: whatever was asked, nothing was examined."""


def strays(root: Path) -> list[str]:
    """Places below ``root`` that look like a part of the record and are read as none, and why.

    A crash while writing leaves whole updates (their ``.json`` comes last), so tensors without one
    were cut short, or lost what was said of them. Hidden files are not looked at, nor is what
    stands beside the rounds and holds no weights.

    Returns:
        Sentences' beginnings such as ``round_0003/site-1.safetensors has no .json``, by place.
    """
    found, kept = [], _kept_rounds(Path(root))
    for entry in sorted(Path(root).glob("[!.]*")):
        name = _shown(entry.name)
        if not entry.is_dir():
            if entry.name.lower().startswith("round"):
                found.append(f"{name} is no folder")
            elif _is_weights(entry) or (entry.suffix == ".json" and entry.name != "manifest.json"):
                found.append(f"{name} is in no round")
        elif (round := round_of(entry.name)) is not None:
            found += [f"{name}/{what}" for what in _in_round(entry, round in kept)]
            found += [f"{name}/{what}" for what in _of_nobody(Path(root), round, entry)]
        elif entry.name.lower().startswith("round"):
            found.append(f"{name}/ has the name of no round")
        elif entry.is_symlink() or any(map(_is_weights, entry.rglob("*"))):
            found.append(f"{name}/ holds weights, or is a link, and has the name of no round")
    return found


def _in_round(folder: Path, pruned: bool) -> list[str]:
    names = sorted(p.name for p in folder.glob("[!.]*"))
    sidecars = {name.removesuffix(".json") for name in names if name.endswith(".json")}
    found = []
    for name in names:
        plain = name.removesuffix(SUFFIX) if name.endswith(f".safetensors{SUFFIX}") else name
        stem, dot, suffix = plain.rpartition(".")
        if dot and suffix == "json" and not _is_site(stem):
            found.append(f"{_shown(name)} has the name of no site")
        elif dot and suffix == "safetensors" and stem != "global" and stem not in sidecars:
            found.append(f"{_shown(name)} has no .json")
        elif name not in ("models", "beside") and suffix not in ("json", "safetensors"):
            found.append(f"{_shown(name)} is no file of a record")
    if not any(map(_is_site, sidecars)) and not found and not pruned:
        found.append(" holds no update")
    return found


def _of_nobody(root: Path, round: int, folder: Path) -> list[str]:
    """Tensors in a round's own folders that no update names; of a damaged one nothing is known."""
    inside = [p for kind in ("beside", "models") for p in sorted((folder / kind).glob("[!.]*"))]
    if not inside:
        return []
    named: set[Path] = set()
    for sidecar in folder.glob("[!.]*.json"):
        if not _is_site(sidecar.stem):
            continue
        try:
            hashes = read_info(root, round, sidecar.stem).sha256
        except RecordError:
            return []
        if hashes is not None:
            named.add(other_model(folder, hashes.sent))
            named |= {beside_of(folder, sidecar.stem)} if hashes.beside else set()
    places = [(p, p.with_name(p.name.removesuffix(SUFFIX))) for p in inside]
    return [
        f"{p.parent.name}/{_shown(p.name)} belongs to no update"
        for p, plain in places
        if plain not in named
    ]


def _kept_rounds(root: Path) -> Set[int]:
    """Rounds of which a model is kept and no update, as the manifest says."""
    with suppress(RecordError):  # whoever reads the manifest will say so
        return read_manifest(root).kept_models.keys()
    return set()


def _is_weights(path: Path) -> bool:
    return path.suffix.lower() in _WEIGHTS


def _is_site(name: str) -> bool:
    return SITE_NAME.fullmatch(name) is not None


def _shown(text: str, length: int = 100) -> str:
    """A stranger's text, such as a file name, short and without what a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in text[:length])


def why_empty(manifest: Manifest) -> str:
    """Why a record holds no update: what its recorder says, else where to look; a sentence."""
    if manifest.silence:
        return f"Its recorder says: {_shown(' '.join(manifest.silence.split()), 600)}."
    return (
        "Look whether the job's clients started and its recorder is in the job; then name its "
        "record."
    )


def left_out_text(left_out: Sequence[LeftOut]) -> str:
    """How many updates arrived and are not in the record, by reason; empty for none."""
    if not left_out:
        return ""
    reasons = Counter(" ".join(one.reason.split()) for one in left_out)
    listed = "; ".join(f"{n}: {_shown(reason)}" for reason, n in reasons.most_common(3))
    more = f"; and {len(reasons) - 3} other reasons" if len(reasons) > 3 else ""
    return f"{len(left_out)} updates arrived and are not in the record ({listed}{more})"


def gaps_text(updates: Sequence[tuple[int, str]], left_out: Sequence[LeftOut]) -> str:
    """How many updates the rounds lack without a word of why; empty for none.

    A site that was not asked in a round has none there; so has one whose files were taken away.
    """
    here = set(updates)
    rounds, sites = {r for r, _ in here}, {s for _, s in here}
    if not here:
        return ""
    first, last = min(rounds), max(rounds)
    said = {(x.round, x.site) for x in left_out if x.site in sites and first <= x.round <= last}
    missing = (last - first + 1) * len(sites) - len(here | said)
    if not missing:
        return ""
    return (
        f"{missing} updates that {len(sites)} sites could have sent in rounds {first} to {last} "
        "are not here, and nothing says why"
    )

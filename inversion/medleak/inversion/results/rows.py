"""The tables of an audit directory: results.csv and summary.json."""

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsFloat

from medleak.custom.atomic import write_atomic
from medleak.inversion.results.case import NO_DEFENCE, Case
from medleak.inversion.results.summary import figures_of
from medleak.inversion.results.verdict import RULE

FORMAT_VERSION = 2  # 1 had no patient, no nulls but the prior, and no neighbours


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One attacked image; None where a figure is undefined or there was no truth to compare with.

    Attributes:
        declared: Defences that the site says it applied before sending.
        reconstruction: Index among the case's reconstructions.
        truth_image: Place in the site's datalist of the image that it was assigned to.
        patient: Number of that image's patient within the site, by first appearance; never an id.
        site_images: Training images of the site, attacked or not: the denominator of IIP.
        ssim: And `ssim_tmi`, `psnr` (dB), `mse`, `rdlv`: see
            `medleak.inversion.measures.similarity`.
        lpips: Learned perceptual distance; None: the extra is not installed, or not asked for.
        ssim_prior: SSIM of the same truth and the prior; `psnr_prior` likewise.
        ssim_class_mean: And `ssim_nonmember`, `ssim_other`: SSIM of the same truth with images that
            the update cannot have leaked; see `medleak.inversion.measures.nulls`.
        cosine: Of the embeddings of the reconstruction and the truth.
        iip_match: Whether the truth is among the nearest neighbours (IIP); None: not computed.
        iip_site_match: Whether a training image of the site is, and no reconstruction before this
            one of the same case found the same image.
        neighbours: Places in the gallery of the nearest neighbours, joined by spaces; ``-`` is one
            of another class than the truth.
        class_mates: Images in the gallery of the truth's class, itself included.
        gallery: Images in the gallery.
        embedding: Network behind the last six, and the first digits of its SHA-256; ``none: why``
            where there is none.
        seconds: CPU seconds of the whole case.
        attempts: Starts that the attack needed.
        stuck: The attack knows by its own loss that it failed.
        losses: Its final losses, ``name=value`` joined by spaces.
        label: Class that the attack inferred.
        truth_label: Class of the truth image.
        picture: Bare reconstruction, relative to the audit directory.
        truth_picture: Likewise, the truth image.
    """

    round: int
    site: str
    attack: str
    defence: str
    declared: str
    knowledge: str
    seed: int
    reconstruction: int
    truth_image: str | None = None
    patient: int | None = None
    site_images: int | None = None
    ssim: float | None = None
    ssim_tmi: float | None = None
    psnr: float | None = None
    mse: float | None = None
    lpips: float | None = None
    ssim_prior: float | None = None
    psnr_prior: float | None = None
    rdlv: float | None = None
    ssim_class_mean: float | None = None
    ssim_nonmember: float | None = None
    ssim_other: float | None = None
    cosine: float | None = None
    iip_match: bool | None = None
    iip_site_match: bool | None = None
    neighbours: str | None = None
    class_mates: int | None = None
    gallery: int | None = None
    embedding: str | None = None
    seconds: float
    iterations: int
    attempts: int
    stuck: bool
    losses: str
    label: int | None = None
    truth_label: int | None = None
    picture: str
    truth_picture: str | None = None

    @property
    def case(self) -> Case:
        """The case that the row belongs to."""
        return Case(self.round, self.site, self.attack, self.defence, self.knowledge, self.seed)


COLUMNS = tuple(f.name for f in dataclasses.fields(Row))
_WHOLE = {"round", "seed", "reconstruction", "iterations", "attempts", "label", "truth_label"} | {
    "patient",
    "site_images",
    "class_mates",
    "gallery",
}
_YES_NO = {"stuck", "iip_match", "iip_site_match"}
_OPTIONAL_WORDS = {"truth_image", "truth_picture", "neighbours", "embedding"}
_WORDS = {"site", "attack", "defence", "declared", "knowledge", "losses", "picture"}


def read_rows(path: Path) -> list[Row]:
    """The rows of a results.csv; none if there is no such file.

    Raises:
        ValueError: Other columns than this version writes, or a malformed value.
    """
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ValueError(
                f"{path} has the columns {','.join(reader.fieldnames or ())[:200]!r}: another "
                "version wrote it, and rows of two versions must not be mixed. Audit into another "
                "--out."
            )
        try:
            return [Row(**{k: _parse(k, v) for k, v in line.items()}) for line in reader]
        except (TypeError, ValueError, KeyError) as error:
            raise ValueError(
                f"{path}, line {reader.line_num}: {error}. Restore the file or audit into another "
                "--out."
            ) from None


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write results.csv, whole or not at all.

    Raises:
        OSError: The disk refuses it; the old file stays.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: _text(v) for k, v in dataclasses.asdict(row).items()})
    write_atomic(path, text.getvalue().encode())


def read_refused(out: Path) -> list[dict[str, Any]]:
    """What an earlier run of the audit in ``out`` refused: ``{"case", "why"}`` each."""
    path = out / "summary.json"
    return json.loads(path.read_bytes())["refused"] if path.exists() else []


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` as JSON, whole or not at all; NaN and infinity are refused."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomic(path, text.encode() + b"\n")


def summarise(
    rows: Sequence[Row],
    refused: Sequence[Mapping[str, Any]],
    health: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """What summary.json holds: figures with intervals and a verdict, health, refusals.

    Args:
        rows: Of one audit.
        refused: See `read_refused`.
        health: ``attack|knowledge`` to what the attack reached on an easy case: ``ssim``,
            ``reached``.

    Returns:
        ``sites``: a group for each site, attack, defence, declared and knowledge over all rounds
        and seeds (``round`` is "all"); ``rounds``: the same for each round; ``cases``: for each
        round and seed. See `medleak.inversion.results.summary.figures_of`.
    """
    health = health or {}
    group = ("site", "attack", "defence", "declared", "knowledge")
    firsts = list({row.case: row for row in reversed(rows)}.values())
    return {
        "format_version": FORMAT_VERSION,
        "sites": [{"round": "all", **g} for g in _grouped(rows, group, health)],
        "rounds": _grouped(rows, ("round", *group), health),
        "cases": _grouped(rows, tuple(f.name for f in dataclasses.fields(Case)), health),
        "health": {
            "cases": len(firsts),
            "stuck": sum(r.stuck for r in firsts),
            "attempts": sum(r.attempts for r in firsts),
            "easy_case": _easy_case(health),
            **{key: dict(value) for key, value in health.items()},
        },
        "refused": list(refused),
        "definitions": DEFINITIONS,
    }


DEFINITIONS = {
    "ssim": "scikit-image default window (7x7 uniform), data_range=1, clipped, no rescaling",
    "ssim_tmi": "7x7 uniform, 0..255, data_range=256, reconstruction min-max rescaled per image",
    "psnr": "dB at peak 1, capped at 100",
    "rdlv": "(ssim - ssim_prior) / ssim_prior; undefined where ssim_prior < 0.05",
    "assignment": "Hungarian, best total SSIM over the client's training images",
    "ssim_class_mean": "SSIM of the truth and the mean of the other clients' images of its class",
    "ssim_nonmember": "SSIM of the truth and the most similar image the client did not train on",
    "ssim_other": "SSIM of the truth and the reconstruction nearest to it from another client's "
    "update of the same round, attack, defence, knowledge and seed; mean over those clients",
    "iip": "share of the client's training images that are among the k nearest neighbours, by "
    "cosine of embeddings, of the reconstruction assigned to them; gallery: all training and "
    "validation images of all clients",
    "iip_site": "share of the client's training images that are such a neighbour of any of its "
    "reconstructions",
    "iip.p": "permutation of the truth, and of the client's images that it was chosen from, among "
    "the gallery's images of its class, all runs of an image together; an upper bound",
    "asr": "share of reconstructions with ssim >= 0.9",
    "interval": "95 %: percentile bootstrap of 1000 resamples, clustered by patient, widened by "
    "sqrt(n / (n - 1)) t / z for n patients; of shares of fewer than 30 patients Wilson's; null: "
    "one image in one run",
    "verdict": RULE,
    "seconds": "CPU seconds of the attack on the whole case (wall seconds on a GPU)",
}


def _grouped(
    rows: Sequence[Row], names: Sequence[str], health: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(getattr(row, name) for name in names), []).append(row)
    lost = {_update(r) for r in rows if r.stuck and r.defence == r.declared == NO_DEFENCE}
    return [
        dict(zip(names, key, strict=True))
        | figures_of(
            members,
            health.get(f"{members[0].attack}|{members[0].knowledge}"),
            lost_undefended=any(_update(r) in lost for r in members),
        )
        for key, members in groups.items()
    ]


def _update(row: Row) -> tuple[Any, ...]:
    """What was attacked, and how, whatever the defence and the seed."""
    return row.round, row.site, row.attack, row.knowledge


def _easy_case(health: Mapping[str, Mapping[str, Any]]) -> str:
    if not health:
        return "not run"
    reached = sum(bool(h["reached"]) for h in health.values())
    return f"recovered by {reached} of {len(health)} attacks"


def six_digits(value: SupportsFloat) -> float | None:
    """As results.csv keeps it, so that a resumed audit counts with the same numbers; NaN: None."""
    number = float(value)
    return None if number != number else float(f"{number:.6g}")


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parse(column: str, text: str) -> Any:
    if column in _WORDS:
        return text
    if text == "":
        return None
    if column in _OPTIONAL_WORDS:
        return text
    if column in _YES_NO:
        return {"true": True, "false": False}[text]
    return int(text) if column in _WHOLE else float(text)

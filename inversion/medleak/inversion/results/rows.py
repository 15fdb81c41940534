"""results.csv: one row an attacked image."""

import csv
import dataclasses
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsFloat

from medleak.custom.atomic import write_atomic
from medleak.filters import storage
from medleak.inversion.results.case import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One attacked image; None where a figure is undefined or there was no truth to compare with.

    Attributes:
        declared: Defences that the site says it applied before sending.
        reconstruction: Index among the case's reconstructions.
        truth_image: Place in the site's datalist of the image that it was assigned to.
        patient: Number of that image's patient within the site, by first appearance; never an id.
        site_images: Training images of the site, attacked or not: the denominator of IIP.
        transformation: What augmentation made of the truth before the network saw it, in words
            (`medleak.inversion.measures.augmentation`): all figures below are then of the truth as
            it was seen, and all nulls of the same search. None: as it is listed.
        ssim_listed: SSIM with the truth as it is listed; None: no transformation was looked for.
        ssim: And `ssim_tmi`, `psnr` (dB), `mse`, `rdlv`: see
            `medleak.inversion.measures.similarity`.
        lpips: Learned perceptual distance; None: the extra is not installed, or not asked for.
        ssim_prior: SSIM of the same truth and the prior; `psnr_prior` likewise.
        ssim_class_mean: And `ssim_nonmember`, `ssim_other`: SSIM of the same truth with images that
            the update cannot have leaked, and `ssim_coarse`, of a coarse copy of it; see
            `medleak.inversion.measures.nulls`.
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
        start_losses: Likewise, of the image that the attack started from.
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
    transformation: str | None = None
    ssim_listed: float | None = None
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
    ssim_coarse: float | None = None
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
    start_losses: str = ""
    label: int | None = None
    truth_label: int | None = None
    picture: str
    truth_picture: str | None = None

    @property
    def case(self) -> Case:
        """The case that the row belongs to."""
        return Case(self.round, self.site, self.attack, self.defence, self.knowledge, self.seed)


_LARGEST = 500_000_000  # bytes
_LONGEST_NUMBER = 20  # characters: a seed has 64 bits
COLUMNS = tuple(f.name for f in dataclasses.fields(Row))
_WHOLE = {"round", "seed", "reconstruction", "iterations", "attempts", "label", "truth_label"} | {
    "patient",
    "site_images",
    "class_mates",
    "gallery",
}
_YES_NO = {"stuck", "iip_match", "iip_site_match"}
_OPTIONAL_WORDS = {"truth_image", "truth_picture", "neighbours", "embedding"} | {"transformation"}
_WORDS = {"site", "attack", "defence", "declared", "knowledge", "losses", "picture"} | {
    "start_losses"
}


def read_rows(path: Path) -> list[Row]:
    """The rows of a results.csv; none if there is no such file.

    Raises:
        ValueError: Other columns than this version writes, or a malformed value.
    """
    if not path.exists():
        return []
    with storage.open_regular(path) as raw:
        if os.fstat(raw.fileno()).st_size > _LARGEST:
            raise ValueError(f"{path} is larger than {_LARGEST} bytes: no audit has so many rows.")
        file = io.TextIOWrapper(raw, encoding="utf-8", newline="")
        try:
            return _rows(path, csv.DictReader(file))
        except (UnicodeDecodeError, csv.Error) as error:
            why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error
            raise ValueError(
                f"{path} is damaged ({why}): it is no table of an audit. Restore the file or audit "
                "into another --out."
            ) from None


def _rows(path: Path, reader: "csv.DictReader[str]") -> list[Row]:
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise ValueError(
            f"{path} has the columns {','.join(reader.fieldnames or ())[:200]!r}: another "
            "version wrote it, and rows of two versions must not be mixed. Audit into another "
            "--out."
        )
    try:
        return [Row(**{k: _parse(k, v) for k, v in line.items()}) for line in reader]
    except UnicodeDecodeError:
        raise
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


def six_digits(value: SupportsFloat) -> float | None:
    """As results.csv keeps it, so that a resumed audit counts with the same numbers; NaN: None."""
    number = shortened(float(value))
    return None if number != number else number


def shortened(value: float) -> float:
    """To the six digits that an audit's files hold.

    Examples:
        >>> shortened(1 / 3), shortened(1234567.8)
        (0.333333, 1234570.0)
    """
    return float(f"{value:.6g}")


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
    number = int(text[:_LONGEST_NUMBER]) if column in _WHOLE else float(text)
    if column in _WHOLE and len(text) > _LONGEST_NUMBER:
        raise ValueError(f"{column} is a number of {len(text)} digits")
    return number

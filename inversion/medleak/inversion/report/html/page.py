"""The report as HTML: everything that the template needs, and the file as a whole."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from medleak.custom.record import utc_now
from medleak.inversion.report import who, wording
from medleak.inversion.report.advice import advice
from medleak.inversion.report.attack_classes import canaries, malicious_server
from medleak.inversion.report.attack_classes.answer import Recipient
from medleak.inversion.report.attack_classes.registry import asked
from medleak.inversion.report.dossier.answered import by_source
from medleak.inversion.report.dossier.sources import BASES
from medleak.inversion.report.html import annex
from medleak.inversion.report.html.album import Album
from medleak.inversion.report.html.charts import Drawing, draw
from medleak.inversion.report.html.compare import compare, summary
from medleak.inversion.report.html.curves import charts
from medleak.inversion.report.html.document import as_script_data, fill
from medleak.inversion.report.html.frames import Originals, gallery
from medleak.inversion.report.html.notes import no_picture, notes
from medleak.inversion.report.html.said import SOURCES
from medleak.inversion.report.html.telling import telling
from medleak.inversion.report.model import Audit
from medleak.inversion.report.reading import read_audit
from medleak.inversion.report.sound import as_written
from medleak.inversion.report.validity import Validity, validity
from medleak.inversion.report.verdicts import (
    RULES,
    Light,
    SiteVerdict,
    by_light,
    headline,
    site_verdicts,
)

LARGEST_FILE = 25_000_000
"""Bytes that a report may have; pictures are reduced, then left out, to stay within it."""

MOST_LINES = 600
"""Lines of a table in the page; the CSV has all."""

MOST_CARDS = 20
"""Sites that are described one by one; of more, the worst few are, and a table has all."""

_WORST = 8
# Places of its pictures in a frame's line, and words that depend on what was left out.
_BYTES_A_FRAME, _SLACK = 24, 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The finished file, and what had to be left out of it, a sentence each."""

    html: bytes
    verdicts: Sequence[SiteVerdict]
    notes: Sequence[str]
    validity: Validity


def render(
    audits: Sequence[Audit],
    *,
    originals: Originals = "redacted",
    pictures: bool = True,
    largest: int = LARGEST_FILE,
    repeat_by: datetime.date | None = None,
) -> Report:
    """One self-contained HTML file about an audit, or about two: before and after.

    Args:
        audits: One or two; the verdict is that of the last.
        originals: ``hidden``: in the file, shown at a click. ``redacted``: no byte of them in it.
        pictures: False: no picture at all, reconstructions included.
        largest: Bytes that the file may have.
        repeat_by: Day by which the auditor wants the audit repeated in any case.

    Raises:
        ValueError: Other than one or two audits.
    """
    if len(audits) not in (1, 2):
        raise ValueError(f"A report is about one audit or compares two, got {len(audits)}.")
    verdicts = site_verdicts(audits[-1])
    page = _Page(audits, verdicts, originals, pictures, repeat_by)
    # Everything but the pictures first: they get what room is left.
    frames = sum(len(audit.rows) for audit in audits)
    room = max(0, largest - len(page.html(Album(0))) - _BYTES_A_FRAME * frames - _SLACK)
    album = Album(room)
    html = page.html(album)
    if album.left_out and album.larger:
        album = Album(room, reduced=True)
        html = page.html(album, reduced=True)
    return Report(html=html, verdicts=verdicts, notes=page.notes, validity=page.validity)


class _Page:
    """What all passes over the same page share."""

    def __init__(
        self,
        audits: Sequence[Audit],
        verdicts: Sequence[SiteVerdict],
        originals: Originals,
        pictures: bool,
        repeat_by: datetime.date | None,
    ) -> None:
        self.audits, self.verdicts = audits, verdicts
        self.originals: Originals = originals
        self.pictures = pictures
        self.classes, self.validity = asked(audits[-1]), validity(audits[-1], repeat_by)
        self.notes: list[str] = []
        self.drawings = [_drawings(audit) for audit in audits]
        self.comparison = compare(*audits) if len(audits) == 2 else None
        self.made = utc_now()

    def html(self, album: Album, *, reduced: bool = False) -> bytes:
        """The page with as many pictures as ``album`` takes."""
        audit, verdicts = self.audits[-1], self.verdicts
        if self.originals == "redacted":
            for each in self.audits:
                album.forbid(each.folder, _originals_of(each))
        show = telling(audit, self.verdicts, album, self.originals) if self.pictures else None
        frames = gallery(self.audits, album, self.originals, pictures=self.pictures)
        self.notes = notes(frames, album, self.originals, self.pictures, reduced)
        embedded = {show.prior, show.reconstruction} if show else set()
        if show and self.originals == "shown":
            embedded.add(show.original)
        # Pictures of the first page stand in the HTML; the script takes them from there.
        rest = ["" if k in embedded else text for k, text in enumerate(album.pictures)]
        context = {
            "audits": self.audits,
            "audit": audit,
            "verdicts": verdicts,
            "cards": verdicts[: _WORST if len(verdicts) > MOST_CARDS else MOST_CARDS],
            "taken": sum(
                v.group is not None or v.site not in audit.not_drawn for v in self.verdicts
            ),
            "headline": headline(verdicts),
            "glance": {
                light: sorted(sites, key=audit.sites.index)
                for light, sites in by_light(self.verdicts).items()
            },
            "telling": show,
            "album": album.pictures,
            "rules": RULES,
            "advice": advice(audit, self.verdicts),
            "classes": self.classes,
            "recipients": list(Recipient),
            "validity": self.validity,
            "by_source": by_source(audit, self.classes, self.validity),
            "bases": BASES,
            "tried": wording.tried(audit),
            "unknown": wording.unknown(audit),
            "knowledge": {g.knowledge: wording.knew(audit, g.knowledge) for g in audit.groups},
            "drawings": self.drawings,
            "who_lines": [who.lines(each) for each in self.audits],
            "comparison": self.comparison,
            "changed": summary(self.comparison) if self.comparison else [],
            "frames": frames,
            "payload": as_script_data(
                {**frames.payload, "originals": self.originals, "job": audit.job}
            ),
            "pictures": "\n".join(rest),
            "originals": self.originals,
            "notes": self.notes,
            "no_picture": no_picture(frames, album, self.pictures),
            "annex": annex.annex(audit),
            "models_sent": malicious_server.lines(audit),
            "canaries": canaries.lines(audit),
            "no_canaries": canaries.NOT_LOOKED,
            "sources": SOURCES,
            "made": self.made,
            "version": version("medleak"),
            "most_lines": MOST_LINES,
            "limits": wording.LIMITS,
            "references": wording.REFERENCES,
        }
        return fill("report.html.jinja", context)


def index(folders: Mapping[str, Path], originals: Originals) -> bytes:
    """A page that lists audits by number, worst first as far as they can be read."""
    entries = [_entry(number, folder) for number, folder in folders.items()]
    entries.sort(key=lambda e: e["light"].severity if e["light"] else -1)
    return fill("index.html.jinja", {"entries": entries, "originals": originals, "album": []})


def _entry(number: str, folder: Path) -> dict[str, Any]:
    try:
        with as_written([folder]):
            verdicts = site_verdicts(read_audit(folder))
            words = headline(verdicts)
    except (ValueError, OSError):
        words = "It cannot be read; medleak report says why."
        return {"number": number, "name": folder.name, "light": None, "words": words}
    worst = verdicts[0].light if verdicts else Light.NOT_KNOWN
    return {"number": number, "name": folder.name, "light": worst, "words": words}


def _originals_of(audit: Audit) -> list[str]:
    """Every picture that may be an original: those of the rows, and those named like one."""
    named = (f"images/{path.name}" for path in (audit.folder / "images").glob("truth_*"))
    return [*(r.truth_picture for r in audit.rows if r.truth_picture), *named]


def _drawings(audit: Audit) -> list[Drawing]:
    return [draw(chart) for chart in charts(audit)]

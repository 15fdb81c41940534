"""The one picture of the first page: what came back that tells most."""

from collections.abc import Sequence
from dataclasses import dataclass

from medleak.inversion.audit.panels import PRIOR_PICTURE
from medleak.inversion.report.html.album import Album
from medleak.inversion.report.html.frames import Originals
from medleak.inversion.report.model import Audit
from medleak.inversion.report.verdicts import SiteVerdict
from medleak.inversion.results.rows import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """Places in the album of the first page's pictures; None: not there."""

    row: Row
    prior: int | None
    reconstruction: int
    original: int | None


def telling(
    audit: Audit, verdicts: Sequence[SiteVerdict], album: Album, originals: Originals
) -> Telling | None:
    """The best reconstruction of the site with the worst light; None without any picture."""
    ranked = sorted(
        (v for v in verdicts if v.best is not None),
        key=lambda v: (v.light.severity, -_ssim(v.best)),
    )
    for verdict in ranked:
        row = verdict.best
        if row is None or (place := album.add(audit.folder, row.picture)) is None:
            continue
        original = None
        if originals != "redacted" and row.truth_picture:
            original = album.add(audit.folder, row.truth_picture)
        prior = album.add(audit.folder, PRIOR_PICTURE)
        return Telling(row=row, prior=prior, reconstruction=place, original=original)
    return None


def _ssim(row: Row | None) -> float:
    return -1.0 if row is None or row.ssim is None else row.ssim

"""The site x defence table of an audit, for eyes (markdown) and for programs (CSV)."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medleak.custom.atomic import write_atomic
from medleak.custom.record import natural_key
from medleak.inversion.figures.audit_data import AuditData
from medleak.inversion.figures.estimates import BANDS, Estimate, estimates
from medleak.inversion.measures.similarity import ASR_THRESHOLD
from medleak.inversion.results.rows import Row
from medleak.inversion.results.strength import protection, same
from medleak.inversion.results.trade_off import utility_text
from medleak.inversion.results.utility import Utility

NULLS = {
    "prior": "prior",
    "class_mean": "class mean",
    "nonmember": "non-member",
    "other": "other client",
}
"""Similarity to the same truth of images that the update cannot have leaked, as in summary.json."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One site under one protection, by the strongest of the audited attacks with one knowledge."""

    site: str
    protection: str
    knowledge: str
    attack: str
    images: int
    seeds: int
    rdlv: Estimate | None
    ssim: Estimate | None
    iip: Estimate | None
    asr: Estimate | None
    nulls: dict[str, float | None]
    accuracy: Utility | None
    stuck: int


def lines(audit: AuditData) -> list[Line]:
    """The table's lines: by site, protection and knowledge, in the order of the audit.

    Of several attacks the one with the highest mean SSIM counts, its name is in the line.
    """
    found = []
    keys = {(r.site, protection(r), r.knowledge): None for r in audit.rows}
    order = {key: k for k, key in enumerate(keys)}
    for site, name, knowledge in sorted(keys, key=lambda k: (natural_key(k[0]), order[k])):
        rows = [
            r for r in audit.rows if (r.site, protection(r), r.knowledge) == (site, name, knowledge)
        ]
        best = max({r.attack: None for r in rows}, key=lambda a: _mean_ssim(rows, a))
        known = next((u for u in audit.utility if same(utility_text(u), name)), None)
        found.append(_line([r for r in rows if r.attack == best], name, known))
    return found


def table(audit: AuditData, out: Path) -> list[Path]:
    """Write ``table.md`` and ``table.csv`` into ``out``, whole or not at all.

    Raises:
        OSError: The disk refuses a file.
    """
    out.mkdir(parents=True, exist_ok=True)
    content = lines(audit)
    paths = [out / "table.md", out / "table.csv"]
    write_atomic(paths[0], markdown(content).encode())
    write_atomic(paths[1], _csv(content).encode())
    return paths


def markdown(content: Sequence[Line]) -> str:
    """``content`` as a GitHub table, with what its columns mean below it."""
    header = (
        *("site", "defence", "attacker knows", "attack", "images x seeds", "RDLV [95 %]"),
        *(
            "SSIM [95 %]",
            "IIP [95 %]",
            f"ASR (SSIM ≥ {ASR_THRESHOLD:g}) [95 %]",
            *(f"null: {n}" for n in NULLS.values()),
        ),
        "test accuracy [95 %]",
    )
    # A column that no line fills would only make the others narrow.
    body = [_cells(line) for line in content]
    kept = [k for k in range(len(header)) if any(row[k] != "-" for row in body)]
    text = [_row([header[k] for k in kept]), _row(["---"] * len(kept))]
    text += [_row([row[k] for k in kept]) for row in body]
    return "\n".join(text) + _NOTES


_NOTES = f"""

RDLV: (SSIM - SSIM of the prior) / SSIM of the prior; above 0 the reconstruction shows more of the
image than the prior does. {BANDS}
Nulls: SSIM of the same originals with images that the update cannot have leaked. "Stuck": the
attack knows by its own loss that it failed on that many reconstructions, which is no evidence of
protection. Whatever stands here holds against these attacks with this knowledge.
"""


def _line(rows: Sequence[Row], name: str, known: Utility | None) -> Line:
    found = estimates(rows, "rdlv", "ssim", "iip", "asr", *NULLS)
    return Line(
        site=rows[0].site,
        protection=name,
        knowledge=rows[0].knowledge,
        attack=rows[0].attack,
        images=len({r.truth_image or r.reconstruction for r in rows}),
        seeds=len({r.seed for r in rows}),
        rdlv=found["rdlv"],
        ssim=found["ssim"],
        iip=found["iip"],
        asr=found["asr"],
        nulls={null: e.mean if (e := found[null]) else None for null in NULLS},
        accuracy=known,
        stuck=sum(r.stuck for r in rows),
    )


def _mean_ssim(rows: Sequence[Row], attack: str) -> float:
    known = [r.ssim for r in rows if r.attack == attack and r.ssim is not None]
    return sum(known) / len(known) if known else -2.0


def _cells(line: Line) -> list[str]:
    stuck = f" ({line.stuck} stuck)" if line.stuck else ""
    return [
        *map(_escaped, (line.site, line.protection, line.knowledge, line.attack + stuck)),
        f"{line.images} x {line.seeds}",
        line.rdlv.text(2, signed=True) if line.rdlv else "-",
        line.ssim.text() if line.ssim else "-",
        line.iip.text(2) if line.iip else "-",
        _percent(line.asr) if line.asr else "-",
        *("-" if v is None else f"{v:.3f}" for v in line.nulls.values()),
        _accuracy(line.accuracy),
    ]


def _percent(share: Estimate) -> str:
    bounds = f" [{share.lower95:.0%}, {share.upper95:.0%}]" if share.bounded else ""
    return f"{share.mean:.0%}{bounds}"


def _accuracy(known: Utility | None) -> str:
    if known is None:
        return "-"
    return f"{known.accuracy:.3f} [{known.lower95:.3f}, {known.upper95:.3f}]"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """``text`` of a record in a markdown cell: no markup, no end of the cell, no second line."""
    line = "".join(c if c.isprintable() else " " for c in text)
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|$#!~])", r"\\\1", line)


def _csv(content: Sequence[Line]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    figures = ("rdlv", "ssim", "iip", "asr")
    sides = ("mean", "lower95", "upper95", "n")
    writer.writerow(
        ["site", "protection", "knowledge", "attack", "images", "seeds", "stuck"]
        + [f"{f}_{s}" for f in figures for s in sides]
        + [f"null_{n}" for n in NULLS]
        + ["accuracy", "accuracy_lower95", "accuracy_upper95"]
    )
    for line in content:
        row: list[object] = [line.site, line.protection, line.knowledge, line.attack]
        row += [line.images, line.seeds, line.stuck]
        for name in figures:
            found: Estimate | None = getattr(line, name)
            row += [_six(getattr(found, side)) if found else "" for side in sides]
        row += [_six(v) for v in line.nulls.values()]
        known = line.accuracy
        row += [_six(getattr(known, s, None)) for s in ("accuracy", "lower95", "upper95")]
        writer.writerow(row)
    return text.getvalue()


def _six(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.6g}"

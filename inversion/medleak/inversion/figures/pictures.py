"""Grids of pictures: reconstructions by round, by noise level, and an attack as it goes."""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medleak.inversion.audit.panels import PRIOR_PICTURE
from medleak.inversion.figures.audit_data import AuditData, case_text
from medleak.inversion.figures.style import (
    LABEL_CHARACTERS,
    WIDTH_IN,
    label,
    new_figure,
    picture_axes,
    show_picture,
)
from medleak.inversion.results.case import NO_DEFENCE
from medleak.inversion.results.rows import Row
from medleak.inversion.results.strength import (
    DEFAULT_PARAMETER,
    families,
    protection,
    short_names,
    strength_of,
)

_MOST_COLUMNS = 7
_MOST_ROWS = 9
_KNOWN = ("original", "prior")
_NARROWEST_IN = 4.0
_LINE_IN = 0.14
_Number = TypeVar("_Number", int, float)
_BUDGET = re.compile(r"[:,]seconds=[\d.]+$")
_ITERATION = re.compile(r"_it(\d+)\.png$")


@dataclass(frozen=True, slots=True)
class _Cell:
    picture: np.ndarray | None
    note: str = ""
    title: str = ""


def reconstructions_by_round(audit: AuditData) -> Figure:
    """An image of each site, the prior, and what each round gave away of it (TMI Fig. 4, 5).

    Of each site the image that came back best is shown, the same one in all rounds.

    Raises:
        MissingData: There is no measured reconstruction, or its picture is gone.
    """
    chosen = audit.one_attacker().unprotected()
    rounds = _thinned(chosen.rounds)
    lines = []
    for site in chosen.sites:
        rows = [r for r in chosen.measured if r.site == site]
        if not rows:
            continue
        best = max(rows, key=lambda r: r.ssim or 0.0)
        same = [r for r in rows if r.truth_image == best.truth_image]
        cells = [_best_of([r for r in same if r.round == n], audit) for n in rounds]
        lines.append((label(site, 16), [*_known(best, audit), *cells]))
    return _grid(
        lines,
        [*_KNOWN, *(f"round {n}" for n in rounds)],
        f"The image of each site that came back best{_of_seeds(chosen)}. Below each picture: its "
        f"SSIM with the original. {case_text(chosen.rows)}",
        audit,
    )


def noise_levels(
    audit: AuditData,
    *,
    parameter: str = DEFAULT_PARAMETER,
) -> Figure:
    """One image a site under each strength of a defence (MedPFL Fig. 10, 11; TMI Fig. 6c).

    Raises:
        MissingData: No defence with ``parameter`` was audited.
    """
    chosen = audit.one_attacker().compared()
    kinds = list(families((protection(r) for r in chosen.measured), parameter))
    if not kinds:
        raise audit.missing(
            f"a defence with {parameter}",
            "medleak audit RUN --defence none --defence percentile_gaussian:sigma0=10",
        )
    sigma = "σ₀" if parameter == DEFAULT_PARAMETER else parameter
    names = short_names(kinds)
    sites = _most_leaking(chosen, _MOST_ROWS // len(kinds))
    fewer = len(sites) < len(chosen.sites)
    which = f"the {len(sites)} sites that leak most" if fewer else "each site"
    lines = []
    for site in sites:
        for kind in kinds:
            rows = [r for r in chosen.measured if r.site == site and _is_of(r, kind, parameter)]
            if not rows:
                continue
            first = min(rows, key=lambda r: (_strength(r, parameter), -(r.ssim or 0.0)))
            same = [r for r in rows if r.truth_image == first.truth_image]
            cells = _titled_known(first, audit)
            for s in _thinned(sorted({_strength(r, parameter) for r in rows})):
                cell = _best_of([r for r in same if _strength(r, parameter) == s], audit)
                cells.append(replace(cell, title=f"{sigma} = {s:g}" if s else "no defence"))
            name = f"{label(site, 14)}\n{_wrapped(names[kind], 20)}"
            lines.append((label(site, 14) if len(kinds) == 1 else name, cells))
    return _grid(
        lines,
        [""] * max((len(cells) for _, cells in lines), default=0),
        f"The image of {which} that came back best without noise, under {' and '.join(kinds)}"
        f"{_of_seeds(chosen, rounds=True)}; {sigma} above each column, SSIM with the original "
        f"below each picture. {case_text(chosen.rows)}",
        audit,
    )


def attacks_compared(audit: AuditData) -> Figure:
    """One image of each site as different attacks, or attackers, found it (TMI Fig. 3).

    Raises:
        MissingData: There was one attacker alone.
    """
    chosen = audit.unprotected()
    attackers = list(dict.fromkeys((r.attack, r.knowledge) for r in chosen.measured))
    if len(attackers) < 2:
        raise audit.missing(
            "a second attack or kind of knowledge",
            "medleak audit RUN --attack row_space --attack epochwise_bn",
        )
    same_attack = len({a for a, _ in attackers}) == 1
    names = [_wrapped(k if same_attack else a) for a, k in attackers]
    lines = []
    for site in chosen.sites:
        rows = [r for r in chosen.measured if r.site == site]
        if not rows:
            continue
        first = max(rows, key=lambda r: r.ssim or 0.0)
        same = [r for r in rows if (r.truth_image, r.round) == (first.truth_image, first.round)]
        cells = _titled_known(first, audit)
        for attacker, name in zip(attackers, names, strict=True):
            own = [r for r in same if (r.attack, r.knowledge) == attacker]
            cells.append(replace(_best_of(own, audit), title=name))
        # A line that is too long for the page goes on below.
        for at in range(0, len(cells), _MOST_COLUMNS):
            lines.append((label(site, 16) if at == 0 else "", cells[at : at + _MOST_COLUMNS]))
    return _grid(
        lines,
        [""] * min(_MOST_COLUMNS, len(attackers) + 2),
        f"The same image and update throughout{_of_seeds(chosen)}. SSIM with the original below "
        f"each picture. {case_text(chosen.rows)}",
        audit,
    )


def iteration_strips(audit: AuditData) -> Figure:
    """What an attack's image looked like on the way to its end (MedPFL Fig. 5-7).

    Raises:
        MissingData: The audit kept no iterations.
    """
    chosen = audit.unprotected()
    strips: dict[tuple[str, str], Row] = {}
    for row in sorted(chosen.measured, key=lambda r: -(r.ssim or 0.0)):
        if _iterations(row, audit):
            strips.setdefault((row.site, row.attack), row)
    if not strips:
        raise audit.missing(
            "pictures of iterations (images/*_it*.png)", "medleak audit RUN --keep-iterations 50"
        )
    shown = [strips[key] for key in sorted(strips)][:_MOST_ROWS]
    lines = []
    for row in shown:
        files = _iterations(row, audit)
        cells = [_Cell(audit.picture(files[n]), f"iteration {n}") for n in _thinned(sorted(files))]
        end = _Cell(audit.picture(row.picture), _similarity(row))
        name = f"{label(row.site, 14)}\n{_wrapped(row.attack)}"
        lines.append((name, [*_known(row, audit)[:1], *cells, end]))
    columns = max(len(cells) for _, cells in lines)
    return _grid(
        lines,
        ["original", *[""] * (columns - 1)],
        "Best image of each site and attack as the attack went on; last its result, with the SSIM. "
        f"{case_text(shown)}",
        audit,
    )


def _grid(
    lines: Sequence[tuple[str, Sequence[_Cell]]],
    titles: Sequence[str],
    caption: str,
    audit: AuditData,
) -> Figure:
    if not lines:
        raise audit.missing("measured reconstructions", "medleak audit RUN --truth LISTS")
    left_out = len(lines) - _MOST_ROWS
    if left_out > 0:
        lines = lines[:_MOST_ROWS]
        caption += f" The first {_MOST_ROWS} lines; {left_out} more are in the audit."
    columns = len(titles)
    names = max(len(part) for name, _ in lines for part in name.split("\n"))
    margin = 0.1 + 0.062 * min(names, LABEL_CHARACTERS)
    side = min((WIDTH_IN - margin) / columns, 1.1)
    above = max(t.count("\n") for t in (*titles, *(c.title for _, line in lines for c in line)))
    own_titles = any(c.title for _, line in lines for c in line)
    below = any("\n" in c.note for _, line in lines for c in line)
    height = (side + 0.12 + _LINE_IN * below) * len(lines) + 0.25
    height += _LINE_IN * (above + 1) * (len(lines) if own_titles else above > 0)
    figure = new_figure(height, caption, max(margin + side * columns, _NARROWEST_IN))
    grid = figure.subplots(len(lines), columns, squeeze=False)
    for k, (name, cells) in enumerate(lines):
        for axes, cell, title in zip(grid[k], cells, titles, strict=False):
            _draw(axes, cell, cell.title or (title if k == 0 else ""))
        for axes in grid[k][len(cells) :]:
            axes.set_visible(False)
        grid[k][0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=4)
    return figure


def _draw(axes: Axes, cell: _Cell, title: str) -> None:
    picture_axes(axes, title, cell.note)
    if cell.picture is not None:
        show_picture(axes, cell.picture)
    else:
        axes.set_aspect("equal")
        axes.text(0.5, 0.5, "-", ha="center", va="center", transform=axes.transAxes)


def _wrapped(text: str, width: int = 15) -> str:
    """An attack's text, without its budget, in at most three lines that fit above a picture."""
    shown = label(_BUDGET.sub("", text), 3 * width)
    parts = textwrap.wrap(re.sub(r"([:,_+])", r"\1 ", shown), width)[:3]
    return "\n".join(re.sub(r"([:,_+]) ", r"\1", part) for part in parts)


def _known(row: Row, audit: AuditData) -> list[_Cell]:
    """The original and the prior of a row."""
    truth = _Cell(audit.picture(row.truth_picture) if row.truth_picture else None)
    prior = "" if row.ssim_prior is None else f"SSIM {row.ssim_prior:.2f}"
    return [truth, _Cell(audit.picture(PRIOR_PICTURE), prior)]


def _titled_known(row: Row, audit: AuditData) -> list[_Cell]:
    """For lines whose columns differ from those above."""
    return [replace(c, title=t) for c, t in zip(_known(row, audit), _KNOWN, strict=True)]


def _best_of(rows: Sequence[Row], audit: AuditData) -> _Cell:
    if not rows:
        return _Cell(None, "not attacked")
    best = max(rows, key=lambda r: r.ssim or 0.0)
    return _Cell(audit.picture(best.picture), _similarity(best))


def _of_seeds(audit: AuditData, *, rounds: bool = False) -> str:
    """What each picture was chosen from, where there was a choice."""
    several = [
        name
        for name, n in (("seeds", len({r.seed for r in audit.rows})), ("rounds", len(audit.rounds)))
        if n > 1 and (rounds or name == "seeds")
    ]
    return f" (the best of its {' and '.join(several)})" if several else ""


def _similarity(row: Row) -> str:
    stuck = "\nstuck" if row.stuck else ""
    return "" if row.ssim is None else f"SSIM {round(row.ssim, 2) + 0.0:.2f}{stuck}"


def _strength(row: Row, parameter: str) -> float:
    at = strength_of(protection(row), parameter).at
    return float("inf") if at is None else at


def _most_leaking(audit: AuditData, most: int) -> list[str]:
    """Sites in their order; of too many those whose images came back best."""
    best = {
        s: max((r.ssim or 0.0 for r in audit.measured if r.site == s), default=0.0)
        for s in audit.sites
    }
    kept = sorted(audit.sites, key=lambda s: -best[s])[: max(1, most)]
    return [s for s in audit.sites if s in kept]


def _is_of(row: Row, kind: str, parameter: str) -> bool:
    found = strength_of(protection(row), parameter)
    return found.at is not None and found.family in (kind, NO_DEFENCE)


def _iterations(row: Row, audit: AuditData) -> dict[int, str]:
    """Pictures kept on the way to ``row``, by iteration."""
    stem = row.picture.removesuffix(".png")
    folder, _, prefix = stem.rpartition("/")
    return {
        int(found[1]): f"{folder}/{path.name}"
        for path in sorted((audit.path / folder).glob("*_it*.png"))
        if path.name.startswith(f"{prefix}_it") and (found := _ITERATION.search(path.name))
    }


def _thinned(values: Sequence[_Number], most: int = _MOST_COLUMNS - 2) -> list[_Number]:
    """At most ``most`` of ``values``, evenly spread, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    at = np.linspace(0, len(values) - 1, most).round().astype(int)
    return [values[k] for k in at]

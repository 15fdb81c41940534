"""SSIM against how a site trained: images a step, and local steps (TMI Fig. 6a, b)."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medleak.inversion.figures.audit_data import AuditData, Schedule, case_text
from medleak.inversion.figures.estimates import BANDS, Estimate, estimate
from medleak.inversion.figures.style import GRAY, band, label, line_style, new_figure
from medleak.inversion.results.rows import Row


def ssim_by_schedule(audit: AuditData, *, image: str | None = None) -> Figure:
    """SSIM against batch size in one local step, and against local steps of one batch size.

    Args:
        audit: Opened with its run, which knows how each site trained.
        image: Only this one, as results.csv names it (``training[0]``): TMI measures the same
            image while others join it.

    Raises:
        MissingData: The run was not named, or all sites trained alike.
    """
    if not audit.schedules:
        raise audit.missing(
            "the schedule of each update, which is in the run's records",
            f"medleak figures {audit.path} --run RUN",
        )
    known = audit.one_attacker().rows[0].knowledge
    chosen = audit.where(lambda r: r.knowledge == known and image in (None, r.truth_image))
    chosen = chosen.unprotected()
    by_batch = {a: _points(chosen, a, steps=True) for a in _attacks(chosen)}
    by_steps = {a: _points(chosen, a, steps=False) for a in _attacks(chosen)}
    if max(len(p) for p in (*by_batch.values(), *by_steps.values())) < 2:
        raise audit.missing(
            "sites that differ in batch size or local steps alone", "medleak reproduce tmi2023"
        )
    of = f"Image {image} alone. " if image else ""
    figure = new_figure(
        2.5,
        f"SSIM of reconstruction and original. {of}Gray: SSIM of the prior. {BANDS} "
        f"{case_text(chosen.rows)}",
    )
    left, right = figure.subplots(1, 2, sharey=True)
    _panel(left, by_batch, "(a) images in the one local step", chosen, steps=True)
    _panel(right, by_steps, "(b) local steps of one image", chosen, steps=False)
    left.set_ylabel("SSIM")
    handles = [Line2D([], [], **line_style(k)) for k in range(len(by_batch))]
    handles.append(Line2D([], [], color=GRAY, linewidth=1, linestyle=":"))
    names = [*(label(a, 60) for a in by_batch), "prior"]
    figure.legend(handles, names, loc="outside upper left", ncols=min(3, len(names)))
    return figure


def _attacks(audit: AuditData) -> list[str]:
    return list(dict.fromkeys(r.attack for r in audit.measured))


def _points(audit: AuditData, attack: str, *, steps: bool) -> list[tuple[int, Estimate]]:
    rows = [r for r in audit.measured if r.attack == attack]
    return [
        (x, e) for x, own in _by_size(audit, rows, one_step=steps) if (e := estimate(own, "ssim"))
    ]


def _by_size(
    audit: AuditData, rows: Sequence[Row], *, one_step: bool
) -> list[tuple[int, list[Row]]]:
    """Rows by batch size where there was one step, else by steps where batches held one image."""
    found: dict[int, list[Row]] = {}
    for row in rows:
        how = (audit.schedules or {}).get((row.round, row.site))
        x = None if how is None else _size(how, one_step)
        if x is not None:
            found.setdefault(x, []).append(row)
    return sorted(found.items())


def _size(how: Schedule, one_step: bool) -> int | None:
    if one_step:
        return how.batch_size if how.n_steps == 1 else None
    return how.n_steps if how.batch_size == 1 else None


def _panel(
    axes: Axes,
    curves: dict[str, list[tuple[int, Estimate]]],
    title: str,
    audit: AuditData,
    *,
    steps: bool,
) -> None:
    axes.set_title(title)
    ticks = sorted({x for points in curves.values() for x, _ in points})
    for k, (attack, points) in enumerate(curves.items()):
        style = line_style(k)
        x = [p for p, _ in points]
        axes.plot(x, [e.mean for _, e in points], label=label(attack, 60), **style)
        low, high = ([getattr(e, s) for _, e in points] for s in ("lower95", "upper95"))
        band(axes, x, low, high, style["color"])
    prior = [
        (x, e.mean)
        for x, own in _by_size(audit, audit.measured, one_step=steps)
        if (e := estimate(own, "ssim_prior"))
    ]
    if prior:
        axes.plot(*zip(*prior, strict=True), color=GRAY, linewidth=1, linestyle=":", label="prior")
    if len(ticks) > 1:
        axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    axes.set_ylim(0, 1.02)

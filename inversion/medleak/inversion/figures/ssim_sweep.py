"""SSIM of reconstructions against the strength of a defence, beside the prior's (TMI Fig. 6c)."""

from matplotlib.figure import Figure

from medleak.inversion.figures.audit_data import AuditData, case_text
from medleak.inversion.figures.estimates import BANDS
from medleak.inversion.figures.protection import DEFAULT_PARAMETER
from medleak.inversion.figures.strength_curves import (
    curve,
    finish,
    kinds_of,
    panels_of,
    points_of,
    xy,
)
from medleak.inversion.figures.style import GRAY


def ssim_by_strength(
    audit: AuditData,
    *,
    parameter: str = DEFAULT_PARAMETER,
) -> Figure:
    """SSIM of every site against ``parameter``; dotted: SSIM of the prior, which nothing leaked.

    Raises:
        MissingData: Fewer than two strengths of any defence were audited.
    """
    chosen = audit.one_attacker().compared()
    kinds = kinds_of(chosen, parameter)
    caption = f"SSIM of reconstruction and original. {BANDS} {case_text(chosen.rows)}"
    figure, panels = panels_of(chosen.sites, caption)
    for site, axes in panels.items():
        rows = [r for r in chosen.rows if r.site == site]
        for k, kind in enumerate(kinds):
            curve(axes, points_of(rows, kind, parameter, "ssim"), k, kind)
            prior = points_of(rows, kind, parameter, "ssim_prior")
            axes.plot(*xy(prior), color=GRAY, linestyle=":", linewidth=1, label="_prior")
        axes.set_ylim(0, 1.02)
    finish(figure, panels, kinds, parameter, "SSIM", dotted="prior")
    return figure

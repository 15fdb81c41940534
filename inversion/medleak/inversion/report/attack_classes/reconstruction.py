"""Do images come back from an update, or from what an aggregation leaves of it?"""

from collections.abc import Iterator, Sequence
from typing import Any

from medleak.inversion.report.attack_classes.answer import Answer, AttackClass, Recipient
from medleak.inversion.report.attack_classes.cases import unexamined
from medleak.inversion.report.attack_classes.sums import summed_over, who_sees
from medleak.inversion.report.model import Audit, Figure, Group
from medleak.inversion.report.verdicts import Light, image_verdicts, light_of
from medleak.inversion.results.case import NO_DEFENCE
from medleak.inversion.results.group import figures_of


def answers(audit: Audit) -> list[Answer]:
    """Of the server from the updates as they were sent; of sums, where one was replayed."""
    return [*_as_sent(audit), *_of_sums(audit)]


def _as_sent(audit: Audit) -> Iterator[Answer]:
    if all(g.defence != NO_DEFENCE for g in audit.overall) and not audit.refused:
        return
    verdicts = [v for v in image_verdicts(audit) if v.replayed is None]
    if not verdicts:
        return
    first = verdicts[0]
    light, why = first.light, first.why
    count = sum(v.light is light for v in verdicts)
    if light is Light.NONE_FOUND and len(verdicts) < len(audit.sites):
        others = len(audit.sites) - len(verdicts)
        light, why = Light.NOT_KNOWN, f"{why}; of {others} nothing was attacked as it was sent"
    groups = [g for g in audit.overall if g.defence == NO_DEFENCE]
    yield Answer(
        recipient=Recipient.SERVER,
        light=light,
        words=f"{count} of {len(audit.sites)} sites: {why}",
        **_figures(audit, groups),
    )


def _of_sums(audit: Audit) -> Iterator[Answer]:
    for defence, sites in summed_over(g.defence for g in audit.overall).items():
        groups = [g for g in audit.overall if g.defence == defence]
        judged = [(*light_of(g, audit.health), g) for g in groups]
        light, why, worst = min(judged, key=lambda j: j[0].severity)
        if light is Light.NONE_FOUND and (
            open := unexamined(audit, defence, {g.site for g in groups})
        ):
            light, why = Light.NOT_KNOWN, open
        for recipient in who_sees(audit, sites):
            yield Answer(
                recipient=recipient,
                light=light,
                words=f"sum over {sites} sites ({defence}), worst with {worst.site}: {why}",
                **_figures(audit, groups),
            )


def _figures(audit: Audit, groups: Sequence[Group]) -> dict[str, Any]:
    """Largest and mean SSIM of the attack that rebuilt most, over all sites."""
    known = [g for g in groups if g.figure("ssim").defined]
    if not known:
        return {}
    top = max(known, key=lambda g: _most(g.figure("ssim")))
    worst = Figure(mean=_most(top.figure("ssim")), n=1)
    alike = [g for g in known if (g.attack, g.knowledge) == (top.attack, top.knowledge)]
    return {
        "measure": "SSIM",
        "worst": worst,
        "where": top.site,
        "mean": _mean(audit, alike),
        "chance": top.figure("ssim_prior").mean,
    }


def _mean(audit: Audit, groups: Sequence[Group]) -> Figure:
    """Over the images of all sites; without rows the groups' own means, and then no interval."""
    keys = {(g.site, g.attack, g.defence, g.knowledge) for g in groups}
    rows = [r for r in audit.rows if (r.site, r.attack, r.defence, r.knowledge) in keys]
    figures = figures_of(rows)["ssim"] if rows else None
    if figures is not None:
        return Figure(**{k: figures[k] for k in ("mean", "lower95", "upper95", "min", "max", "n")})
    if len(groups) == 1:
        return groups[0].figure("ssim")
    images = sum(g.n for g in groups) or 1
    total = sum(g.n * (g.figure("ssim").mean or 0.0) for g in groups)
    return Figure(mean=total / images, n=images)


def _most(figure: Figure) -> float:
    found = figure.max if figure.max is not None else figure.mean
    return -1.0 if found is None else found


CLASS = AttackClass(
    name="reconstruction",
    title="Reconstruction of images",
    asks="Do training images come back from what a site sent?",
    source="Zhu et al. 2019, arXiv:1906.08935; Hatamizadeh et al. 2023, arXiv:2202.06924",
    recipients=(Recipient.SERVER, Recipient.SUM, Recipient.SITES),
    elsewhere="see inversion of the final model",
    answers=answers,
    missing="nothing was attacked as this recipient sees it; medleak audit --defence "
    "secure_aggregation:sites=K replays the sum over K sites",
)
"""Its row."""

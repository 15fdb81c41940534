"""What the figures of a group mean, by a stated rule; never "safe"."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import binom

from medleak.inversion.measures.seen import FAR
from medleak.inversion.measures.similarity import ASR_THRESHOLD
from medleak.inversion.results.found import found_by_losses, parse
from medleak.inversion.results.group import figures_of
from medleak.inversion.results.rows import Row
from medleak.inversion.results.verdict import Kind, Verdict, extent_of

MARGIN = 0.03
"""Near-identical attacks scatter by about 0.02 SSIM (measured on chest X-rays at 64 px): a lead
below this over an image that cannot have leaked means nothing."""

P_CHANCE = 0.01

RULE = (
    "leaks: a reconstruction has SSIM >= 0.9, and more than the prior; or leads by 0.15 SSIM over "
    "the prior and every null (class mean, nearest non-member, another client's update); or more "
    "images lead by 0.03 in at least half of their runs than unrelated ones would by chance (p <= "
    "0.01; an unrelated image beats all G non-members with probability 1 / (G + 1), the best of N "
    "with N / (G + N), and twice that where transformations of the truth were looked for; without "
    "a gallery one lead over the prior and over a copy of the truth of 8 x 8 cells suffices); or "
    "RDLV and the lead over every null are above 0 by their lower 95 % bounds over patients; or "
    "IIP has p <= 0.01. A truth that the network saw transformed is compared as it was seen, and "
    "so is every null. found, not identified: no leak, but every loss of the attack ended nearer "
    "(in logarithms) to where it ended on the easy case than to that of the prior on this update. "
    "no leak found: none of these, RDLV at most 0 by its upper 95 % bound (by its value where "
    "there is one image in one run), and the attack, knowing the same, recovered an easy case and "
    "was stuck neither here nor, where it was tried, on the same update without a defence; and no "
    "update of the group contradicts what was declared or given of it. "
    "inconclusive: all else."
)


def judge(
    rows: Sequence[Row],
    figures: Mapping[str, Any],
    health: Mapping[str, Any] | None = None,
    *,
    lost_undefended: bool = False,
    contradicted: Sequence[str] = (),
) -> Verdict:
    """What the rows of a group mean, by `RULE`.

    Args:
        rows: At least one, of one attack and knowledge.
        figures: Theirs, see `medleak.inversion.results.group.figures_of`.
        health: Whether the attack, knowing the same, recovered an easy case (``reached``, and
            ``ssim``); None: not tried.
        lost_undefended: The attack was stuck on one of these updates without a defence too.
        contradicted: What in these updates contradicts what was declared or given of them: an
            attack that was told something false proves nothing by its failure.
    """
    kind, reasons = _judged(
        rows, figures, health, lost_undefended=lost_undefended, contradicted=contradicted
    )
    return Verdict(
        kind=kind,
        reasons=tuple(reasons),
        attack=rows[0].attack,
        knowledge=rows[0].knowledge,
        extent=extent_of(figures),
    )


def _judged(
    rows: Sequence[Row],
    figures: Mapping[str, Any],
    health: Mapping[str, Any] | None,
    *,
    lost_undefended: bool,
    contradicted: Sequence[str],
) -> tuple[Kind, list[str]]:
    if figures["ssim"] is None or figures["ssim_prior"] is None:
        found = _found(rows, health)[:1]
        return "not_measured", ["no truth to compare with", *found, "look at the pictures"]
    if leaks := _leaks(rows, figures, health):
        return "leaks", [*leaks, *_as_seen(rows), f"best SSIM {figures['ssim']['max']:.2f}"]
    if found := _found(rows, health):
        return "found_not_identified", found
    doubts = _doubts(rows, figures, health, lost_undefended=lost_undefended)
    if contradicted:
        more = f", and {len(contradicted) - 1} more" if len(contradicted) > 1 else ""
        doubts.append(f"the update contradicts what was said of it: {contradicted[0]}{more}")
    if doubts or health is None:
        return "inconclusive", doubts
    healthy = f"attack healthy: easy case SSIM {health['ssim']:.2f}"
    return "no_leak_found", [f"RDLV {_bound(figures['rdlv'])}", healthy]


def _found(rows: Sequence[Row], health: Mapping[str, Any] | None) -> list[str]:
    """What the attack's own losses say of the cases in which it found something."""
    cases = {row.case: row for row in rows}
    found = [row for row in cases.values() if found_by_losses(row, health)]
    if not found or health is None:
        return []
    first, easy = found[0], health["losses"]
    start = parse(first.start_losses)
    levels = ", ".join(
        f"{name} {value:.2g}, easy case {easy[name]:.2g}, prior {start[name]:.2g}"
        for name, value in parse(first.losses).items()
        if name in easy and name in start
    )
    many = "" if len(cases) == 1 else f" in {len(found)} of {len(cases)} runs"
    return [
        f"by its own losses the attack found images{many} ({levels})",
        "they match no listed image, as it is or under a usual augmentation",
        "is the list that of this site, and of this round?",
    ]


def _as_seen(rows: Sequence[Row]) -> list[str]:
    """How the network saw the images that came back, where it did not see them as listed."""
    how = Counter(row.transformation for row in rows if row.transformation is not None)
    if not how:
        return []
    (most, _), *others = how.most_common()
    more = f", and {len(others)} other ways" if others else ""
    return [f"{how.total()} of {len(rows)} as the network saw them: {most}{more}"]


def _doubtful(row: Row, health: Mapping[str, Any] | None) -> bool:
    """Whether the attack itself says that it did not get there, so that the prior is no rival."""
    return row.stuck or found_by_losses(row, health) is False


def _leaks(
    rows: Sequence[Row], figures: Mapping[str, Any], health: Mapping[str, Any] | None
) -> list[str]:
    n, asr, iip = figures["ssim"]["n"], figures["asr"], figures["iip"]
    found = []
    if ahead := _ahead_of_chance(rows):
        found.append(
            f"{ahead} of {n} reconstructions are closer to the image than the prior"
            + ("" if not _other_nulls(figures) else " and every null")
        )
    if won := sum((r.ssim or 0) >= asr["threshold"] and _beats_prior(r) for r in rows):
        found.append(f"{won} of {n} reconstructions have SSIM >= {asr['threshold']}")
    # One image that resembles a blurred guess does so in all its runs: patients have to agree.
    if not _other_nulls(figures):
        # A poor prior is beaten by any image of the kind, and by a failed attack's haze.
        sound = not any(_doubtful(row, health) or row.ssim_coarse is not None for row in rows)
    else:
        sound = figures["over"] == "patients"
    if not found and sound and _above_zero(figures["rdlv"]) and _ahead_of_nulls(figures):
        found.append(f"RDLV {figures['rdlv']['mean']:+.2f}, above 0 by its lower 95 % bound")
    if iip and iip["matches"] and iip["p"] <= P_CHANCE:
        found.append(f"IIP {iip['mean']:.2f} of a gallery of {iip['gallery']}, p = {iip['p']:.2g}")
    return found


def _doubts(
    rows: Sequence[Row],
    figures: Mapping[str, Any],
    health: Mapping[str, Any] | None,
    *,
    lost_undefended: bool,
) -> list[str]:
    rdlv, doubts = figures["rdlv"], []
    if lucky := sum((_lead(row) or 0) > MARGIN for row in rows):
        doubts.append(
            f"{lucky} of {figures['ssim']['n']} reconstructions are closer to the image than all "
            "that cannot have leaked, which may be chance: give more clients' lists, or images"
        )
    elif rdlv is None:
        doubts.append("RDLV is undefined, the prior resembles no image")
    elif _above_zero(rdlv):
        doubts.append(
            f"closer than the prior (RDLV {rdlv['mean']:+.2f}), but not than images that the "
            "update cannot have leaked: measure against a better prior"
        )
    elif (rdlv["mean"] if rdlv["upper95"] is None else rdlv["upper95"]) > 0:
        doubts.append(f"RDLV {_bound(rdlv)}, which does not exclude a leak")
    if figures["stuck"]:
        doubts.append("the attack was stuck by its own loss")
    elif lost_undefended:
        doubts.append("without a defence the attack was stuck on this update as well")
    if health is None:
        doubts.append(
            "the attack's health was not checked on an easy case, so this is no evidence of "
            "protection"
        )
    elif health.get("contradiction"):
        doubts.append(
            f"the easy case shares an error of the declaration: {health['contradiction']}"
        )
    elif not health["reached"]:
        doubts.append(
            f"the attack did not recover an easy case (SSIM {health['ssim']:.2f}), so its failure "
            "is no evidence of protection"
        )
    return doubts


def settled_at(rows: Sequence[Row], level: float) -> bool:
    """Whether rows of one group show a leak, for good or with an error of ``level`` at most.

    An image that came back almost whole, or far ahead of every null, stays so whatever follows; the
    tests of `RULE` count where their p is at most half of ``level``, as there are two.
    """
    if any((r.ssim or 0) >= ASR_THRESHOLD and _beats_prior(r) for r in rows):
        return True
    if _ahead_of_chance(rows, level / 2):
        return True
    iip = figures_of(rows)["iip"]
    return bool(iip and iip["matches"] and iip["p"] <= level / 2)


def _ahead_of_chance(rows: Sequence[Row], level: float = P_CHANCE) -> int:
    """Rows that lead over all they are compared with; 0 if chance may have put them there."""
    leads = {k: lead for k, row in enumerate(rows) if (lead := _lead(row)) is not None}
    ahead = sum(lead > MARGIN for lead in leads.values())
    compared = {k: row for k in leads if (row := rows[k]).ssim_nonmember is not None}
    if any(leads[k] > (FAR if k in compared else MARGIN) for k in leads):
        return ahead
    rivals = Counter(row.case for row in rows)
    images: dict[tuple[str, str | None], list[int]] = {}
    for k, row in compared.items():
        images.setdefault((row.site, row.truth_image), []).append(k)
    leading = sum(2 * sum(leads[k] > MARGIN for k in of) >= len(of) for of in images.values())
    # Runs of an image may all end alike. Whatever their dependence, at least half of them lead by
    # chance with at most twice the probability of one (Markov).
    chance = max(
        (
            min(1.0, (1 + (len(of) > 1)) * max(_chance(rows[k], rivals[rows[k].case]) for k in of))
            for of in images.values()
        ),
        default=1.0,
    )
    return ahead if leading and binom.sf(leading - 1, len(images), chance) <= level else 0


def _lead(row: Row) -> float | None:
    """SSIM of a reconstruction less the best of what it is compared with."""
    nulls = (
        row.ssim_prior,
        row.ssim_class_mean,
        row.ssim_nonmember,
        row.ssim_other,
        row.ssim_coarse,
    )
    known = [value for value in nulls if value is not None]
    return row.ssim - max(known) if row.ssim is not None and known else None


def _beats_prior(row: Row) -> bool:
    """Where a dark border alone makes 0.9, the prior has it as well."""
    return row.ssim is not None and row.ssim > (row.ssim_prior or -1)


def _chance(row: Row, rivals: int) -> float:
    """That the best of ``rivals`` unrelated images is nearer to the truth than any non-member.

    The assignment sees the truth: each image gets one of the most similar reconstructions of its
    case. Counted as if it were any one, 40 unrelated X-rays "leaked" in 26 of 100 audits, not 1.
    """
    if row.gallery is None or row.site_images is None:
        return 1.0
    ways = 1 if row.ssim_listed is None else 2  # as it is listed, or as it may have been seen
    return min(1.0, ways * rivals / (max(0, row.gallery - row.site_images) + rivals))


def _above_zero(figure: Mapping[str, Any] | None) -> bool:
    return figure is not None and figure["lower95"] is not None and figure["lower95"] > 0


def _other_nulls(figures: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [null for name, null in figures["nulls"].items() if null and name != "prior"]


def _ahead_of_nulls(figures: Mapping[str, Any]) -> bool:
    return all(_above_zero(null["excess"]) for null in _other_nulls(figures))


def _bound(figure: Mapping[str, Any]) -> str:
    if figure["upper95"] is None:
        return f"{figure['mean']:+.2f}, one image: no interval"
    return f"upper 95 % {figure['upper95']:+.2f}"

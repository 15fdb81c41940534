"""summary.json: figures of every group, with a verdict, the attacks' health, and refusals."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from medleak.inversion.results.case import NO_DEFENCE, Case
from medleak.inversion.results.files import contradictions_of
from medleak.inversion.results.group import figures_of
from medleak.inversion.results.replays import is_null
from medleak.inversion.results.rows import Row
from medleak.inversion.results.rule import RULE, judge
from medleak.inversion.results.verdict import as_json

FORMAT_VERSION = 3  # 2 had no transformations; 1 no patient, no nulls but the prior, no neighbours


def summarise(
    rows: Sequence[Row],
    refused: Sequence[Mapping[str, Any]],
    health: Mapping[str, Mapping[str, Any]] | None = None,
    contradicted: Mapping[str, Sequence[str]] | None = None,
    left: Iterable[Case] = (),
) -> dict[str, Any]:
    """What summary.json holds: figures with intervals and a verdict, health, refusals.

    Args:
        rows: Of one audit; nulls of a calibration are left out, as they are attacks on nothing.
        refused: See `medleak.inversion.results.files.read_refused`.
        health: ``attack|knowledge`` to what the attack reached on an easy case: ``ssim``,
            ``reached``.
        contradicted: ``round/site`` to what in that update contradicts what was said of it.
        left: Cases that the audit set out to do and has not done.

    Returns:
        ``sites``: a group for each site, attack, defence, declared and knowledge over all rounds
        and seeds (``round`` is "all"); ``rounds``: the same for each round; ``cases``: for each
        round and seed. See `medleak.inversion.results.group.figures_of`.
    """
    health, said = health or {}, contradicted or {}
    rows = [row for row in rows if not is_null(row.defence)]
    refused = [r for r in refused if not is_null(str(r.get("case", {}).get("defence", "")))]
    group = ("site", "attack", "defence", "declared", "knowledge")
    firsts = list({row.case: row for row in reversed(rows)}.values())
    return {
        "format_version": FORMAT_VERSION,
        "sites": [{"round": "all", **g} for g in _grouped(rows, group, health, said)],
        "rounds": _grouped(rows, ("round", *group), health, said),
        "cases": _grouped(rows, tuple(f.name for f in dataclasses.fields(Case)), health, said),
        "health": {
            "cases": len(firsts),
            "stuck": sum(r.stuck for r in firsts),
            "attempts": sum(r.attempts for r in firsts),
            "easy_case": _easy_case(health),
            **{key: dict(value) for key, value in health.items()},
        },
        "refused": list(refused),
        "left": [dataclasses.asdict(case) for case in left],
        "definitions": DEFINITIONS,
    }


DEFINITIONS = {
    "ssim": "scikit-image default window (7x7 uniform), data_range=1, clipped, no rescaling",
    "ssim_tmi": "7x7 uniform, 0..255, data_range=256, reconstruction min-max rescaled per image",
    "psnr": "dB at peak 1, capped at 100",
    "rdlv": "(ssim - ssim_prior) / ssim_prior; undefined where ssim_prior < 0.05",
    "assignment": "Hungarian, best total SSIM over the client's training images",
    "transformation": "what the network saw of the truth: the usual augmentation (flips, quarter "
    "turns, rotation, crop or zoom, shift, stretch, intensities) under which the reconstruction is "
    "most like it, where that adds 0.03 SSIM and then leads by 0.03 (0.15 where the attack was "
    "stuck) over all nulls, each of which went through the same search; all figures and nulls of "
    "the row are then of the truth as it was seen",
    "ssim_listed": "SSIM with the truth as it is listed, where a transformation was looked for",
    "ssim_coarse": "SSIM of the truth and a copy of it of 8 x 8 cells (of a transformed truth, 12 "
    "x 12), where there is no list of another client",
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
    rows: Sequence[Row],
    names: Sequence[str],
    health: Mapping[str, Mapping[str, Any]],
    contradicted: Mapping[str, Sequence[str]],
) -> list[dict[str, Any]]:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(getattr(row, name) for name in names), []).append(row)
    lost = {_update(r) for r in rows if r.stuck and r.defence == r.declared == NO_DEFENCE}
    return [
        dict(zip(names, key, strict=True))
        | _judged(
            members,
            health,
            lost_undefended=any(_update(r) in lost for r in members),
            contradicted=contradictions_of(dict.fromkeys(r.case for r in members), contradicted),
        )
        for key, members in groups.items()
    ]


def _judged(
    rows: Sequence[Row],
    health: Mapping[str, Mapping[str, Any]],
    *,
    lost_undefended: bool,
    contradicted: Sequence[str],
) -> dict[str, Any]:
    """The figures of one group, and what they mean."""
    figures = figures_of(rows)
    easy = health.get(f"{rows[0].attack}|{rows[0].knowledge}")
    return figures | as_json(
        judge(rows, figures, easy, lost_undefended=lost_undefended, contradicted=contradicted)
    )


def _update(row: Row) -> tuple[Any, ...]:
    """What was attacked, and how, whatever the defence and the seed."""
    return row.round, row.site, row.attack, row.knowledge


def _easy_case(health: Mapping[str, Mapping[str, Any]]) -> str:
    if not health:
        return "not run"
    reached = sum(bool(h["reached"]) for h in health.values())
    return f"recovered by {reached} of {len(health)} attacks"

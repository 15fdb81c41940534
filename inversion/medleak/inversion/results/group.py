"""From rows to the figures of a group: means, 95 % intervals, nulls, IIP, attack success.

A group is any set of rows that belong together, such as all rounds of a site under one attack.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medleak.custom.intervals import mean_interval, wilson
from medleak.inversion.measures.iip import chance_test
from medleak.inversion.measures.similarity import ASR_THRESHOLD, PSNR_CAP_DB, attack_success
from medleak.inversion.results.rows import Row

FIGURES = (
    "ssim",
    "ssim_tmi",
    "psnr",
    "mse",
    "lpips",
    "ssim_prior",
    "psnr_prior",
    "rdlv",
    "cosine",
)
NULLS = {
    "prior": "ssim_prior",
    "class_mean": "ssim_class_mean",
    "nonmember": "ssim_nonmember",
    "other": "ssim_other",
    "coarse": "ssim_coarse",
}
SWEEP = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))
"""Thresholds of the attack success rate."""

_RANGES = {name: (-1.0, 1.0) for name in ("ssim", "ssim_tmi", "cosine", *NULLS.values())} | {
    "psnr": (-np.inf, PSNR_CAP_DB),
    "psnr_prior": (-np.inf, PSNR_CAP_DB),
    "mse": (0.0, 1.0),
    "lpips": (0.0, np.inf),
    "share": (0.0, 1.0),
}
"""What a figure can be: the interval of few patients may reach beyond."""

_FEW_FOR_SHARES = 30  # below, a bootstrap of a share collapses to a point too often

Figure = dict[str, float | int | None]


def figures_of(rows: Sequence[Row]) -> dict[str, Any]:
    """All figures of a group, as summary.json holds them.

    Intervals resample patients with all their rows. Where one patient was attacked in several runs
    (rounds, seeds), they resample runs, and say nothing of other images ("over": "runs"). One image
    in one run has no interval.

    Args:
        rows: At least one.

    Returns:
        ``n`` rows, ``images``, ``patients``, ``seeds``, ``runs``, ``over``; a figure or None for
        each of `FIGURES`, ``asr``, ``iip``, ``iip_site``; ``asr_sweep``, ``nulls``, ``embedding``,
        ``seconds``, ``stuck``.
    """
    clusters, over = _clusters(rows)
    found: dict[str, Any] = {
        "n": len(rows),
        "images": len({(r.site, r.truth_image) for r in rows if r.truth_image is not None}),
        "patients": len({(r.site, r.patient) for r in rows if r.patient is not None}),
        "seeds": len({r.seed for r in rows}),
        "runs": len({r.case for r in rows}),
        "over": over,
    }
    excesses = {f"excess {name}": _difference(rows, column) for name, column in NULLS.items()}
    columns = {name: _column(rows, name) for name in (*FIGURES, *NULLS.values())}
    measured = _with_intervals({**columns, **excesses}, clusters)
    found |= {name: measured[name] for name in FIGURES}
    found["nulls"] = {
        name: (figure := measured[column]) and {**figure, "excess": measured[f"excess {name}"]}
        for name, column in NULLS.items()
    }
    found |= _success(rows, clusters) | _identification(rows, clusters)
    cases = {r.case: r for r in rows}.values()
    found["seconds"] = sum(r.seconds for r in cases)
    found["stuck"] = sum(r.stuck for r in cases)
    return found


def _clusters(rows: Sequence[Row]) -> tuple[list[Hashable], str | None]:
    """What is resampled: the cluster of each row, and what clusters are."""
    patients: list[Hashable] = [
        (r.site, r.truth_image if r.patient is None else r.patient) for r in rows
    ]
    measured = [k for k, r in enumerate(rows) if r.truth_image is not None]
    if len({patients[k] for k in measured}) > 1:
        return patients, "patients"
    runs: list[Hashable] = [r.case for r in rows]
    if len({runs[k] for k in measured}) > 1:
        return runs, "runs"
    return patients, None


def _column(rows: Sequence[Row], name: str) -> NDArray[np.float64]:
    values = (getattr(row, name) for row in rows)
    return np.array([np.nan if v is None else float(v) for v in values])


def _difference(rows: Sequence[Row], null: str) -> NDArray[np.float64]:
    return _column(rows, "ssim") - _column(rows, null)


def _with_intervals(
    columns: Mapping[str, NDArray[np.float64]], clusters: Sequence[Hashable]
) -> dict[str, Figure | None]:
    least, most = np.array([_RANGES.get(name, (-np.inf, np.inf)) for name in columns]).T
    lower, upper = mean_interval(np.stack(list(columns.values()), axis=1), clusters)
    lower, upper = lower.clip(least, most), upper.clip(least, most)
    figures: dict[str, Figure | None] = {}
    for k, (name, values) in enumerate(columns.items()):
        known = values[np.isfinite(values)]
        figures[name] = (
            {
                # The mean of equal values may round to beyond them.
                "mean": float(known.mean().clip(known.min(), known.max())),
                "lower95": _known(lower[k]),
                "upper95": _known(upper[k]),
                "n": len(known),
                "min": float(known.min()),
                "max": float(known.max()),
            }
            if len(known)
            else None
        )
    return figures


def _share(values: NDArray[np.float64], clusters: Sequence[Hashable]) -> Figure | None:
    """The figure of a share: by Wilson's interval where the bootstrap would be a point."""
    figure = _with_intervals({"share": values}, clusters)["share"]
    if figure is None or figure["lower95"] is None:
        return figure
    defined = np.isfinite(values)
    independent = len({c for c, known in zip(clusters, defined, strict=True) if known})
    if independent < _FEW_FOR_SHARES:
        lower, upper = wilson(min(1.0, float(figure["mean"] or 0)), independent)
        figure |= {"lower95": lower, "upper95": upper}
    return figure


def _success(rows: Sequence[Row], clusters: Sequence[Hashable]) -> dict[str, Any]:
    """Attack success rate, and MedPFL's averages over the successes alone."""
    ssim, mse = _column(rows, "ssim"), _column(rows, "mse")
    known = np.isfinite(ssim)
    if not known.any():
        return {"asr": None, "asr_sweep": None}
    wins = attack_success(torch.from_numpy(ssim)).numpy()
    share = _share(np.where(known, wins, np.nan), clusters) or {}
    return {
        "asr": {
            **share,
            "threshold": ASR_THRESHOLD,
            "successes": int(wins.sum()),
            "ssim_of_successes": float(ssim[wins].mean()) if wins.any() else None,
            "mse_of_successes": _known(mse[wins].mean()) if wins.any() else None,
        },
        "asr_sweep": {
            f"{t:g}": float(attack_success(torch.from_numpy(ssim[known]), t).double().mean())
            for t in SWEEP
        },
    }


def _identification(rows: Sequence[Row], clusters: Sequence[Hashable]) -> dict[str, Any]:
    """IIP and site-IIP, with the matches that chance would give."""
    used = [r for r in rows if r.iip_match is not None]
    networks = {(r.embedding, r.gallery, len((r.neighbours or "").split())) for r in used}
    nothing = {"iip": None, "iip_site": None}
    if not used:
        why = next((r.embedding for r in rows if r.embedding is not None), None)
        return {**nothing, "embedding": why}
    if len(networks) > 1:
        return {
            **nothing,
            "embedding": f"none: {len(networks)} different galleries or networks; audit anew",
        }
    ((embedding, gallery, k),) = networks
    matches = sum(bool(r.iip_match) for r in used)
    images: dict[Hashable, list[Row]] = {}
    for r in used:
        images.setdefault((r.site, r.truth_image), []).append(r)
    chance = chance_test(
        [([r.neighbours or "" for r in of], of[0].class_mates or 1) for of in images.values()],
        matches,
        _candidates(used, images),
    )
    exact = _share(_per_image(rows, "iip_match"), clusters) or {}
    per_match = (exact["mean"] or 0) / matches if matches else _per_match(used)
    null = {
        "mean": chance.mean * per_match,
        "lower95": chance.lower95 * per_match,
        "upper95": chance.upper95 * per_match,
    }
    return {
        "iip": {**exact, "matches": matches, "k": k, "gallery": gallery, "p": chance.p}
        | {"null": null},
        "iip_site": _share(_per_image(rows, "iip_site_match"), clusters),
        "embedding": embedding,
    }


def _candidates(used: Sequence[Row], images: Mapping[Hashable, Sequence[Row]]) -> list[int]:
    """Of each image: the client's images of its class, among which an assignment could choose."""
    truths: dict[str, dict[str | None, int | None]] = {}
    for r in used:
        truths.setdefault(r.site, {})[r.truth_image] = r.truth_label
    found = []
    for first, *_ in images.values():
        labels = list(truths[first.site].values())
        # Images that nothing was assigned to may be of any class.
        unseen = max(0, (first.site_images or 0) - len(labels))
        found.append(labels.count(first.truth_label) + unseen)
    return found


def _per_image(rows: Sequence[Row], name: str) -> NDArray[np.float64]:
    """Matches scaled so that their mean is the mean over runs of matches / client's images."""
    attacked: dict[Any, int] = {}
    for r in rows:
        attacked[r.case] = attacked.get(r.case, 0) + (getattr(r, name) is not None)
    scale = [attacked[r.case] / (r.site_images or attacked[r.case] or 1) for r in rows]
    return _column(rows, name) * np.array(scale)


def _per_match(used: Sequence[Row]) -> float:
    return 1 / sum({r.case: r.site_images or 1 for r in used}.values())


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

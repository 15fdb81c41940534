"""From a reconstruction to rows of figures: the one place where truth meets an attack's result."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from medleak.inversion import metrics
from medleak.inversion.plan import NO_DEFENCE, Case
from medleak.inversion.reconstruction import Reconstruction
from medleak.inversion.results import Row
from medleak.inversion.truth import Truth


def rows_of(
    case: Case,
    found: Reconstruction,
    truth: Truth | None,
    prior: Tensor,
    declared: Sequence[Mapping[str, Any]],
) -> list[Row]:
    """Measure ``found`` against the site's images, each assigned to one of them.

    Args:
        case: What was attacked.
        found: Images [N, C, H, W]; see `as_channels` where the truth has other channels.
        truth: The site's training images; None: there is nothing to compare with.
        prior: [1, C, H, W], for SSIM(T, P) and RDLV.
        declared: Defences as the site declared them.

    Returns:
        A row a reconstruction; without figures for those that no image was left for.

    Raises:
        ValueError: Images and truth cannot be compared.
    """
    rows = [
        Row(
            round=case.round,
            site=case.site,
            attack=case.attack,
            defence=case.defence,
            declared=" + ".join(map(defence_text, declared)) or NO_DEFENCE,
            knowledge=case.knowledge,
            seed=case.seed,
            reconstruction=k,
            label=None if found.labels is None else int(found.labels[k]),
            seconds=round(found.seconds, 3),
            iterations=found.iterations,
            attempts=found.attempts,
            stuck=found.stuck,
            losses=" ".join(f"{name}={value:.3g}" for name, value in found.losses.items()),
            picture=f"images/{case.name}_{k}.png",
        )
        for k in range(len(found.images))
    ]
    if truth is None:
        return rows
    images = as_channels(found.images, truth.images.shape[1])
    pairs = metrics.assign(images, truth.images)
    true, best = truth.images[pairs.truth], images[pairs.reconstruction]
    of_prior = metrics.ssim(true, as_channels(prior, true.shape[1]).expand_as(true))
    figures = {
        "ssim": pairs.ssim,
        "ssim_tmi": metrics.ssim_tmi(true, best),
        "psnr": metrics.psnr(true, best),
        "mse": metrics.mse(true, best),
        "ssim_prior": of_prior,
        "rdlv": metrics.rdlv(pairs.ssim, of_prior),
    }
    for pair, (k, t) in enumerate(torch.stack([pairs.reconstruction, pairs.truth], 1).tolist()):
        rows[k] = replace(
            rows[k],
            truth_image=truth.names[t],
            truth_label=int(truth.labels[t]),
            truth_picture=truth_picture(case.site, t),
            **{name: _six_digits(values[pair]) for name, values in figures.items()},
        )
    return rows


def truth_picture(site: str, index: int) -> str:
    """Where an audit directory keeps training image ``index`` of ``site``."""
    return f"images/truth_{site}_{index}.png"


def as_channels(images: Tensor, channels: int) -> Tensor:
    """Images with ``channels`` channels: colour is averaged to gray, gray repeated to colour."""
    if images.shape[1] == channels:
        return images
    return images.mean(1, keepdim=True) if channels == 1 else images.expand(-1, channels, -1, -1)


def defence_text(declared: Mapping[str, Any]) -> str:
    """A record's ``{"name", "args"}`` as ``name:key=value,…``, the form that `--defence` takes."""
    name, args = declared.get("name"), declared.get("args")
    if not isinstance(name, str) or not isinstance(args, Mapping):
        return json.dumps(dict(declared), sort_keys=True)  # not ours: quoted as it is
    pairs = ",".join(f"{key}={_argument(value)}" for key, value in args.items())
    text = f"{name}:{pairs}" if pairs else name
    # A site's own word ends up in terminals: no escape sequences.
    return text if text.isprintable() else json.dumps(text)


def _argument(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "|".join(map(_argument, value))
    return value if isinstance(value, str) else json.dumps(value)


def _six_digits(value: Tensor) -> float | None:
    """As results.csv keeps it, so that a resumed audit counts with the same numbers; NaN: None."""
    number = float(value)
    return None if number != number else float(f"{number:.6g}")

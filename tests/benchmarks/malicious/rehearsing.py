"""The rehearsal on the site's own images: attacks that it misses, honest rounds that it refuses."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from malicious.federation import Setting, rounds
from malicious.honest import LARGE, SMALL
from malicious.tampering import Adaptive, tampered
from medleak.filters.sentinel.rehearsal import Limits, judge
from medleak.inversion.malicious.fishing import Fishing
from medleak.inversion.malicious.identity_kernels import IdentityKernels, UnfoldingKernels
from medleak.inversion.malicious.imprint import Imprint
from medleak.inversion.malicious.rescaling import Rescaling
from medleak.inversion.malicious.trap_weights import TrapWeights
from medleak.inversion.malicious.view import View
from medleak.inversion.measures.similarity import assign
from medleak.inversion.rehearsal.dominance import class_losses, ratios
from medleak.inversion.rehearsal.exposure import NEAR, distances
from medleak.inversion.rehearsal.step import rehearse

SHARES = (0.0, 0.125, 0.25, 0.375)
"""Of a batch that may be given away."""
_PLAIN = Setting(name="fedavg-sgd")
HONEST = (
    _PLAIN,
    replace(_PLAIN, name="fedavg-sgd-trained", trained=True),
    replace(_PLAIN, name="fedavg-adam", optimizer="adam", lr=1e-3),
    replace(_PLAIN, name="fedavg-adam-trained", optimizer="adam", lr=1e-3, trained=True),
    replace(_PLAIN, name="percentile-1", defence="percentile_gaussian:sigma0=1"),
)


def found_of(model: nn.Module, shown: Tensor, labels: Tensor) -> tuple[dict[str, Any], Tensor]:
    """What `rehearsal.measure` answers, of these images; and which of them are given away [B]."""
    was = model.training
    step = rehearse(model.train(), shown, labels)
    model.train(was)
    near = [d for s in step.shares if (d := distances(s)) is not None]
    away = torch.stack([d <= NEAR for d in near]) if near else torch.zeros(1, len(shown)).bool()
    answer = {
        "images": len(shown),
        "layers": len(near),
        "given_away": int(away.sum(1).max()),
        "dominance": max(ratios(step).values()),
        "class_loss": max(class_losses(step, labels, 2).values()),
    }
    return answer, away.any(0)


def alarms(answer: Mapping[str, Any]) -> set[str]:
    """Which checks are odd; that of the share once for each of `SHARES`."""
    seen = {r.check for r in judge(answer, Limits()) if r.status == "odd"} - {"given_away"}
    share = answer["given_away"] / answer["images"]
    return seen | {f"given_away>{s:g}" for s in SHARES if answer["layers"] and share > s}


def attacks(
    view: View,
    pixels: Tensor,
    labels: Tensor,
    begin: Callable[[int], Mapping[str, Any]],
    gradient: Callable[..., dict[str, Tensor]],
    draws: int,
) -> Iterator[dict[str, Any]]:
    """By attack and place: missed by the rehearsal, by limit, and what they read of 64 images.

    ``unseen``: images read with an SSIM of 0.7 that the rehearsal does not count as given away.
    """
    shown = view.shown(pixels)
    records: list[tuple[str, str, Any]] = [
        *(
            (f"{way}, {rows} rows", "strided_cnn", Adaptive(way=way, rows=rows))
            for way, rows in (("lean", 256), ("lean", 32), ("lean", 8), ("bias", 256), ("bias", 32))
        ),
        ("bias, a tenth of the way", "strided_cnn", Adaptive(way="bias", slow=0.1)),
        ("rescaling", "strided_cnn", Rescaling()),
        ("identity kernels", "strided_cnn", UnfoldingKernels()),
    ]
    for network in ("strided_cnn", "resnet18"):
        records += [("imprint", network, Imprint()), ("trap weights", network, TrapWeights())]
        records += [("fishing", network, Fishing()), ("weak fishing", network, Fishing(gain=10.0))]
    records.append(("identity kernels", "resnet18", IdentityKernels()))
    begins = [begin(100 + k) for k in range(draws)]
    for name, network, attack in records:
        for when in ("first", "trained"):
            row = {"attack": f"{name} {network} {when}", "rehearsed": True, "n": 0}
            row |= {"missed": 0, "images_70": 0, "unseen": 0, "seconds": 0.0}
            missed = dict.fromkeys(SHARES, 0)
            for k, start in enumerate(begins):
                mine = replace(attack, seed=k) if hasattr(attack, "seed") else attack
                sent = tampered(start[f"{network} {when}"][0], mine, view)
                begun = time.process_time()
                answer, away = found_of(sent, shown[:64], labels[:64])
                row["seconds"] += (time.process_time() - begun) / draws
                seen = alarms(answer)
                row["n"] += 1
                for share in SHARES:
                    others = {s for s in seen if not s.startswith("given_away")}
                    missed[share] += not (others or f"given_away>{share:g}" in seen)
                row["missed"] = missed[0.0]
                row["given_away"] = max(row.get("given_away", 0), answer["given_away"])
                if not isinstance(mine, Fishing):
                    update = gradient(sent, shown[:64], labels[:64])
                    read = mine.read(update, sent, view)
                    if len(read):
                        good = assign(read.contiguous(), pixels[:64])
                        back = good.ssim >= 0.7
                        row["images_70"] = max(row["images_70"], int(back.sum()))
                        row["unseen"] += int((~away[good.truth[back]]).sum())
            yield {**row, "missed_by_share": missed, "seconds": round(row["seconds"], 2)}


def honest(
    view: View, pixels: Tensor, labels: Tensor, count: int, train: Callable[..., nn.Module]
) -> Iterator[dict[str, Any]]:
    """By network, setting and batch: how many of ``count`` honest rounds are refused, by limit."""
    shown = view.shown(pixels)
    for network, make in {**SMALL, **LARGE}.items():
        for setting in HONEST[:: 2 if network in LARGE else 1]:
            for batch in (8, 32):
                yield _honest(network, make, setting, shown, labels, count, batch, train)


def _honest(
    network: str,
    make: Callable[[int], nn.Module],
    setting: Setting,
    shown: Tensor,
    labels: Tensor,
    count: int,
    batch: int,
    train: Callable[..., nn.Module],
) -> dict[str, Any]:
    def start() -> nn.Module:
        return train(make(5), shown, labels) if setting.trained else make(5)

    row: dict[str, Any] = {"honest": setting.name, "network": network, "rehearsed": True}
    row |= {"batch": batch, "rounds": 0, "false_alarms": 0, "seconds": 0.0}
    largest: dict[str, float] = {}
    refused: dict[str, int] = {}
    draw = torch.Generator().manual_seed(4)
    for _, model, _, _ in rounds(setting, start, shown, labels, count, 31):
        chosen = torch.randperm(len(shown), generator=draw)[:batch]
        begun = time.process_time()
        answer, _ = found_of(model, shown[chosen], labels[chosen])
        row["seconds"] += time.process_time() - begun
        seen = alarms(answer)
        row["rounds"] += 1
        row["false_alarms"] += bool(seen)
        for check in seen:
            refused[check] = refused.get(check, 0) + 1
        for what in ("given_away", "dominance", "class_loss"):
            largest[what] = round(max(largest.get(what, 0.0), float(answer[what])), 3)
    return {**row, "seconds": round(row["seconds"], 2), "by_check": refused, "largest": largest}

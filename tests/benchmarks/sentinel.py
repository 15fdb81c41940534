"""What malicious servers recover, which tampered models the sentinel misses, what it refuses.

    python tests/benchmarks/sentinel.py --json FILE \
        --parts attacks,fishing,tampered,honest,adaptive,rehearsed,rehearsed-honest

Real chest X-rays (``--data``). Writes a list of objects: of a family of attacks {attack, network,
batch, found_90, found_70, of, best8, summed} and {attack, n, missed, seconds}, of a setting
{honest, network, rounds, false_alarms, seconds}, of an attacker who adapts
{adaptive, n, seen_first, seen_trained, seen_late, images_70, images_90}. With ``rehearsed`` and
``rehearsed-honest``, what the rehearsal on the site's own images says of attacks and of rounds.
"""

import argparse
import copy
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clients import DataSet
from malicious import rehearsing
from malicious.federation import LIFE, Setting, Site, numpy_state, rounds
from malicious.honest import LARGE, NINE, SIZE, cases
from malicious.recovering import Images, attacks, fishing, gradient, named, recovered
from malicious.tampering import FAMILIES, Adaptive, drawn, tampered
from torch import Tensor, nn

from medleak.custom.networks import resnet18
from medleak.custom.small_networks import strided_cnn

_SHARED = Path(__file__).resolve().parents[3] / "shared"
ATTACKED = 64  # px


def starts(images: Images, seed: int) -> dict[str, tuple[nn.Module, Site]]:
    """For each network and time: the honest model that is tampered with, and the site's sentinel.

    ``first``: random weights, nothing seen; ``trained``: the same after training, as the first
    model of a run; ``late``: round 3 of a federation.
    """
    shown, found = images.view.shown(images.pixels), {}
    made = {
        "strided_cnn": lambda: strided_cnn(2, ATTACKED, seed=seed),
        "resnet18": lambda: resnet18(2, seed=seed),
    }
    for network, make in made.items():
        setting = Setting(name="late", steps=4)
        late = next(
            (copy.deepcopy(m), s)
            for n, m, _, s in rounds(setting, make, shown, images.labels, 4, seed)
            if n == 3
        )
        found[f"{network} first"] = (make(), Site())
        steps = 60 if network == "strided_cnn" else 15
        found[f"{network} trained"] = (_trained(make(), shown, images.labels, steps), Site())
        found[f"{network} late"] = late
    return found


def tampering(images: Images, count: int) -> Iterator[dict[str, Any]]:
    """Full strength: how many tampered models are missed, by family."""
    rng = np.random.default_rng(7)
    tally: dict[str, dict[str, Any]] = {}
    made = 0
    for seed in range(count):
        for where, (model, site) in starts(images, seed).items():
            network = where.split()[0]
            for family in FAMILIES:
                if family == "rescaling" and network != "strided_cnn":
                    continue
                attack = drawn(family, network, rng, usual=made % 2 == 0)
                sent = numpy_state(tampered(model, attack, images.view))
                begun = time.process_time()
                seen = site.examined(sent, 4 if where.endswith("late") else 0, keep=False)
                key = f"{family} {where}"
                row = tally.setdefault(key, {"attack": key, "n": 0, "missed": 0, "seconds": 0.0})
                row["n"] += 1
                row["missed"] += not seen.odd
                row["seconds"] += time.process_time() - begun
                if not seen.odd:
                    row.setdefault("which", []).append(named(attack)["settings"])
                made += 1
    for row in tally.values():
        yield {**row, "seconds": round(row["seconds"] / row["n"], 2)}


def honest(data: DataSet, count: int, large: int, seed: int) -> Iterator[dict[str, Any]]:
    """False alarms of honest rounds."""
    small = Images.of(data, SIZE, 8, 240)
    for network, make, setting, each in cases(count):
        yield _honest(network, make, setting, small, each, seed)
    if large:
        big = Images.of(data, ATTACKED, 8, 200)
        for network, make in LARGE.items():
            for setting in (
                Setting(name="fedavg-sgd", sites=2, steps=2),
                Setting(name="fedavg-adam", sites=2, steps=2, optimizer="adam", lr=1e-3),
                Setting(name="nine-sites-of-few", few=NINE, lr=0.01),
                Setting(
                    name="percentile-10", sites=2, steps=2, defence="percentile_gaussian:sigma0=10"
                ),
            ):
                yield _honest(network, make, setting, big, large, seed)


def _honest(
    network: str, make: Any, setting: Setting, images: Images, count: int, seed: int
) -> dict[str, Any]:
    shown = images.view.shown(images.pixels)

    alarms, largest, done, begun = [], {}, 0, time.process_time()
    life = LIFE if setting.few else count
    for begin in range(0, count, life):

        def start(begin: int = begin) -> nn.Module:
            model = make(seed - 9 + begin)
            return _trained(model, shown, images.labels) if setting.trained else model

        seen = rounds(setting, start, shown, images.labels, min(life, count - begin), seed + begin)
        for number, _, found, _ in seen:
            done += 1
            if found.odd:
                alarms.append({"round": number, "line": found.line})
            for r in found.results:
                if r.limit and r.statistic is not None:
                    largest[r.check] = round(max(largest.get(r.check, 0), r.statistic / r.limit), 3)
    return {
        "honest": setting.name,
        "network": network,
        "rounds": done,
        "false_alarms": len(alarms),
        "seconds": round(time.process_time() - begun, 1),
        "alarms": alarms[:3],
        "largest": largest,
    }


def _trained(model: nn.Module, shown: Tensor, labels: Tensor, steps: int = 60) -> nn.Module:
    optimizer = torch.optim.Adam(model.train().parameters(), lr=1e-3)
    draw = torch.Generator().manual_seed(5)
    for _ in range(steps):
        chosen = torch.randint(len(shown), (16,), generator=draw)
        loss = nn.functional.cross_entropy(model(shown[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def adaptive(images: Images, draws: int) -> Iterator[dict[str, Any]]:
    """Detection beside recovery, of an attacker who knows the checks."""
    shown = images.view.shown(images.pixels)[:64]
    labels, truth = images.labels[:64], images.pixels[:64]
    ways = [
        {"way": "none"},
        *({"way": "copies", "noise": n} for n in (0.0, 0.3, 1.0)),
        *({"way": "copies", "rows": r} for r in (32, 12)),
        *({"way": "bias", "rows": r} for r in (256, 32, 8)),
        *({"way": "bias", "rows": 256, "slow": s} for s in (0.3, 0.1, 0.03)),
        *({"way": "lean", "rows": r} for r in (256, 32, 8)),
    ]
    begins = [starts(images, 100 + k) for k in range(draws)]
    for settings in ways:
        row: dict[str, Any] = {"adaptive": settings, "n": draws}
        best: dict[str, int] = {"images_70": 0, "images_90": 0}
        for k, begin in enumerate(begins):
            for when in ("first", "trained", "late"):
                model, site = begin[f"strided_cnn {when}"]
                attack = Adaptive(seed=k, **settings)
                sent = tampered(model, attack, images.view)
                seen = site.examined(numpy_state(sent), 4 if when == "late" else 0, keep=False)
                row[f"seen_{when}"] = row.get(f"seen_{when}", 0) + bool(seen.odd)
                if k == 0 and when != "late":
                    got = attack.read(gradient(sent, shown, labels), sent, images.view)  # type: ignore[arg-type]
                    told = recovered(got, truth)
                    best = {
                        f"images_{s}": max(best[f"images_{s}"], told[f"found_{s}"])
                        for s in (70, 90)
                    }
        yield {**row, **best}


def main() -> None:
    """Run the parts that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=_SHARED / "data" / "cxr")
    parser.add_argument("--parts", default="attacks,tampered,honest,adaptive")
    parser.add_argument("--draws", type=int, default=7, help="Of each tampered family and place.")
    parser.add_argument("--rounds", type=int, default=1000, help="Honest, of small networks.")
    parser.add_argument("--large", type=int, default=6, help="Honest, of each ResNet setting.")
    parser.add_argument("--seed", type=int, default=12, help="Of honest federations.")
    parser.add_argument("--adaptive", type=int, default=3, help="Draws of each adaptive attack.")
    asked = parser.parse_args()
    if not asked.data.is_dir():
        sys.exit(f"{asked.data} is missing: name a folder-per-class set by --data.")
    torch.set_num_threads(1)
    data, parts = DataSet.open(asked.data), asked.parts.split(",")
    found: list[dict[str, Any]] = []

    def note(rows: Iterator[dict[str, Any]]) -> None:
        for row in rows:
            print(row, flush=True)
            found.append(row)
            asked.json.write_text(json.dumps(found, indent=1))

    if "honest" in parts:
        note(honest(data, asked.rounds, asked.large, asked.seed))
    if "rehearsed-honest" in parts:
        small = Images.of(data, SIZE, 8, 240)
        few = max(2, asked.rounds // 50)
        note(rehearsing.honest(small.view, small.pixels, small.labels, few, _trained))
    if set(parts) & {"attacks", "fishing", "tampered", "adaptive", "rehearsed"}:
        nine = 9 * 64 if "attacks" in parts else 96
        images = Images.of(data, ATTACKED, 256, nine)
        if "attacks" in parts:
            note(attacks(images))
        if "fishing" in parts:
            note(fishing(images, 4))
        fewer = Images(images.view, images.pixels[:96], images.labels[:96])
        if "tampered" in parts:
            note(tampering(fewer, asked.draws))
        if "rehearsed" in parts:
            more = (lambda seed: starts(fewer, seed), gradient, asked.adaptive)
            note(rehearsing.attacks(fewer.view, fewer.pixels, fewer.labels, *more))
        if "adaptive" in parts:
            note(adaptive(fewer, asked.adaptive))


if __name__ == "__main__":
    main()

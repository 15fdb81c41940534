"""How well members of one update are told from others, real images: ``--cases`` of a table.

    python tests/benchmarks/membership.py --cases sgd-32,adam-32 --data DIR --json FILE

Patients of the ``tune`` and ``report`` splits (`clients.DataSet`) are drawn at random into four
groups: members, those of the client that had neither group (the null), others, and certain
non-members. The global model was trained on ``public`` images alone. ``--json`` writes a list of
{case, auc_mean, tpr_1, tpr_01, null_auc, null_ok, seconds_per_candidate, auc, missed}; seconds are
of CPU, on one thread, over all candidates, nulls and layers of a case.
"""

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clients import DataSet, load, make_world, parser_of
from monai.losses.dice import DiceLoss
from numpy.typing import NDArray
from torch import Tensor, nn

from medleak.custom.intervals import bootstrap_of
from medleak.custom.record import (
    InputSpec,
    Manifest,
    ModelSpec,
    Record,
    TaskSpec,
    UpdateInfo,
    utc_now,
)
from medleak.filters.noise import NoiseSource
from medleak.filters.registry import defence
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.membership.assessment import Group, halves, scored
from medleak.inversion.membership.calibration import recognised
from medleak.inversion.membership.roc import auc, separation
from medleak.inversion.membership.scores.registry import score_of
from medleak.inversion.networks import build_network
from medleak.inversion.observation import observe

SEEDS = 3
OTHERS, CERTAIN = 128, 120
_NETWORKS = "medleak.custom.networks."


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What a client does in a round; ``auc`` and ``tpr`` are what a case must reach, if given."""

    images: int
    optimizer: str = "sgd"
    lr: float = 0.01
    batch: int = 8
    epochs: int = 1
    size: int = 64
    model: str = "resnet18"
    defence: str = ""
    rounds: int = 1
    criterion: str = "cross_entropy"
    others: int = OTHERS
    certain: int = CERTAIN
    auc: float | None = None
    tpr: float | None = None


_SGD = Client(images=32, auc=0.998, tpr=0.98)
_ADAM = Client(images=32, optimizer="adam", lr=1e-4, auc=0.97, tpr=0.75)
_FREE = {"auc": None, "tpr": None}
CASES = {
    "sgd-32": _SGD,
    "sgd-96": replace(_SGD, images=96, auc=0.995, tpr=0.90),
    "sgd-96-4epochs": replace(_SGD, images=96, batch=16, epochs=4, tpr=0.95),
    "adam-32": _ADAM,
    "adam-96-4epochs": replace(_ADAM, images=96, batch=16, epochs=4, auc=0.95, tpr=0.60),
    "sgd224-32": replace(_SGD, size=224, auc=0.98, tpr=0.80),
    "sgd224-96": replace(_SGD, size=224, images=96, auc=0.90, tpr=0.40),
    "adam224-32": replace(_ADAM, size=224, auc=0.90, tpr=0.40),
    "rounds10-adam-96": replace(_ADAM, images=96, rounds=10, **_FREE),
    "densenet64-adam-32": replace(_ADAM, model="densenet121", auc=0.90, tpr=None),
    "groupnorm64-sgd-32": replace(_SGD, model="resnet18_groupnorm", auc=0.90, tpr=None),
    "unet64-dice-32": replace(_SGD, model="unet", criterion="dice", lr=0.1, auc=0.90, tpr=None),
    "vit224-sgd-16": replace(
        _SGD, images=16, size=224, model="vit_b_16", auc=0.90, tpr=None, others=32, certain=80
    ),
    "sgd-32-percentile-1": replace(_SGD, defence="percentile_gaussian:sigma0=1", **_FREE),
    "sgd-32-percentile-10": replace(_SGD, defence="percentile_gaussian:sigma0=10", **_FREE),
    "sgd-32-percentile-group": replace(
        _SGD, defence="percentile_gaussian:sigma0=0.3,scope=group", **_FREE
    ),
    # Noise of this multiplier is one release at epsilon 8, delta 1e-5, for another data set.
    "sgd-32-clipped-8": replace(
        _SGD, defence="clipped_gaussian:max_grad_norm=1,noise_multiplier=1.2005", **_FREE
    ),
}


@dataclass(frozen=True, slots=True)
class _Pixels:
    """Images of patients, without a pixel in memory that is not asked for."""

    data: DataSet
    size: int

    def groups(self, counts: tuple[int, ...], seed: int) -> list[Group]:
        """Groups of as many images as ``counts``, drawn by patient, without a common patient."""
        by_patient: dict[str, list[tuple[Path, int]]] = {}
        for file, label in self.data.files("tune") + self.data.files("report"):
            by_patient.setdefault(self.data._patient(file), []).append((file, label))
        order = iter(np.random.default_rng(100 + seed).permutation(sorted(by_patient)).tolist())
        found = []
        for count in counts:
            chosen: list[tuple[str, Path, int]] = []
            while len(chosen) < count:
                who = next(order)
                chosen += [(who, *pair) for pair in by_patient[who]]
            chosen = chosen[:count]
            found.append(
                Group(
                    images=torch.stack([load(file, self.size) for _, file, _ in chosen]),
                    labels=torch.tensor([label for *_, label in chosen]),
                    patients=tuple(who for who, *_ in chosen),
                )
            )
        return found


def main() -> int:
    """Run cases; exit code 1 if one misses what it must reach."""
    parser = parser_of(__doc__)
    parser.add_argument("--cases", default="all", help="names or beginnings of names, by commas")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--score", default="row_space")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="draws of each case")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results: list[dict[str, Any]] = []
    for name in _chosen(arguments.cases, parser):
        results.append(_measure(name, CASES[name], arguments))
        print(_line(results[-1]), flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1))
    return int(any(r["missed"] for r in results))


def _chosen(text: str, parser: argparse.ArgumentParser) -> list[str]:
    chosen: dict[str, None] = {}
    for word in text.split(","):
        names = [n for n in CASES if word in ("all", n)] or [n for n in CASES if n.startswith(word)]
        if not names:
            parser.error(f"unknown case {word!r}; known: {', '.join(CASES)}")
        chosen |= dict.fromkeys(names)
    return list(chosen)


def _measure(name: str, client: Client, arguments: argparse.Namespace) -> dict[str, Any]:
    data = DataSet.open(arguments.data)
    world = make_world(data, client.size, arguments.weights)
    state = world.state if client.model == "resnet18" else _other_state(client, data)
    seen = [_seed(client, data, state, seed, arguments.score) for seed in range(arguments.seeds)]
    found: dict[str, Any] = {
        "case": name,
        "score": arguments.score,
        "auc_mean": float(np.mean([s["auc"] for s in seen])),
        "tpr_1": float(np.mean([s["tpr_1"] for s in seen])),
        "tpr_01": float(np.mean([s["tpr_01"] for s in seen])),
        "null_auc": float(np.mean([s["null"].value for s in seen])),
        "null_ok": [s["null"].lower95 <= 0.5 <= s["null"].upper95 for s in seen],
        "seconds_per_candidate": float(np.mean([s["seconds"] for s in seen])),
        "auc": [round(s["auc"], 4) for s in seen],
        "recognised": [s["recognised"] for s in seen],
        "gain": [s["gain"] for s in seen if s["gain"]],
    }
    missed = []
    if client.rounds > 1:
        for gain in found["gain"]:
            if not gain["lower95"] > 0:
                missed.append(f"joined no better than one: {gain['gain']:+.3f}")
    for figure, least in (("auc_mean", client.auc), ("tpr_1", client.tpr)):
        if least is not None and found[figure] < least:
            missed.append(f"{figure} {found[figure]:.3f} < {least}")
    return found | {"missed": missed}


def _seed(
    client: Client, data: DataSet, state: Mapping[str, Tensor], seed: int, score: str
) -> dict[str, Any]:
    n = client.images
    members, neither, others, certain = _Pixels(data, client.size).groups(
        (n, n, client.others, client.certain), seed
    )
    background, nulls = halves(certain, seed=seed)
    candidates = Group(
        images=torch.cat([members.images, others.images]),
        labels=torch.cat([t for g in (members, others) if (t := g.labels) is not None]),
        patients=members.patients + others.patients,
    )
    member = np.arange(len(candidates)) < n
    separations = []
    found = None
    alone: dict[str, float] = {}
    for which, records in enumerate(_records(client, data, state, (members, neither), seed)):
        start = time.process_time()
        seen = [observe(record, Knowledge()) for record in records]
        ask = functools.partial(
            scored,
            candidates=candidates,
            background=background,
            nulls=nulls,
            score=score_of(score).score,
        )
        result = ask(seen)
        seconds = (time.process_time() - start) / len(records) / (len(candidates) + len(nulls))
        separations.append(separation(result.scores, member, candidates.patients))
        found = found or (result, seconds)
        if which == 0 and len(records) > 1:
            alone = _gain(result.scores, ask(seen[-1:]).scores, member, candidates.patients)
    assert found is not None
    told, null = separations
    return {
        "auc": told.auc.value,
        "tpr_1": told.tpr["tpr_1"].value,
        "tpr_01": told.tpr["tpr_01"].value,
        "null": null.auc,
        "seconds": found[1],
        "recognised": recognised(list(found[0].patients.values()), 0.05),
        "gain": alone,
    }


def _gain(
    joined: NDArray[np.float64],
    last: NDArray[np.float64],
    member: NDArray[np.bool_],
    patients: Sequence[Hashable],
) -> dict[str, float]:
    """AUC of all rounds joined above that of the last alone, and its 95 % interval."""

    def gain(chosen: NDArray[np.intp]) -> dict[str, float]:
        inside, outside = chosen[member[chosen]], chosen[~member[chosen]]
        return {"gain": auc(joined[inside], joined[outside]) - auc(last[inside], last[outside])}

    low, high = bootstrap_of(gain, patients)["gain"]
    return gain(np.arange(len(member))) | {"lower95": low, "upper95": high}


def _records(
    client: Client,
    data: DataSet,
    state: Mapping[str, Tensor],
    groups: Sequence[Group],
    seed: int,
) -> list[list[Record]]:
    """Of each client one record a round; after each the global model is the mean of theirs."""
    found: list[list[Record]] = [[] for _ in groups]
    for round in range(client.rounds):
        for group, records in zip(groups, found, strict=True):
            records.append(_record(client, data, state, group, seed + 1000 * round, round))
        sent = [records[-1].update for records in found]
        mean = {n: np.mean([u[n] for u in sent], 0) for n in state if n in sent[0]}
        state = {  # what a defence withholds stays as it was
            n: v + torch.as_tensor(mean[n]).to(v.dtype) if n in mean else v
            for n, v in state.items()
        }
    return found


def _other_state(client: Client, data: DataSet) -> dict[str, Tensor]:
    """Weights after two epochs of Adam on the public images; of a ViT, which takes hours, none."""
    network = _network(client.model, len(data.classes)).train()
    if client.model.startswith("vit"):
        return {k: v.detach().clone() for k, v in network.state_dict().items()}
    files = data.files("public")
    pixels = torch.stack([load(file, client.size) for file, _ in files])
    labels = torch.tensor([label for _, label in files])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    if client.criterion == "dice":
        labels = _masks(pixels)
    for batch in _batches(len(labels), 16, 2, 0):
        _step(network, optimizer, pixels[batch], labels[batch])
    return {k: v.detach().clone() for k, v in network.state_dict().items()}


def _record(
    client: Client,
    data: DataSet,
    state: Mapping[str, Tensor],
    group: Group,
    seed: int,
    round: int = 0,
) -> Record:
    """What a server holds of a client that trained on ``group``: batches anew in each epoch."""
    network = _network(client.model, len(data.classes)).train()
    network.load_state_dict(dict(state))
    make: Callable[..., torch.optim.Optimizer] = (
        torch.optim.SGD if client.optimizer == "sgd" else torch.optim.Adam
    )
    optimizer = make(network.parameters(), lr=client.lr)
    labels, steps = group.labels, 0
    assert labels is not None
    if client.criterion == "dice":
        labels = _masks(group.images)
    for batch in _batches(len(labels), client.batch, client.epochs, seed):
        _step(network, optimizer, group.images[batch], labels[batch])
        steps += 1
    sent = {k: v.numpy() for k, v in state.items()}
    update: Any = {k: v.detach().numpy() - sent[k] for k, v in network.state_dict().items()}
    if client.defence:
        rng = NoiseSource.seeded(seed, client.defence)
        update = defence(client.defence)(update, rng=rng, global_state=sent)
    manifest = Manifest(
        job="benchmark",
        created=utc_now(),
        model=ModelSpec(path=_path(client.model), args={"num_classes": len(data.classes)}),
        task=TaskSpec(
            criterion="dice" if client.criterion == "dice" else "cross_entropy",
            num_classes=len(data.classes),
        ),
        input=InputSpec(
            spatial_size=(client.size, client.size), channels=1, mean=(0.0,) * 3, std=(1.0,) * 3
        ),
    )
    info = UpdateInfo(
        round=round,
        site="site-1",
        time=utc_now(),
        n_images=len(labels),
        n_steps=steps,
        batch_size=client.batch,
        local_epochs=client.epochs,
        lr=client.lr,
        optimizer=client.optimizer,
        augmentation=(),
    )
    return Record(manifest, info, sent, {k: np.asarray(v) for k, v in update.items()})


def _path(name: str) -> str:
    return f"torchvision.models.{name}" if name.startswith("vit") else f"{_NETWORKS}{name}"


def _network(name: str, classes: int) -> nn.Module:
    network = build_network(_path(name), {"num_classes": classes})
    if name.startswith("vit"):  # torchvision's head is zero: a first step would carry nothing
        torch.manual_seed(0)
        head: Any = network.get_submodule("heads.head")
        nn.init.trunc_normal_(head.weight, std=0.02)
    return network


def _masks(images: Tensor) -> Tensor:
    """[N, H, W] what a lung's mask is like: the darker half of each image, without small parts."""
    smooth = nn.functional.avg_pool2d(images.mean(1, keepdim=True), 9, 1, 4)[:, 0]
    return (smooth < smooth.mean((1, 2), keepdim=True)).long()


def _batches(n: int, size: int, epochs: int, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        yield from torch.randperm(n, generator=generator).split(size)


def _step(
    network: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor
) -> None:
    optimizer.zero_grad()
    out = network(images.expand(-1, 3, -1, -1))
    if labels.ndim == 1:
        loss = nn.functional.cross_entropy(out, labels)
    else:
        loss = DiceLoss(to_onehot_y=True, softmax=True)(out, labels[:, None])
    loss.backward()
    optimizer.step()


def _line(r: dict[str, Any]) -> str:
    return (
        f"{r['case']:24} AUC {r['auc_mean']:.4f} {r['auc']} TPR at 1 % {r['tpr_1']:.2f}, at 0.1 % "
        f"{r['tpr_01']:.2f}; null {r['null_auc']:.3f} {r['null_ok']}; "
        f"{r['seconds_per_candidate']:.3f} CPU-s a candidate; {'; '.join(r['missed']) or 'met'}"
    )


if __name__ == "__main__":
    sys.exit(main())

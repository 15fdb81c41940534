"""What a small federation on real images tells beside its images: sites, attributes, final model.

    python tests/benchmarks/inference.py --data DIR --json FILE [--sites 6 --images 24 --rounds 4]

Sites train a ResNet-18 and share no patient; the share of the second class runs from 10 % to 90 %
over them. Each round is local plain SGD and FedAvg; then what ``medleak attributes`` and ``medleak
final-model`` ask is asked of the very record on disk. Reference models learn from the ``public``
images, which also trained the first weights.
"""

import argparse
import functools
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clients import DataSet, load, make_world, parser_of
from torch import Tensor, nn

from medleak.custom.data.datalist import Item, save_datalist
from medleak.custom.networks import resnet18
from medleak.custom.record import (
    InputSpec,
    Manifest,
    ModelSpec,
    TaskSpec,
    UpdateInfo,
    utc_now,
    write_manifest,
    write_record,
)
from medleak.inversion.final_model.inversion import Inversion
from medleak.inversion.final_model.references import Training
from medleak.inversion.final_model.run import Question, answer
from medleak.inversion.linkage.run import ask

SIZE, BATCH, LR = 64, 8, 0.01
OTHERS, NOBODY = 96, 120
print_now = functools.partial(print, flush=True)


def main() -> int:
    """Make the federation and ask."""
    parser = parser_of(__doc__)
    for name, value in (("sites", 6), ("images", 24), ("rounds", 4), ("epochs", 1), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--models", type=int, default=4, help="reference models")
    parser.add_argument("--every", type=int, default=2, help="take every n-th public image")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        result = _run(arguments, Path(folder))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))
    return 0


def _run(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    data = DataSet.open(arguments.data)
    world = make_world(data, SIZE, arguments.weights)
    groups = _groups(data, arguments)
    for name, items in groups.items():
        at = folder / "lists" / f"{name}.json"
        at.parent.mkdir(exist_ok=True)
        save_datalist(at, {"training": items})
    # A part of them: references that learnt all would take most of the time.
    files = data.files("public")[:: arguments.every]
    public = [Item(str(f), label, _of(data, f)) for f, label in files]
    save_datalist(folder / "public.json", {"training": public})
    sites = [name for name in groups if name.startswith("site-")]
    asked = [item for name in (*sites, "others") for item in groups[name]]
    save_datalist(folder / "asked.json", {"training": asked})
    records = _train(folder, world.state, {s: groups[s] for s in sites}, data, arguments)
    result: dict[str, Any] = {k: v for k, v in vars(arguments).items() if isinstance(v, int)}
    for k in (1, 3):
        found = ask(records, truth=folder / "lists", k=k)
        for told in found.told:
            print_now(f"k = {k}: {told}")
        result[f"attributes_k{k}"] = [str(t) for t in found.told] + [
            f"not tested: {n}" for n in found.not_tested
        ]
    for score in ("lira", "rmia"):
        start = time.process_time()
        content = answer(
            Question(
                records=records,
                model=folder / "final.pt",
                candidates=folder / "asked.json",
                references=folder / "public.json",
                nonmembers=folder / "lists" / "nobody.json",
                truth=folder / "lists",
                score=score,
                training=Training(models=arguments.models),
                inversion=Inversion() if score == "lira" else None,
                initial=folder / "initial.pt",
                seed=arguments.seed,
            )
        )
        content["cpu_seconds"] = round(time.process_time() - start, 1)
        result[score] = content
        for what in ("membership", "inversion"):
            print_now(f"{score} {what}: {content.get(what, {}).get('verdict')}")
        print_now(f"{content['not_tested']} {content['cpu_seconds']} CPU s")
    return result


def _of(data: DataSet, file: Path) -> str:
    return f"{file.parent.name}/{data._patient(file)}"


def _groups(data: DataSet, arguments: argparse.Namespace) -> dict[str, list[Item]]:
    """Items of sites, others and nobody's, without a common patient."""
    files = data.files("tune") + data.files("report")
    rng = np.random.default_rng(arguments.seed)
    queues: dict[int, list[list[Item]]] = {}
    for label in range(len(data.classes)):
        by: dict[str, list[Item]] = {}
        for file, own in files:
            if own == label:
                by.setdefault(_of(data, file), []).append(Item(str(file), label, _of(data, file)))
        order = rng.permutation(sorted(by)).tolist()
        queues[label] = [by[patient] for patient in order]

    def take(label: int, n: int) -> list[Item]:
        found: list[Item] = []
        while len(found) < n:
            found += queues[label].pop()
        return found[:n]

    groups = {}
    for k in range(arguments.sites):
        share = 0.1 + 0.8 * k / max(1, arguments.sites - 1)
        second = round(share * arguments.images)
        groups[f"site-{k + 1}"] = take(0, arguments.images - second) + take(1, second)
    for name, n in (("others", OTHERS), ("nobody", NOBODY)):
        groups[name] = take(0, n // 2) + take(1, n // 2)
    return groups


def _train(
    folder: Path,
    state: dict[str, Tensor],
    sites: dict[str, Sequence[Item]],
    data: DataSet,
    arguments: argparse.Namespace,
) -> Path:
    records, classes = folder / "records", len(data.classes)
    torch.save(state, folder / "initial.pt")
    write_manifest(
        records,
        Manifest(
            job="inference",
            created=utc_now(),
            model=ModelSpec(path="medleak.custom.networks.resnet18", args={"num_classes": classes}),
            task=TaskSpec(num_classes=classes),
            input=InputSpec(spatial_size=(SIZE, SIZE), channels=1, mean=(0.0,) * 3, std=(1.0,) * 3),
        ),
    )
    pixels = {
        name: torch.stack([load(Path(item.image), SIZE) for item in items])
        for name, items in sites.items()
    }
    for round in range(arguments.rounds):
        sent = {k: v.numpy().copy() for k, v in state.items()}
        local = []
        for k, (name, items) in enumerate(sites.items()):
            labels = torch.tensor([item.label for item in items])
            seed = arguments.seed * 7919 + round * 101 + k
            update, steps = _local(state, classes, pixels[name], labels, seed, arguments.epochs)
            info = UpdateInfo(
                round=round,
                site=name,
                time=utc_now(),
                n_images=len(items),
                n_steps=steps,
                batch_size=BATCH,
                local_epochs=arguments.epochs,
                lr=LR,
                optimizer="sgd",
                augmentation=(),
            )
            write_record(records, info, sent, {n: v - sent[n] for n, v in update.items()})
            local.append(update)
        state = {n: torch.as_tensor(np.mean([u[n] for u in local], 0)) for n in state}
        state = {n: v.to(torch.as_tensor(sent[n]).dtype) for n, v in state.items()}
    torch.save(state, folder / "final.pt")
    return records


def _local(
    state: dict[str, Tensor], classes: int, images: Tensor, labels: Tensor, seed: int, epochs: int
) -> tuple[dict[str, Any], int]:
    network, steps = resnet18(classes).train(), 0
    network.load_state_dict(state)
    optimizer = torch.optim.SGD(network.parameters(), lr=LR)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for batch in torch.randperm(len(images), generator=generator).split(BATCH):
            optimizer.zero_grad()
            out = network(images[batch].expand(-1, 3, -1, -1))
            nn.functional.cross_entropy(out, labels[batch]).backward()
            optimizer.step()
            steps += 1
    return {k: v.detach().numpy() for k, v in network.state_dict().items()}, steps


if __name__ == "__main__":
    sys.exit(main())

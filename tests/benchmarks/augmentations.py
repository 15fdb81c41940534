"""Is anything called clear that leaks? Augmented, misdeclared and protected clients, one line each.

Run it by hand::

    python tests/benchmarks/augmentations.py --clients flip:0-19,rotation:0-19,noise100:12
    python tests/benchmarks/augmentations.py --clients flip:0 --truth other --alone

A client is a kind and the number of its first image in the split, or the first and the last of
several clients. Each makes one step on one image (``--images`` for more), is attacked, and is
judged as an audit does: with the lists of the client and of another one with 100 images
(``--alone``: without), or, ``--truth other``, with a list of images that the client never had. The
last lines count the verdicts of each kind. Exit code 1 if "no leak found" is said of an
unprotected client, or "leaks" of images that it never had.
"""

import argparse
import dataclasses
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from clients import DataSet, World, client_record, load, make_world, parser_of
from torch import Tensor
from torchvision.transforms import functional

from medleak.custom.data.datalist import Item, save_datalist
from medleak.custom.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from medleak.custom.record import InputSpec, Record
from medleak.filters.noise import NoiseSource
from medleak.filters.registry import defence
from medleak.inversion.attacks.row_space import RowSpace, run
from medleak.inversion.audit import health
from medleak.inversion.audit.evaluation import Evaluator
from medleak.inversion.evidence.declared_input import contradiction
from medleak.inversion.images.prior import load_prior
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.measures.similarity import assign
from medleak.inversion.observation import observe
from medleak.inversion.reconstruction import Reconstruction
from medleak.inversion.results.case import Case
from medleak.inversion.results.summary import summarise

_SIZE, _OTHERS = 64, 100
_SMOOTH = functional.InterpolationMode.BILINEAR
AUGMENTATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda x: x,
    "flip": lambda x: x.flip(-1),
    "rotation": lambda x: functional.rotate(x, 12.0, _SMOOTH),
    "crop": lambda x: functional.resized_crop(
        x, 4, 10, 48, 48, [_SIZE, _SIZE], _SMOOTH, antialias=True
    ),
    "shift": lambda x: functional.affine(x, 0.0, [5, -4], 1.0, [0.0]),
}
"""What the network sees; other kinds are ``wrongnorm`` (ImageNet's mean and std declared, none
used), ``nonorm`` (the other way round), ``wrongbatch`` (twice the images declared), ``wronglr`` (a
tenth of the learning rate declared), ``evalnorm`` (batch norms in evaluation mode), and
``noise<strength>``."""
_OTHERWISE = ("wrongnorm", "nonorm", "wrongbatch", "wronglr", "evalnorm")


def recorded(kind: str, world: World, images: Tensor, labels: Tensor) -> tuple[Record, Tensor]:
    """The client's record, and what its network saw."""
    seen = AUGMENTATIONS.get(kind, AUGMENTATIONS["plain"])(images)
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    inputs = (seen - mean) / std if kind == "nonorm" else seen
    record = client_record(world, inputs, labels, frozen_norms=kind == "evalnorm")
    manifest, info = record.manifest, record.info
    if kind == "wrongnorm":
        wrong = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
        spec = manifest.known_input().model_copy(update=wrong)
        manifest = manifest.model_copy(update={"input": spec})
    if kind == "wrongbatch":
        more = 2 * len(images)
        info = info.model_copy(update={"n_images": more, "batch_size": more})
    if kind == "wronglr":
        info = info.model_copy(update={"lr": info.known("lr") / 10})
    update = dict(record.update)
    if kind.startswith("noise"):
        noise = defence(f"percentile_gaussian:sigma0={kind.removeprefix('noise')},scope=group")
        rng = NoiseSource.seeded(0, "benchmark")
        sent = noise(dict(sorted(update.items())), rng=rng, global_state=record.global_state)
        update = {name: np.asarray(value) for name, value in sent.items()}
    return dataclasses.replace(record, manifest=manifest, info=info, update=update), seen


Easy = dict[str, Any]
"""Kind of client -> the attack's result on its easy case, which all clients of a kind share."""


def judged(
    record: Record,
    lists: dict[str, Path | None],
    seconds: float,
    seen: Tensor,
    kind: str,
    cases: Easy,
) -> tuple[str, str]:
    """The kind of the verdict, and a line about the client; ``cases`` is added to."""
    spec: InputSpec = record.manifest.known_input()
    prior = load_prior("phantoms", (_SIZE, _SIZE), 1)
    attack, know = RowSpace(seconds=seconds), Knowledge()

    def attacked(of: Record) -> Reconstruction:
        generator = torch.Generator().manual_seed(0)
        return run(attack, observe(of, know), prior, generator=generator)

    image, label = health.easy_image(spec)
    if kind not in cases:
        cases[kind] = attacked(health.easy_record(record, image, label))
    against = contradiction(observe(record, know))
    checked = dataclasses.asdict(health.judge(0, cases[kind], image, prior, against))
    found = attacked(record)
    rows = Evaluator(lists, spec, prior).rows(
        Case(0, "site-1", "row_space", "none", know.describe(), 0), found, ()
    )
    key = health.key("row_space", know.describe())
    (group,) = summarise(rows, [], {key: checked})["sites"]
    of_seen = assign(found.images[: len(seen)], seen).ssim.mean()
    figures = " ".join(  # a reconstruction too many has no image to be compared with
        f"{row.ssim:.3f} ({row.ssim if row.ssim_listed is None else row.ssim_listed:.3f} listed)"
        for row in rows
        if row.ssim is not None
    )
    words = rows[0].transformation or "as listed"
    text = f"SSIM {figures}, with what was seen {of_seen:.3f}; {words}; {group['verdict']}"
    return group["verdict_kind"], text


def main() -> int:
    """Parse, attack, print."""
    parser = parser_of(__doc__)
    parser.add_argument("--clients", default="plain:0,flip:1,rotation:2,crop:3,shift:4")
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--split", choices=("tune", "report"), default="report")
    parser.add_argument("--truth", choices=("own", "other"), default="own")
    parser.add_argument("--alone", action="store_true", help="no other client's list")
    parser.add_argument("--seconds", type=float, default=12.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = DataSet.open(options.data)
    world = make_world(data, _SIZE, options.weights)
    rng = np.random.default_rng(0)
    files = [data.files(options.split)[i] for i in rng.permutation(len(data.files(options.split)))]
    others = [data.files("public")[i] for i in rng.permutation(len(data.files("public")))]
    wrong, verdicts, cases = 0, Counter[tuple[str, str]](), Easy()
    with tempfile.TemporaryDirectory() as folder:
        for kind, first in _clients(options.clients, parser):
            own = files[first : first + options.images]
            images = torch.stack([load(f, _SIZE) for f, _ in own])
            record, seen = recorded(kind, world, images, torch.tensor([c for _, c in own]))
            told = own if options.truth == "own" else others[-options.images :]
            lists: dict[str, Path | None] = {"site-1": _list(Path(folder) / "own.json", told)}
            if not options.alone:
                lists["site-2"] = _list(Path(folder) / "other.json", others[:_OTHERS])
            verdict, text = judged(record, lists, options.seconds, seen, kind, cases)
            verdicts[kind, verdict] += 1
            clear = verdict == "no_leak_found" and not kind.startswith("noise")
            alarm = verdict == "leaks" and options.truth == "other"
            wrong += clear or alarm
            print(f"{kind:10} {first:3} {'WRONG ' * (clear or alarm)}{text}", flush=True)
    for (kind, verdict), count in sorted(verdicts.items()):
        print(f"{kind}: {verdict} {count}")
    return int(wrong > 0)


def _clients(text: str, parser: argparse.ArgumentParser) -> list[tuple[str, int]]:
    """Kind and first image of each client."""
    found = []
    for word in text.split(","):
        kind, _, numbers = word.partition(":")
        first, _, last = numbers.partition("-")
        if not _known(kind) or not first.isdecimal() or not (last or first).isdecimal():
            parser.error(f"{word!r} is no KIND:FIRST or KIND:FIRST-LAST with a known kind")
        found += [(kind, k) for k in range(int(first), int(last or first) + 1)]
    return found


def _known(kind: str) -> bool:
    return kind in AUGMENTATIONS or kind in _OTHERWISE or kind.startswith("noise")


def _list(path: Path, files: list[tuple[Path, int]]) -> Path:
    items = [Item(str(f), label, str(k)) for k, (f, label) in enumerate(files)]
    save_datalist(path, {"training": items, "validation": []})
    return path


if __name__ == "__main__":
    sys.exit(main())

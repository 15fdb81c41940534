"""The engine on what federations really train: one line a case, as in docs/measurements.

Run it by hand, on an idle machine::

    python tests/benchmarks/federations.py --cases densenet64,groupnorm64 --json figures.json
    python tests/benchmarks/federations.py --cases all --data FOLDER_PER_CLASS

Rows live in ``families/``, a file a family with ``CASES: dict[str, Case]``. A case (`frame.Case`)
is a function of (images, seed) -> `frame.Client`, which is a record, the images that the network
saw, and a prior; an attack, by default what ``medleak audit`` runs; and what it must reach. To add
rows, write such a file and name it in `FAMILIES`. `frame.trained` trains a global model on public
images (kept in the temporary folder), `record_of_round` trains a client for a round and reads
its record back; a case that needs other things does them itself.

Attacked images were used neither for training nor for any choice of settings (``clients.py`` splits
the set; ``--split tune`` is there for choosing). One thread, CPU seconds. The JSON file is a list
of {case, ssim_mean, ssim_min, psnr_mean, prior_mean, label_accuracy, cpu_seconds, images, stuck,
unmarked, missed, refused}; *unmarked* counts clients below prior + 0.05 that were not marked stuck;
*refused* is the sentence of an attack that does not apply. Exit code 1 if a case misses what it
must reach.
"""

import argparse
import dataclasses
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from clients import DataSet, parser_of
from families.frame import Case, Images
from families.measuring import Result, measure

FAMILIES = ("networks", "norms", "optimisers", "transformers", "volumes", "batches", "published")
"""Modules of ``families/`` with rows."""


def cases() -> dict[str, Case]:
    """Of all families."""
    found: dict[str, Case] = {}
    for family in FAMILIES:
        rows = importlib.import_module(f"families.{family}").CASES
        if twice := found.keys() & rows.keys():
            raise ValueError(f"Two families have a case {sorted(twice)[0]!r}.")
        found |= rows
    return found


def main() -> int:
    """Parse, measure, print."""
    parser = parser_of(__doc__)
    parser.add_argument("--cases", default="all", help="comma-separated; 'all', or how they begin")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--split", choices=("tune", "report"), default="report")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clients", type=int, help="a case, instead of its own number")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images = Images(
        DataSet.open(arguments.data),
        arguments.split,
        arguments.weights if arguments.weights.is_file() else None,
    )
    results: list[dict[str, Any]] = []
    for name, case in _chosen(arguments.cases, parser).items():
        if arguments.clients:
            case = dataclasses.replace(case, clients=arguments.clients)
        found = measure(name, case, images, arguments.seed, _tell)
        _print(found)
        results.append(dataclasses.asdict(found))
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1))
    return int(any(r["missed"] for r in results))


def _chosen(text: str, parser: argparse.ArgumentParser) -> dict[str, Case]:
    known = cases()
    chosen: dict[str, Case] = {}
    for word in text.split(","):
        names = [n for n in known if word in ("all", n)] or [n for n in known if n.startswith(word)]
        if not names:
            parser.error(f"unknown case {word!r}; known: {', '.join(known)}")
        chosen |= {n: known[n] for n in names}
    return chosen


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _print(r: Result) -> None:
    if r.ssim_mean is None or r.ssim_min is None or r.psnr_mean is None or r.prior_mean is None:
        print(f"{r.case:22} refused: {r.refused}", flush=True)
        return
    labels = "-" if r.label_accuracy is None else f"{r.label_accuracy:.0%}"
    print(
        f"{r.case:22} SSIM {r.ssim_mean:.3f} (min {r.ssim_min:.3f}) {r.psnr_mean:.1f} dB "
        f"prior {r.prior_mean:.3f} labels {labels} {r.cpu_seconds:.1f} s {r.images} images "
        f"{r.stuck} stuck {'; '.join(r.missed) or 'met'}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())

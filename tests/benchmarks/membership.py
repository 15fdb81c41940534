"""How well members of one update are told from others, real images: ``--cases`` of a table.

    python tests/benchmarks/membership.py --cases sgd-32,adam-32 --data DIR --json FILE

Patients of the ``tune`` and ``report`` splits (`clients.DataSet`) are drawn at random into four
groups: members, those of the client that had neither group (the null), others, and certain
non-members. The global model was trained on ``public`` images alone. ``--json`` writes a list of
{case, auc_mean, tpr_1, tpr_01, null_auc, null_ok, seconds_per_candidate, auc, missed, draws};
seconds are of CPU, on one thread, over all candidates, nulls and layers of a case. Draws that the
file has already are not made again, so that a long case can be run one by one: ``--draws 0``, then
``--draws 1``.
"""

import argparse
import json
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from clients import DataSet, make_world, parser_of
from members.cases import CASES, Client
from members.measuring import draw, summed
from members.training import trained_state


def main() -> int:
    """Run cases; exit code 1 if one misses what it must reach."""
    parser = parser_of(__doc__)
    parser.add_argument("--cases", default="all", help="names or beginnings of names, by commas")
    parser.add_argument("--json", type=Path, help="is gone on with where it exists")
    parser.add_argument("--score", default="row_space")
    parser.add_argument("--draws", default="0,1,2", help="of each case, by commas")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    done = _done(arguments.json)
    chosen = _chosen(arguments.cases, parser)
    for name in chosen:
        key = name, arguments.score
        made = {one["seed"]: one for one in done.get(key, {}).get("draws", [])}
        for seed, told in _draws(CASES[name], arguments, made):
            made[seed] = told
            found = [made[k] for k in sorted(made)]
            done[key] = summed(name, CASES[name], arguments.score, found)
            if arguments.json:
                arguments.json.write_text(json.dumps(list(done.values()), indent=1))
        print(_line(done[key]), flush=True)
    return int(any(done[name, arguments.score]["missed"] for name in chosen))


def _done(path: Path | None) -> dict[tuple[str, str], Any]:
    if path is None or not path.exists():
        return {}
    return {(row["case"], row["score"]): row for row in json.loads(path.read_text())}


def _chosen(text: str, parser: argparse.ArgumentParser) -> list[str]:
    chosen: dict[str, None] = {}
    for word in text.split(","):
        names = [n for n in CASES if word in ("all", n)] or [n for n in CASES if n.startswith(word)]
        if not names:
            parser.error(f"unknown case {word!r}; known: {', '.join(CASES)}")
        chosen |= dict.fromkeys(names)
    return list(chosen)


def _draws(
    client: Client, arguments: argparse.Namespace, made: Collection[int]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Those that are asked for and not among ``made``."""
    left = [seed for seed in map(int, arguments.draws.split(",")) if seed not in made]
    if not left:
        return
    data = DataSet.open(arguments.data)
    if client.model == "resnet18":
        state = make_world(data, client.size, arguments.weights).state
    else:
        state = trained_state(client, data)
    for seed in left:
        yield seed, draw(client, data, state, seed, arguments.score)


def _line(r: dict[str, Any]) -> str:
    return (
        f"{r['case']:24} AUC {r['auc_mean']:.4f} {r['auc']} TPR at 1 % {r['tpr_1']:.2f}, at 0.1 % "
        f"{r['tpr_01']:.2f}; null {r['null_auc']:.3f} {r['null_ok']}; "
        f"{r['seconds_per_candidate']:.3f} CPU-s a candidate; {'; '.join(r['missed']) or 'met'}"
    )


if __name__ == "__main__":
    sys.exit(main())

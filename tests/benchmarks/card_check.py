"""Does a full audit of real images say what a card said of phantoms?

Run it by hand, after the cards were made::

    python tests/benchmarks/card_check.py docs/cards/nvflare-tmi.yaml docs/cards/frozen-norm.yaml \\
        --cards workspace/cards --seconds 120 --json figures.json

The clients of each description are trained once more, on real X-rays of the split ``report`` (the
global model and the prior on ``public``), and their bare updates audited with ``--seconds`` for an
attack, two seeds, and the question who was in. It agrees where both say that images leak, both say
that members are told, or neither; "not known" of either agrees with nothing and is said.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from clients import DataSet, load, parser_of

from medleak.custom.data.datalist import Item
from medleak.inversion.audit.plan import Plan
from medleak.inversion.audit.run import audit
from medleak.inversion.card.config import CardConfig, read_card
from medleak.inversion.card.simulate import simulate
from medleak.inversion.images.pictures import save_png, to_picture
from medleak.inversion.membership.assessor import Question
from medleak.inversion.report.reading import read_audit
from medleak.inversion.report.verdicts import Light, light_of


class Films:
    """Real films by patient: the card's public seeds have ``public``, its sites the rest."""

    def __init__(self, data: DataSet) -> None:
        self._rng = np.random.default_rng(0)
        self._public, self._own = self._by_patient(data, "public"), self._by_patient(data, "report")
        self._own |= self._by_patient(data, "tune")

    def _by_patient(self, data: DataSet, split: Any) -> dict[str, list[Item]]:
        found: dict[str, list[Item]] = {}
        for file, label in data.files(split):
            patient = file.stem.split("_")[0]
            found.setdefault(patient, []).append(Item(str(file), label, patient))
        return {p: found[p] for p in self._rng.permutation(list(found))}

    def __call__(self, config: CardConfig, root: Path, seed: int, n: int) -> list[Item]:
        """``n`` films of patients whom no other call had."""
        patients = self._public if seed == 10_000 else self._own
        drawn: list[Item] = []
        while len(drawn) < n:
            drawn += patients.pop(next(iter(patients)))[: n - len(drawn)]
        return drawn


def full(config: CardConfig, data: DataSet, seconds: float, root: Path) -> dict[str, Any]:
    """What a full audit of the same clients with real films says."""
    made = simulate(config, root, draw=Films(data))
    prior = root / "prior.png"
    size = config.input_spec().spatial_size[0]
    films = torch.stack([load(f, size) for f, _ in data.files("public")])
    save_png(prior, to_picture(films.mean(0)))
    question = Question(candidates=made.candidates, nonmembers=made.nonmembers, truth=made.truth)
    plan = Plan(
        records=made.records,
        out=root / "audit",
        attacks=[f"row_space:seconds={seconds:g}"],
        seeds=(0, 1),
        prior=str(prior),
        truth=made.truth,
        question=question,
        scores=["row_space"],
    )
    for outcome in audit(plan):
        if outcome.refused:
            print(f"  refused: {outcome.case.site}, {outcome.case.attack}: {outcome.refused}")
    found = read_audit(plan.out)
    judged = [light_of(g, found.health) for g in found.overall]
    light = min((one for one, _ in judged), key=lambda one: one.severity, default=Light.NOT_KNOWN)
    rows = [r for r in found.rows if r.ssim is not None]
    return {
        "light": light.value,
        "images": len(rows),
        "whole": sum((r.ssim or 0) >= 0.9 for r in rows),
        "ssim": sum(r.ssim or 0 for r in rows) / len(rows) if rows else None,
        "prior": sum(r.ssim_prior or 0 for r in rows) / len(rows) if rows else None,
        "members": sorted(m.kind or "inconclusive" for m in found.membership),
    }


def leaks(light: str, members: list[str]) -> bool | None:
    """Whether images or members leak; None: it is not known."""
    if light == Light.LEAKS.value or "leaks" in members:
        return True
    return False if light == Light.NONE_FOUND.value else None


def main() -> None:
    """Check the descriptions that are named."""
    parser = parser_of(__doc__)
    parser.add_argument("configs", type=Path, nargs="+")
    parser.add_argument("--cards", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    data = DataSet.open(args.data)
    found = []
    for path in args.configs:
        card = json.loads((args.cards / path.stem / "card.json").read_bytes())
        bare = card["recipients"][0]
        root = Path(tempfile.mkdtemp())
        try:
            audited = full(read_card(path), data, args.seconds, root)
        finally:
            shutil.rmtree(root)
        said = leaks(bare["light"], list(card["membership"]["kinds"]))
        seen = leaks(audited["light"], audited["members"])
        agrees = "not known" if None in (said, seen) else "agrees" if said is seen else "differs"
        line = {
            "card": path.stem,
            "said": bare["light"],
            "said_members": card["membership"]["kinds"],
            "card_ssim": bare["ssim"],
            **audited,
            "agrees": agrees,
        }
        found.append(line)
        print(json.dumps(line), flush=True)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

"""What a score tells of one draw of a case: members against others, and the null."""

import functools
import time
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from clients import DataSet
from numpy.typing import NDArray
from torch import Tensor

from medleak.custom.intervals import bootstrap_of
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.membership.assessment import Group, halves, scored
from medleak.inversion.membership.calibration import recognised
from medleak.inversion.membership.roc import auc, separation
from medleak.inversion.membership.scores.registry import score_of
from medleak.inversion.observation import observe
from members.cases import Client
from members.drawing import Pixels
from members.training import records_of


def draw(
    client: Client, data: DataSet, state: Mapping[str, Tensor], seed: int, score: str
) -> dict[str, Any]:
    """Figures of draw ``seed``, for a file; seconds are of CPU, a candidate and update."""
    n = client.images
    members, neither, others, certain = Pixels(data, client.size).groups(
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
    gain: dict[str, float] = {}
    for which, records in enumerate(records_of(client, data, state, (members, neither), seed)):
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
            gain = _gain(result.scores, ask(seen[-1:]).scores, member, candidates.patients)
    assert found is not None
    told, null = separations
    return {
        "seed": seed,
        "auc": told.auc.value,
        "tpr_1": told.tpr["tpr_1"].value,
        "tpr_01": told.tpr["tpr_01"].value,
        "null": null.auc.value,
        "null_ok": null.auc.lower95 <= 0.5 <= null.auc.upper95,
        "seconds": found[1],
        "recognised": recognised(list(found[0].patients.values()), 0.05),
        "gain": gain,
    }


def summed(name: str, client: Client, score: str, draws: Sequence[dict[str, Any]]) -> Any:
    """The row of a case: means over its draws, and what it missed of what it must reach."""

    def mean(what: str) -> float:
        return float(np.mean([d[what] for d in draws]))

    found: dict[str, Any] = {
        "case": name,
        "score": score,
        "auc_mean": mean("auc"),
        "tpr_1": mean("tpr_1"),
        "tpr_01": mean("tpr_01"),
        "null_auc": mean("null"),
        "null_ok": [d["null_ok"] for d in draws],
        "seconds_per_candidate": mean("seconds"),
        "auc": [round(d["auc"], 4) for d in draws],
        "recognised": [d["recognised"] for d in draws],
        "gain": [d["gain"] for d in draws if d["gain"]],
        "draws": list(draws),
    }
    missed = [
        f"joined no better than one: {gain['gain']:+.3f}"
        for gain in found["gain"]
        if not gain["lower95"] > 0
    ]
    for figure, least in (("auc_mean", client.auc), ("tpr_1", client.tpr)):
        if least is not None and found[figure] < least:
            missed.append(f"{figure} {found[figure]:.3f} < {least}")
    return found | {"missed": missed}


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

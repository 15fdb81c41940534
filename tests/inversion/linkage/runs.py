"""Runs in small: sites whose updates lean to what their patients are like, and to themselves."""

from pathlib import Path

import numpy as np

from medleak.custom.data.datalist import Item, save_datalist
from medleak.custom.record import Manifest, UpdateInfo, utc_now, write_manifest, write_record


def a_run(folder: Path, *, sites: int = 6, rounds: int = 3, signal: float = 3.0) -> Path:
    """A workspace with ``records`` and ``truth``; site-k has k of ``sites`` images of class 1."""
    rng = np.random.default_rng(0)
    records = folder / "records"
    write_manifest(records, Manifest(job="linked", created=utc_now()))
    names = [f"site-{k}" for k in range(1, sites + 1)]
    direction, own = rng.normal(size=(8, 8)), rng.normal(size=(sites, 8, 8))
    for k, name in enumerate(names):
        labels = [int(i < k) for i in range(sites)]
        items = [Item(f"Doe_{i}.png", label, f"Doe_{i}") for i, label in enumerate(labels)]
        save_datalist(folder / "truth" / f"{name}.json", {"training": items})
    for round in range(rounds):
        state = {"w": rng.normal(size=(8, 8)).astype(np.float32)}
        for k, name in enumerate(names):
            lean = signal * (k / sites * 4 * direction + 0.7 * own[k])
            update = {"w": (lean + rng.normal(size=(8, 8))).astype(np.float32)}
            info = UpdateInfo(round=round, site=name, time=utc_now())
            write_record(records, info, state, update)
    return folder

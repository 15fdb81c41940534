"""Many clients at once, each attack in a process of its own, as ``medleak audit --jobs`` does it.

Run by ``attacks.py --cases many224 --device cuda``: how many updates a minute one GPU inverts, and
what memory that takes.
"""

import dataclasses
import functools
import os
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from clients import DataSet, Split, client_record, make_world

from medleak.inversion.attacks.row_space import RowSpace, run
from medleak.inversion.audit.workers import pool
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.measures.similarity import assign, pairwise_ssim
from medleak.inversion.observation import observe
from medleak.inversion.reconstruction import ProgressCallback, Reconstruction

_CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Setting:
    """What a process needs to make its clients."""

    data: Path
    weights: Path
    size: int
    split: Split
    seed: int
    clients: int
    device: str


def many224(
    data: Path,
    weights: Path,
    *,
    clients: int = 64,
    jobs: int = min(_CORES, 8),
    split: Split = "report",
    seed: int = 0,
    device: str = "cpu",
) -> dict[str, Any]:
    """``clients`` of one image at 224 px, ``jobs`` at a time; wall seconds, starts included.

    Where the split has fewer images, they come again, with another seed of the attack.
    """
    setting = Setting(data, weights, 224, split, seed, clients, device)
    world = make_world(DataSet.open(data), setting.size, weights)  # trained once, before the clock
    truth, _ = world.images(split, seed, clients)
    start, found, memory = time.perf_counter(), {}, _Memory(device)
    tasks = list(range(clients))
    for done in pool.at_once(tasks, functools.partial(_attacker, setting), jobs):
        if done.refused:
            raise RuntimeError(done.refused)
        found[done.task] = done.result
    seconds = time.perf_counter() - start
    ssims = [float(assign(found[k].images, truth[[k % len(truth)]]).ssim) for k in tasks]
    figures = {
        "case": "many224",
        "ssim_mean": statistics.mean(ssims),
        "ssim_min": min(ssims),
        "prior_mean": float(pairwise_ssim(world.prior, truth)[0].mean()),
        "label_accuracy": None,
        "cpu_seconds": seconds / clients,
        "images": clients,
        "stuck": sum(r.stuck for r in found.values()),
        "attempts": sum(r.attempts for r in found.values()),
        "cases_per_minute": 60 * clients / seconds,
        "peak_memory_gib": memory.peak(),
        "jobs": jobs,
        "per_image": [round(s, 4) for s in ssims],
    }
    print({k: v for k, v in figures.items() if k != "per_image"}, flush=True)
    return figures


class _Memory:
    """Follows the used memory of a GPU, of all processes; nothing on a CPU."""

    def __init__(self, device: str) -> None:
        self._device, self._peak, self._over = device, 0, threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        if device != "cpu":
            self._thread.start()

    def _follow(self) -> None:
        while not self._over.wait(0.2):
            free, total = torch.cuda.mem_get_info(self._device)
            self._peak = max(self._peak, total - free)

    def peak(self) -> float | None:
        """GiB."""
        self._over.set()
        return self._peak / 2**30 if self._peak else None


def _attacker(
    setting: Setting, number: int
) -> Callable[[int, ProgressCallback | None], Reconstruction]:
    torch.set_num_threads(1)
    world = make_world(DataSet.open(setting.data), setting.size, setting.weights)
    images, labels = world.images(setting.split, setting.seed, setting.clients)

    def attack(k: int, on_progress: ProgressCallback | None) -> Reconstruction:
        own = slice(k % len(images), k % len(images) + 1)
        record = client_record(world, images[own], labels[own])
        observation = observe(record, Knowledge(), device=setting.device)
        generator = torch.Generator().manual_seed(setting.seed + k)
        found = run(RowSpace(), observation, world.prior, generator=generator)
        return dataclasses.replace(found, history=torch.zeros(0))

    return attack

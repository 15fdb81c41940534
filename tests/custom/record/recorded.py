"""A small record, and what somebody may do to its files, for several tests."""

import os
import time
from pathlib import Path

import numpy as np

from medleak.custom.record import Manifest, UpdateInfo, utc_now, write_manifest, write_record

STATE = {"w": np.arange(600, dtype=np.float32)}


def info(round: int, site: str) -> UpdateInfo:
    return UpdateInfo(round=round, site=site, time=utc_now())


def record(root: Path, rounds=(0, 1, 2), sites=("a", "b"), **kwargs) -> Path:
    """Updates of ``rounds`` x ``sites``; each round has a model of its own."""
    write_manifest(root, Manifest(job="x", created=utc_now()))
    for round in rounds:
        sent = {"w": STATE["w"] + round}
        for k, site in enumerate(sites):
            write_record(root, info(round, site), sent, {"w": STATE["w"] * k}, **kwargs)
    return root


def aged(root: Path) -> Path:
    """``root`` when its files are no longer new; their ``ctime`` nobody can set."""
    newest = max(path.stat().st_ctime for path in root.rglob("*"))
    time.sleep(max(newest + 0.06 - time.time(), 0))
    return root


def flip(path: Path, *, hide: bool = False) -> None:
    """Change the last byte; with ``hide`` the file has its length and time of before."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    if hide:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

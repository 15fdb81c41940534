"""By what a file is known to be the one that was read before, without reading it again."""

import os
import stat
import time
from pathlib import Path

SETTLED = 2.0
"""Seconds that a file must be old: later changes may have the same time stamp as the last one."""

Fingerprint = list[int]
"""Size, ``mtime_ns``, ``ctime_ns``, inode, device; a list, as JSON gives it back."""


def fingerprint(path: Path) -> Fingerprint | None:
    """Of a plain file; None where there is none.

    Raises:
        OSError: It is something else: a link, a folder, or nothing that can be looked at.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{path} is not a plain file")
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev]


def settled(found: Fingerprint, now: float | None = None) -> bool:
    """Whether every change after ``now`` (seconds; None: the time) shows in the fingerprint.

    The file system sets ``ctime`` by itself whenever a file is written to, renamed or linked; but
    two changes within one tick of its clock have one time. On Windows ``ctime`` is when the file
    was made, so nothing is settled there.
    """
    now = time.time() if now is None else now
    return os.name == "posix" and found[2] < (now - SETTLED) * 1e9

"""Is it the network that this site approved, or that it saw first?

The statistic is the number of entries that differ in name, shape or dtype; it has no false alarms
while a run does not change its network.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from medleak.filters.sentinel.layers import State
from medleak.filters.sentinel.result import Result, not_examined

CHECK = "structure"


def described(state: State) -> dict[str, list[object]]:
    """Shape and dtype of each entry; an averaging server turns integers into floats and back."""
    return {n: [list(v.shape), _dtype(n, v.dtype.str[1:])] for n, v in state.items()}


def fingerprint(structure: Mapping[str, list[Any]]) -> str:
    """SHA-256 of names, shapes and dtypes, whatever their order: files sort them differently."""
    text = json.dumps(sorted(structure.items()), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def check(state: State, approved: str | None, first: Mapping[str, list[Any]] | None) -> Result:
    """Compare with the hash that the operator approved, and with the first model of this run."""
    now = described(state)
    if approved is not None and fingerprint(now) != approved:
        words = f"its hash is {fingerprint(now)[:12]}…, the site approved {approved[:12]}…"
        return Result(check=CHECK, status="odd", words=words, statistic=1.0, limit=0.0)
    if first is None:
        if approved is not None:
            return Result(check=CHECK, status="fine", words="as approved", statistic=0.0)
        return not_examined(CHECK, "first sight, nothing was approved: pinned from now on")
    changed = [n for n in {**first, **now} if first.get(n) != now.get(n)]
    if changed or list(first) != list(now):
        what = changed[0] if changed else "the order of its entries"
        words = f"{len(changed)} entries are not as in this run's first model, such as {what:.80}"
        return Result(
            check=CHECK, status="odd", words=words, where=what, statistic=len(changed), limit=0.0
        )
    return Result(check=CHECK, status="fine", words="as at first sight", statistic=0.0)


def _dtype(name: str, dtype: str) -> str:
    return "counter" if name.endswith("num_batches_tracked") else dtype

"""An update as a short vector: what sites have in common is taken away, and sizes are kept out."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BINS = 128
"""Numbers a tensor; inner products of two are kept to about 1 / sqrt(BINS)."""


def sketch(update: Mapping[str, NDArray[np.generic]]) -> dict[str, Floats]:
    """Each tensor of numbers as [BINS] sums of its entries with random signs; counters are left.

    Inner products survive such sums in expectation. Signs and places depend on the tensor's name
    and size alone, so that updates of all sites and rounds can be compared.

    Source: Weinberger et al. 2009, arXiv:0902.2206v5 (feature hashing).
    """
    found = {}
    for name, value in update.items():
        if not np.issubdtype(value.dtype, np.floating) or name.endswith("num_batches_tracked"):
            continue
        flat = np.asarray(value, dtype=np.float64).ravel()
        seed = hashlib.sha256(f"{name} {len(flat)}".encode()).digest()[:8]
        rng = np.random.default_rng(int.from_bytes(seed, "big"))
        places, signs = rng.integers(BINS, size=len(flat)), rng.choice([-1.0, 1.0], len(flat))
        found[name] = np.bincount(places, weights=flat * signs, minlength=BINS)
    return found


def features(sketches: Sequence[Mapping[str, Floats]]) -> Floats:
    """[N, D] of N updates of one round: each minus the mean of all, each tensor of mean length 1.

    What is common to a round (where the model is on its way) says nothing of a site.
    """
    names = [n for n in sketches[0] if all(n in s for s in sketches)]
    parts = []
    for name in names:
        each = np.stack([s[name] for s in sketches])
        each = each - each.mean(0)
        length = float(np.sqrt(np.square(each).sum(1).mean()))
        if length > 0 and np.isfinite(length):
            parts.append(each / length)
    return np.concatenate(parts, axis=1) if parts else np.zeros((len(sketches), 0))

"""Error feedback: what compression left out of one round is added to the next."""

from collections.abc import Mapping

import numpy as np

from medleak.filters.defences.defence import Defence
from medleak.filters.noise import NoiseSource
from medleak.filters.update import Update, UpdateError, Value, kinds


def compress_with_feedback(
    compress: Defence,
    update: Update,
    memory: Update,
    *,
    rng: NoiseSource,
    global_state: Mapping[str, object] | None = None,
) -> tuple[dict[str, Value], dict[str, Value]]:
    """Compress ``update`` + ``memory``; return what is sent and the memory for the next round.

    sent + next memory = update + memory, up to rounding in the update's dtype: nothing is lost, it
    only comes later. The memory holds raw training information: it must stay at the site.
    No guarantee: over many rounds, the sum of what is sent approaches the bare updates.

    Args:
        compress: A compressing defence that does not rescale (``random_k`` with ``rescale`` and
            feedback diverge).
        update: This round's update; not modified.
        memory: What earlier rounds left out; empty in the first. Counters are never in it.
        rng: Noise of the compression.
        global_state: As for the defence.

    Raises:
        UpdateError: The memory has names or shapes that the update has not; or as the defence does.

    Source: Karimireddy et al. 2019, arXiv:1901.09847v2, Algorithm 2; Stich et al. 2018,
    arXiv:1809.07599v2.
    """
    if getattr(compress, "rescale", False):
        raise UpdateError("random_k must not rescale under error feedback: set rescale=false.")
    for name, value in memory.items():
        if name not in update or np.shape(update[name]) != np.shape(value):
            raise UpdateError(
                f"The error feedback on disk holds {name} of shape {np.shape(value)}, which this "
                "update has not: it is of another model. Remove its folder, or name another one."
            )
    corrected = {n: _plus(v, memory.get(n)) for n, v in update.items()}
    sent = compress(corrected, rng=rng, global_state=global_state)
    kind_of = kinds(update)
    left: dict[str, Value] = {}
    for name, value in sent.items():
        if kind_of[name] != "counter":
            whole = corrected.pop(name)  # popped, so that both are not held for all names at once
            left[name] = (whole - value).astype(value.dtype)
    return sent, left


def _plus(value: Value, more: Value | None) -> Value:
    return value if more is None else (value + more).astype(value.dtype)

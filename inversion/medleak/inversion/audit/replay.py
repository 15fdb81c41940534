"""What the attacker of a case is given instead of the recorded update, see `replay_of`."""

import dataclasses
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medleak.custom.record import Record, UpdateInfo, list_updates
from medleak.filters.buffers import keep_variances_positive
from medleak.filters.noise import NoiseSource
from medleak.filters.update import kinds
from medleak.inversion.results.case import NO_DEFENCE, Case
from medleak.inversion.results.replays import Replay, replay_of, require_sites

_SAME = ("lr", "momentum", "weight_decay", "optimizer", "betas", "eps", "clip_norm")
_SAME += ("accumulation_steps", "precision", "state_kept", "local_epochs")


def summed_sites(records: Path, case: Case, round: int) -> list[str]:
    """The sites whose sum the attacker of ``case`` sees in ``round``: the case's own comes first.

    The others are drawn by the case's seed among those that sent an update in that round, so that
    several seeds say how much the company matters.

    Raises:
        ValueError: Fewer sites sent an update than are to be summed.
    """
    wanted = 1 if case.defence == NO_DEFENCE else replay_of(case.defence).sites
    if wanted == 1:
        return [case.site]
    sites = [site for r, site in list_updates(records) if r == round]
    require_sites(wanted, len(sites), round)
    others = sorted(set(sites) - {case.site})
    draw = random.Random(f"{case.seed}|{round}|{case.site}|{wanted}")
    return [case.site, *draw.sample(others, wanted - 1)]


def replayed(case: Case, round: int, sites: Sequence[str], read: Callable[[str], Record]) -> Record:
    """The record that the attacker of ``case`` has of ``round``.

    Args:
        case: Its defence says what is replayed.
        round: That of the case, or an earlier one of an attack that joins rounds.
        sites: See `summed_sites`.
        read: The record of a site in that round.
    """
    if case.defence == NO_DEFENCE:
        return read(case.site)
    replay = replay_of(case.defence)
    record = summed([_protected(read(site), case, replay) for site in sites])
    if replay.noise_alone:
        rng = np.random.default_rng([case.seed, round, case.stream % 2**32])
        record = dataclasses.replace(record, update=_shuffled(record, rng))
    return record


def _protected(record: Record, case: Case, replay: Replay) -> Record:
    if replay.at_site is None:
        return record
    info = record.info
    # Not of the attack or its knowledge: all attackers of a seed see the same noise.
    rng = NoiseSource.seeded(case.seed, info.round, info.site, replay.own)
    sent = replay.at_site(record.update, rng=rng, global_state=record.global_state)
    return dataclasses.replace(record, update={n: np.asarray(v) for n, v in sent.items()})


def summed(records: Sequence[Record]) -> Record:
    """What a server has of several sites' updates where it can see nothing but their sum.

    FedAvg's mean, weighted by the sites' images where all say how many they have. An entry that a
    site left out counts as no change there, as in the sum. Counters, which are no mean, are the
    largest. The record is that of one client with all the images, as the attacker has to take it:
    its batch is what all sites together pass in a step.

    Args:
        records: At least one, of one round; the first gives what all have alike.
    """
    first = records[0]
    if len(records) == 1:
        return first
    images = [r.info.n_images for r in records]
    known = [n for n in images if n is not None]
    weights = known if len(known) == len(images) else [1] * len(images)
    kind_of = kinds([*first.global_state, *(name for r in records for name in r.update)])
    names = dict.fromkeys(name for r in records for name in r.update)
    update = {name: _mean(name, records, weights, kind_of[name] == "counter") for name in names}
    return dataclasses.replace(first, update=update, info=_together(records))


def _mean(
    name: str, records: Sequence[Record], weights: Sequence[int], counts: bool
) -> np.ndarray[Any, Any]:
    there = [(r.update[name], w) for r, w in zip(records, weights, strict=True) if name in r.update]
    values = [value for value, _ in there]
    if counts or not np.issubdtype(values[0].dtype, np.floating):
        return np.maximum.reduce(values)
    total = np.zeros(values[0].shape, dtype=np.float64)
    for value, weight in there:
        total += np.asarray(value, dtype=np.float64) * weight
    return (total / sum(weights)).astype(values[0].dtype)


def _together(records: Sequence[Record]) -> UpdateInfo:
    """The schedule of the one client that the sum is taken for."""
    infos = [r.info for r in records]
    images = [i.n_images for i in infos]
    batches = [i.batch_size for i in infos]
    told: dict[str, Any] = dict.fromkeys(("n_images", "batch_size", "n_steps"))
    if all(images):
        told["n_images"] = total = sum(filter(None, images))
        if all(batches):
            pairs = zip(images, batches, strict=True)
            steps = max(math.ceil((n or 1) / (b or 1)) for n, b in pairs)
            told["batch_size"] = math.ceil(total / steps)
    if all(i.n_steps for i in infos):
        told["n_steps"] = max(i.n_steps or 0 for i in infos)
    for name in _SAME:
        values = {getattr(i, name) for i in infos}
        told[name] = values.pop() if len(values) == 1 else None
    given = infos[0].model_dump(by_alias=True) | told
    sources = {f: s for f, s in infos[0].sources.items() if given.get(f) is not None}
    return UpdateInfo.model_validate(given | {"sources": sources})


def _shuffled(record: Record, rng: np.random.Generator) -> dict[str, np.ndarray[Any, Any]]:
    """The update with the entries of each tensor in random order; counters as they are.

    Where the update is noise already this changes nothing of its distribution.
    """
    kind_of = kinds([*record.global_state, *record.update])
    found = {
        name: value
        if kind_of[name] == "counter" or not np.issubdtype(value.dtype, np.floating)
        else rng.permutation(value.ravel()).reshape(value.shape)
        for name, value in record.update.items()
    }
    kept = keep_variances_positive(found, kind_of, record.global_state)
    return {name: np.asarray(value) for name, value in kept.items()}

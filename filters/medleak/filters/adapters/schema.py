"""What may leave beside an update under an ε: a fixed schema, and what is disclosed on purpose.

A mechanism's ε covers the numbers that it noised. Names, order, types and metadata are chosen by
the training script, which has seen the images: left free, they carry kilobits past the noise. So
once a filter with a guarantee has run, an update leaves in the order, dtypes and containers of the
server's own model, without batch counters, and its metadata is what medleak's filters wrote. What a
site *discloses* is checked to be plain numbers, and named in the statement of its guarantee.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from nvflare.apis.dxo import MetaKey

from medleak.filters import checks
from medleak.filters.update import DECLARED, UpdateError, Value, batches_of, fixed_entries, kinds

LEDGER = "medleak_ledger"
SCHEDULE = "hp"  # how the client says that it trained; a record keeps it
Disclosed = Literal["schedule", "metrics"]

BESIDE: dict[str, tuple[str, ...]] = {
    "schedule": (
        *("number of images", "number of steps", "batch size", "local epochs"),
        *("learning rate", "momentum", "weight decay", "optimizer"),
    ),
    "metrics": ("scores of the global model on this site's images",),
}
_COUNTS = ("n_images", "n_steps", "batch_size", "local_epochs")
_RATES = ("lr", "momentum", "weight_decay")
_OPTIMIZERS = ("sgd", "sgd_fedprox", "dp_sgd")
_CANARIES = ("gradients", "images")
_SCORES = 16  # most metrics that leave together


def check_disclosed(disclose: Sequence[str]) -> tuple[str, ...]:
    """``disclose`` as a tuple; ValueError unless each is ``schedule`` or ``metrics``."""
    if isinstance(disclose, str):
        raise ValueError(f"disclose must be a list, got {disclose!r}.")
    for one in disclose:
        checks.require_choice("disclose", one, tuple(BESIDE))
    return tuple(disclose)


def beside(disclosed: Iterable[str]) -> tuple[str, ...]:
    """In words, what leaves exactly when ``disclosed`` does."""
    return tuple(word for one in BESIDE if one in set(disclosed) for word in BESIDE[one])


def in_the_models_form(update: Mapping[str, Value], state: Mapping[str, Any]) -> dict[str, Value]:
    """``update`` in the order and dtypes of the model; counters exact, fixed entries left out.

    Runs before noise is added: rounding to a narrower type afterwards could take it away.

    Raises:
        UpdateError: A value does not fit into the model's dtype.
    """
    kind_of = kinds(update)
    counted = batches_of(update, state)
    fixed = fixed_entries(update) | fixed_entries(state)
    formed: dict[str, Value] = {}
    for name in (n for n in state if n in update and n not in fixed):
        if kind_of[name] == "counter":
            before = np.asarray(state[name])
            formed[name] = _like(counted[name] - before % 1, update[name], before.dtype)
        else:
            formed[name] = _fit(name, update[name], np.asarray(state[name]).dtype)
    return formed


def permitted_meta(meta: Mapping[str, Any], disclosed: Iterable[str]) -> dict[str, Any]:
    """Of ``meta``, what may leave under an ε.

    Raises:
        UpdateError: What is disclosed holds something else than the numbers that it should.
    """
    kept = {k: meta[k] for k in (DECLARED, LEDGER) if k in meta}
    if "schedule" in disclosed:
        if SCHEDULE in meta:
            kept[SCHEDULE] = _plain_schedule(meta[SCHEDULE])
        if MetaKey.NUM_STEPS_CURRENT_ROUND in meta:
            steps = meta[MetaKey.NUM_STEPS_CURRENT_ROUND]
            kept[MetaKey.NUM_STEPS_CURRENT_ROUND] = _count("NUM_STEPS_CURRENT_ROUND", steps)
    if "metrics" in disclosed and MetaKey.INITIAL_METRICS in meta:
        kept[MetaKey.INITIAL_METRICS] = _plain_scores(meta[MetaKey.INITIAL_METRICS])
    return kept


def _fit(name: str, value: Value, dtype: np.dtype) -> Value:
    dtype = dtype.newbyteorder("=")
    if value.dtype == dtype or dtype.kind != "f":
        return value
    with np.errstate(over="ignore"):
        fitted = value.astype(dtype)
    if not np.isfinite(fitted).all():
        raise UpdateError(
            f"{name} holds values beyond {dtype}, the type of the global model: it would leave as "
            "infinite. Lower the learning rate."
        )
    return fitted


def _like(value: Any, old: Value, dtype: np.dtype) -> Value:
    made = np.asarray(value, dtype.newbyteorder("=")).reshape(np.shape(old))
    return made[()] if isinstance(old, np.generic) else made


def _plain_schedule(given: object) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise UpdateError(_not_plain("hp", given, "a dict of numbers"))
    plain: dict[str, Any] = {k: _count(f"hp.{k}", given[k]) for k in _COUNTS if k in given}
    plain |= {k: _number(f"hp.{k}", given[k]) for k in _RATES if k in given}
    if "optimizer" in given:
        if given["optimizer"] not in _OPTIMIZERS:
            what = f"one of {', '.join(_OPTIMIZERS)}"
            raise UpdateError(_not_plain("hp.optimizer", given["optimizer"], what))
        plain["optimizer"] = given["optimizer"]
    if "canaries" in given:
        plain["canaries"] = _plain_canaries(given["canaries"])
    return plain


def _plain_canaries(given: object) -> dict[str, Any]:
    """That canaries were planted must not get lost, and nothing else may travel with it.

    Both come from the job and not from images, so that no guarantee has to name them.
    """
    if (
        not isinstance(given, dict)
        or set(given) != {"kind", "count"}
        or given["kind"] not in _CANARIES
    ):
        raise UpdateError(_not_plain("hp.canaries", given, 'as {"kind": "images", "count": 64}'))
    return {"kind": given["kind"], "count": _count("hp.canaries.count", given["count"])}


def _plain_scores(given: object) -> dict[str, float]:
    what = f"at most {_SCORES} numbers under short names"
    if not isinstance(given, dict) or len(given) > _SCORES:
        raise UpdateError(_not_plain("metrics", given, what))
    if not all(isinstance(k, str) and re.fullmatch(r"[a-z][a-z0-9_]{0,31}", k) for k in given):
        raise UpdateError(_not_plain("metrics", given, what))
    return {k: _number(f"metrics.{k}", v) for k, v in sorted(given.items())}


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10**9:
        raise UpdateError(_not_plain(name, value, "a whole number from 1 to 10^9"))
    return int(value)


def _number(name: str, value: object) -> float:
    if not isinstance(value, int | float | np.floating) or isinstance(value, bool):
        raise UpdateError(_not_plain(name, value, "a finite number"))
    number = float(value) if abs(value) <= 1e9 else math.nan
    if not math.isfinite(number):
        raise UpdateError(_not_plain(name, value, "a finite number"))
    return float(f"{number:.6g}")  # more digits carry more than a number does


def _not_plain(name: str, value: object, wanted: str) -> str:
    return (
        f"The filter discloses {name}, which must be {wanted}, and the training script gave "
        f"{value!r:.80}: nothing else leaves beside a guarantee. Correct the script, or do not "
        "disclose it."
    )


def without_counters(update: Mapping[str, Value]) -> dict[str, Value]:
    """``update`` without its counters of batches."""
    kind_of = kinds(update)
    return {n: v for n, v in update.items() if kind_of[n] != "counter"}

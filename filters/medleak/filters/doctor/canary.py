"""A made-up update whose every value is known, and what is left of it after a site's filters.

The canary has the sizes that updates of a ResNet have after a round: weights around 0.002, running
means around 0.3 (batch-norm statistics are a hundred times larger than weights, so noise that is
scaled to weights passes them by).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medleak.filters.update import STATISTICS, Update, kinds

NOTHING, LITTLE = 0.01, 0.1
"""Change relative to the update below which a filter protects nothing, or little."""

_WEIGHT, _STATISTIC = 2e-3, 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """The global model and the update, by name."""

    state: Update
    update: Update


@cache
def small(*, statistics: bool = True) -> Canary:
    """A convolution, with batch norm or group norm, another, and a head: some 4000 values."""
    norm = _batch_norm("bn1", 16) if statistics else _affine("norm1", 16)
    return _canary(
        {
            **_convolution("conv1", 16, 3, 5),
            **norm,
            **_convolution("conv2", 16, 16, 3),
            "fc.weight": (3, 64),
            "fc.bias": (3,),
        }
    )


@cache
def resnet18(*, statistics: bool = True) -> Canary:
    """Names and shapes of ResNet-18, two classes, with batch norm or group norm: 11.2 million."""
    norm = _batch_norm if statistics else _affine
    shapes = {**_convolution("features.conv1", 64, 3, 7), **norm("features.bn1", 64)}
    before = 64
    for stage, width in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            at = f"features.layer{stage}.{block}"
            shapes |= {
                **_convolution(f"{at}.conv1", width, before, 3),
                **norm(f"{at}.bn1", width),
                **_convolution(f"{at}.conv2", width, width, 3),
                **norm(f"{at}.bn2", width),
            }
            if block == 0 and stage > 1:
                shapes |= {
                    **_convolution(f"{at}.downsample.0", width, before, 1),
                    **norm(f"{at}.downsample.1", width),
                }
            before = width
    return _canary({**shapes, "fc.weight": (2, 512), "fc.bias": (2,)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What left of one kind of entry.

    ``changed``: the tangent of the angle between what left and the update (0: a multiple of it; for
    added noise the ratio of noise to update; infinite: unrelated). ``equal``: share of the values
    that left exactly. ``repeats``: a second release of the same update left exactly so again.
    ``exact``: of each tensor, what left is a multiple of the update's own values there, however
    they were chosen.
    """

    entries: int
    changed: float
    equal: float
    repeats: bool
    exact: bool


def compare(update: Update, first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Left]:
    """What two releases of ``update`` say of it: ``weights``, ``statistics``, where any left."""
    kind_of = kinds(update)
    groups = {
        "weights": [n for n in update if kind_of[n] in ("weight", "bn_affine")],
        "statistics": [n for n in update if kind_of[n] in STATISTICS],
    }
    found = {}
    for group, names in groups.items():
        there = [n for n in names if n in first]
        if there:
            found[group] = _left(update, first, second, there)
    return found


def _left(
    update: Update, first: Mapping[str, Any], second: Mapping[str, Any], names: list[str]
) -> Left:
    dot = own = other = 0.0
    entries = equal = 0
    repeats = exact = True
    for name in names:
        raw = np.asarray(update[name])
        out = np.asarray(first[name])
        again = second.get(name)
        if out.shape != raw.shape:
            raise ValueError(f"{name} left with shape {out.shape}, it had {raw.shape}")
        repeats &= again is not None and np.array_equal(out, np.asarray(again))
        equal += int(np.count_nonzero((out == raw) & (raw != 0)))
        entries += raw.size
        a, b = raw.astype(np.float64).ravel(), out.astype(np.float64).ravel()
        exact &= _is_multiple(a[b != 0], b[b != 0])
        if not np.isfinite(b).all():
            raise ValueError(f"{name} left with NaN or inf")
        dot, own, other = dot + float(a @ b), own + float(a @ a), other + float(b @ b)
    cosine = dot / np.sqrt(own * other) if own > 0 and other > 0 else 0.0
    sine = np.sqrt(max(0.0, 1.0 - cosine**2))
    changed = float("inf") if cosine == 0 else float(sine / abs(cosine))
    return Left(
        entries=entries, changed=changed, equal=equal / entries, repeats=repeats, exact=exact
    )


def _is_multiple(raw: NDArray[np.float64], sent: NDArray[np.float64]) -> bool:
    """Whether ``sent`` is ``raw`` times one number, but for rounding; of one value it always is."""
    if not np.all(raw):
        return False
    gains = sent / raw
    return gains.size == 0 or bool(np.allclose(gains, gains[0], rtol=1e-4, atol=0))


def _convolution(name: str, out: int, inside: int, size: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, inside, size, size)}


def _affine(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{leaf}": (width,) for leaf in ("weight", "bias")}


def _batch_norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    statistics = {f"{name}.{leaf}": (width,) for leaf in ("running_mean", "running_var")}
    return {**_affine(name, width), **statistics, f"{name}.num_batches_tracked": ()}


def _canary(shapes: Mapping[str, tuple[int, ...]]) -> Canary:
    rng = np.random.default_rng(0)
    state, update = {}, {}
    for name, start, change in _values(rng, shapes):
        state[name], update[name] = start, change
    return Canary(state=state, update=update)


def _values(
    rng: np.random.Generator, shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, Any, Any]]:
    kind_of = kinds(shapes)
    for name, shape in shapes.items():
        if kind_of[name] == "counter":
            yield name, np.array(10), np.array(4)
            continue
        scale = _STATISTIC if kind_of[name] in STATISTICS else _WEIGHT
        change = rng.standard_normal(shape, np.float32) * np.float32(scale)
        if kind_of[name] == "running_var":  # a variance stays positive at the server
            yield name, np.full(shape, 2.0, np.float32), np.abs(change)
        else:
            yield name, rng.standard_normal(shape, np.float32) * np.float32(0.05), change

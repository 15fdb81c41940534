"""Canaries: made-up records that a site plants in its training, each by a coin of its own.

Whoever has the site's list, and sees what left, guesses which canaries went in; how often he is
right bounds ε from below (``medleak dp-audit RUN``). A canary is no patient's:

- ``gradients``: a gradient that is zero but for one coordinate, longer than any clip;
- ``images``: a smooth random picture with a random label.

Coins, coordinates and pictures come from the operating system's entropy, never from the job's seed,
which the server knows. The list stays in the site's run directory, for its owner alone; all that a
site tells is that it planted canaries, of which kind, and among how many the coins chose.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import prod
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medleak.custom.atomic import write_atomic
from medleak.filters.spec import Spec

FILE = "medleak_canaries.json"
VARIABLE = "MEDLEAK_CANARIES"
"""A site plants nothing unless its operator set this environment variable to ``allow``."""

MOST = 100_000
Kind = Literal["gradients", "images"]
_FORMAT_VERSION = 1
_LONGEST = 50_000_000  # bytes of a list; a canary has about 100
_COARSE = 8  # cells a side of a picture, before it is made smooth


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a job asks a site to plant.

    Attributes:
        kind: Of the canaries.
        count: How many there are; each goes in with probability 1/2.
        norm: L2 norm of a ``gradients`` canary before any clipping. 10 is beyond the clips in use:
            a clip that is skipped shows.
    """

    kind: Kind
    count: int
    norm: float = 10.0

    def __post_init__(self) -> None:
        """Refuse what would test nothing."""
        if self.kind not in get_args(Kind):
            raise ValueError(
                f"There are no canaries of kind {self.kind!r}; take {' or '.join(get_args(Kind))}."
            )
        whole = isinstance(self.count, int) and not isinstance(self.count, bool)
        if not whole or not 1 <= self.count <= MOST:
            raise ValueError(
                f"count={self.count!r}: give 1 to {MOST} canaries; some hundreds say most."
            )
        number = isinstance(self.norm, int | float) and not isinstance(self.norm, bool)
        if not number or not 0 < self.norm <= 1e6:
            raise ValueError(f"norm={self.norm!r}: the length of a gradient lies in (0, 1e6].")

    @classmethod
    def parse(cls, text: str) -> "Plan":
        """Read ``gradients:count=500`` or ``images:count=64``.

        Raises:
            ValueError: It is neither.
        """
        spec = Spec.parse(text)
        args: dict[str, Any] = spec.args
        known = {"gradients": {"count", "norm"}, "images": {"count"}}.get(spec.name, {"count"})
        if "count" not in args or set(args) - known:
            raise ValueError(
                f"{text!r} says no canaries: give gradients:count=500 (and norm=10, say) or "
                "images:count=64."
            )
        return cls(kind=spec.name, **args)  # pyright: ignore[reportArgumentType]  checked there


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """One canary; ``planted`` is how its coin fell.

    Attributes:
        planted: Whether it went into the training.
        tensor, index: Coordinate of a ``gradients`` canary: parameter, place in it when flat.
        seed, label: Of an ``images`` canary, see `picture`.
    """

    planted: bool
    tensor: str = ""
    index: int = -1
    seed: int = -1
    label: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryList:
    """All canaries of one site in one run: what it knows, and nobody else shall.

    Attributes:
        site: Whose they are.
        plan: What was asked for.
        canaries: Of the plan's kind, as many as it says.
        created: When they were drawn, by the site's clock (UTC): lists of two runs of one job are
            told apart by it, as a site tells nobody anything of its list.
    """

    site: str
    plan: Plan
    canaries: tuple[Canary, ...]
    created: datetime

    @property
    def planted(self) -> NDArray[np.bool_]:
        """[N] how the coins fell."""
        return np.array([c.planted for c in self.canaries], dtype=np.bool_)


def drawn(
    plan: Plan, site: str, *, shapes: Mapping[str, tuple[int, ...]], num_classes: int
) -> CanaryList:
    """New canaries and their coins, from the operating system's entropy.

    Args:
        plan: How many of which kind.
        site: Whose.
        shapes: Trained parameters and their shapes. Coordinates are drawn from matrices and
            kernels: images move single numbers of a bias more.
        num_classes: Labels of pictures are below it.

    Raises:
        ValueError: There are fewer than 20 coordinates a canary.
    """
    now = datetime.now(UTC)
    if plan.kind == "images":
        canaries = tuple(
            Canary(
                planted=bool(secrets.randbits(1)),
                seed=secrets.randbits(63),
                label=secrets.randbelow(num_classes),
            )
            for _ in range(plan.count)
        )
        return CanaryList(site=site, plan=plan, canaries=canaries, created=now)
    sizes = {name: prod(shape) for name, shape in shapes.items() if len(shape) > 1}
    total = sum(sizes.values())
    if total < 20 * plan.count:
        raise ValueError(
            f"{plan.count} canaries of one coordinate each need {20 * plan.count} weights in "
            f"matrices and kernels, and the network has {total}: they would meet. Plant fewer."
        )
    places: dict[int, None] = {}
    while len(places) < plan.count:
        places[secrets.randbelow(total)] = None
    ends = np.cumsum(list(sizes.values()))
    canaries = []
    for place in places:
        k = int(np.searchsorted(ends, place, side="right"))
        name = list(sizes)[k]
        index = place - int(ends[k]) + sizes[name]
        canaries.append(Canary(planted=bool(secrets.randbits(1)), tensor=name, index=index))
    return CanaryList(site=site, plan=plan, canaries=tuple(canaries), created=now)


def picture(seed: int, channels: int, spatial_size: tuple[int, ...]) -> NDArray[np.float32]:
    """[C, *spatial_size] in [0, 1]: smooth random waves, like nobody's anatomy; equal for ``seed``.

    Random cells, interpolated linearly along each axis and stretched to their range.
    """
    value = np.random.default_rng(seed).random((channels, *[_COARSE] * len(spatial_size)))
    for axis, size in enumerate(spatial_size, start=1):
        at = np.linspace(0, _COARSE - 1, size)
        low = np.minimum(at.astype(int), _COARSE - 2)
        share = (at - low).reshape([-1 if k == axis else 1 for k in range(value.ndim)])
        value = value.take(low, axis) * (1 - share) + value.take(low + 1, axis) * share
    span = max(float(np.ptp(value)), 1e-9)
    return ((value - value.min()) / span).astype(np.float32)


def save(path: Path, listed: CanaryList) -> None:
    """Write the list, for its owner only."""
    fields = ("tensor", "index") if listed.plan.kind == "gradients" else ("seed", "label")
    content = {
        "format_version": _FORMAT_VERSION,
        "what": "Which canaries went into the training of this site. Keep it at the site, or give "
        "it to the auditor alone: who has it can take the canaries out of any update.",
        "site": listed.site,
        "kind": listed.plan.kind,
        "norm": listed.plan.norm,
        "created": listed.created.isoformat(),
        "canaries": [
            {name: getattr(c, name) for name in (*fields, "planted")} for c in listed.canaries
        ],
    }
    write_atomic(path, json.dumps(content, indent=0).encode())


def load(path: Path) -> CanaryList:
    """Read a list.

    Raises:
        ValueError: It is none, or of another version.
    """
    try:
        if path.stat().st_size > _LONGEST:
            raise ValueError("it is too large")
        content = json.loads(path.read_bytes())
        if content["format_version"] != _FORMAT_VERSION:
            raise ValueError(f"its format version is {content['format_version']!r}")
        entries = content["canaries"]
        plan = Plan(kind=content["kind"], count=len(entries), norm=content["norm"])
        canaries = tuple(_canary(plan.kind, entry) for entry in entries)
        if not isinstance(content["site"], str):
            raise TypeError("its site is no name")
        if len({(c.tensor, c.index, c.seed) for c in canaries}) < len(canaries):
            raise ValueError("one canary stands in it twice, and would be guessed twice")
        created = datetime.fromisoformat(content["created"])
        if created.tzinfo is None:
            raise ValueError("the time at which it was made has no zone")
        return CanaryList(site=content["site"], plan=plan, canaries=canaries, created=created)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} is no list of canaries ({error}): nothing can be guessed. Name the "
            f"{FILE} of the site's run directory."
        ) from None


def _canary(kind: Kind, entry: Mapping[str, Any]) -> Canary:
    names = ("tensor", "index") if kind == "gradients" else ("seed", "label")
    if set(entry) != {*names, "planted"} or not isinstance(entry["planted"], bool):
        raise ValueError(f"an entry has not {', '.join(names)} and planted")
    numbers = [v for k, v in entry.items() if k not in ("tensor", "planted")]
    if any(isinstance(v, bool) or not isinstance(v, int) or v < 0 for v in numbers):
        raise ValueError("a number is none")
    if not isinstance(entry.get("tensor", ""), str):
        raise ValueError("a tensor has no name")
    return Canary(**entry)

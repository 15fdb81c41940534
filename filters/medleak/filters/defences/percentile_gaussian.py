"""Percentile-calibrated Gaussian noise: Hatamizadeh et al. 2023, section II-C."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from medleak.filters import checks
from medleak.filters.buffers import protect_entries
from medleak.filters.noise import NoiseSource, add_gaussian
from medleak.filters.update import Buffers, Kind, Update, Value

Scope = Literal["update", "group", "tensor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PercentileGaussian:
    """ΔW + N(0, sigma²), sigma = ``sigma0`` · percentile_q(|ΔW|) over the non-zero entries.

    Guarantee: **none** (ε: none). The scale depends on the data, and nothing bounds the update.
    In the published form the 11 million weights set sigma, which is far below the size of BN
    statistics: ``sigma0`` up to 25 was seen not to stop an attack on those. ``scope="group"`` gives
    them a scale of their own.

    Args:
        sigma0: Noise over percentile, > 0.
        percentile: q in (0, 100]; the paper uses 95, so that outliers do not set the scale.
        scope: What one sigma is computed over: the whole ``update`` (published), each ``group``
            (weights, BN affine, running means, running variances) or each ``tensor``. A group or
            tensor of zeros takes that of the whole update, so that it is never sent bare.
        buffers: See :mod:`medleak.filters.buffers`. Entries that are not noised do not enter sigma.

    Source: arXiv:2202.06924v2, II-C. There counters were noised and entered the percentile; here
    they do not, and running variances are kept positive.
    """

    name: ClassVar[str] = "percentile_gaussian"

    sigma0: float
    percentile: float = 95.0
    scope: Scope = "update"
    buffers: Buffers = "noise"

    def __post_init__(self) -> None:
        """Reject settings that would not protect."""
        checks.require_positive(
            "sigma0", self.sigma0, "it scales the noise; 0 would send the bare update."
        )
        checks.require_percentile("percentile", self.percentile)
        checks.require_choice("scope", self.scope, ("update", "group", "tensor"))
        checks.require_choice("buffers", self.buffers, checks.BUFFERS)

    def __call__(
        self,
        update: Update,
        *,
        rng: NoiseSource,
        global_state: Mapping[str, object] | None = None,
    ) -> dict[str, Value]:
        """The noised update: same types, dtypes and shapes; ``update`` is not modified.

        Raises:
            UpdateError: See :func:`medleak.filters.buffers.protect_entries`.
        """

        def step(chosen: dict[str, Value], kind_of: Mapping[str, Kind]) -> dict[str, Value]:
            sigmas = self._sigmas(chosen, kind_of)
            return {n: add_gaussian(v, sigmas[n], rng, name=n) for n, v in chosen.items()}

        return protect_entries(update, step, buffers=self.buffers, global_state=global_state)

    def _sigmas(self, chosen: Update, kind_of: Mapping[str, Kind]) -> dict[str, float]:
        label = {"update": lambda n: "", "group": kind_of.__getitem__, "tensor": str}[self.scope]
        members: dict[str, list[str]] = {}
        for name in chosen:
            members.setdefault(label(name), []).append(name)
        scale = {
            key: magnitude_percentile([chosen[n] for n in names], self.percentile)
            for key, names in members.items()
        }
        if not all(scale.values()):
            whole = magnitude_percentile(list(chosen.values()), self.percentile)
            scale = {key: value or whole for key, value in scale.items()}
        return {n: self.sigma0 * scale[label(n)] for n in chosen}


def magnitude_percentile(values: Sequence[Value], percentile: float) -> float:
    """The ``percentile`` of |v| over all non-zero entries of ``values``; 0 if there is none.

    Linear between order statistics, as ``numpy.percentile``; makes one copy of the values.
    """
    magnitudes = np.empty(sum(v.size for v in values), np.result_type(np.float32, *values))
    start = 0
    for value in values:
        stop = start + value.size
        np.abs(np.asarray(value).reshape(-1), out=magnitudes[start:stop])
        start = stop
    zeros = magnitudes.size - np.count_nonzero(magnitudes)
    # Zeros are the smallest magnitudes: skipping them only shifts the rank.
    rank = zeros + (magnitudes.size - zeros - 1) * percentile / 100
    if zeros == magnitudes.size:
        return 0.0
    low = math.floor(rank)
    magnitudes.partition(low)
    below = float(magnitudes[low])
    above = float(magnitudes[low + 1 :].min(initial=np.inf)) if rank > low else below
    return below + (above - below) * (rank - low)

"""Rows that the patches must explain, where these are too many for a row space.

Grouped and depthwise convolutions are read group by group.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from medleak.inversion.evidence.algebra.row_spaces import Rows, weighted_rows
from medleak.inversion.evidence.layers import ConvLayer
from medleak.inversion.evidence.reading import Reading
from medleak.inversion.evidence.source import Source, Told

_FULL = 0.95  # of a patch's values: with more patches than this, nearly every row is covered


@dataclass(frozen=True, slots=True, eq=False)
class Cover:
    """A convolution with fewer input patches than they have values, but too many for a span.

    Attributes:
        conv: The convolution.
        rows: Of its update.
        fullness: Patches as a share of their values; at 1, any row is a combination of them.
    """

    conv: ConvLayer
    rows: Rows
    fullness: float


def covers(reading: Reading, without: Collection[str], sigma: float) -> dict[str, Cover]:
    """Updates with fewer patches than their rows have values, under noise ``sigma`` on an entry."""
    found = {}
    for conv in reading.convs:
        weight, patches = reading.update[f"{conv.name}.weight"], reading.images * conv.positions
        if conv.name in without or conv.pointwise or conv.groups > 1:
            continue
        if patches - len(reading.steps) < _FULL * conv.patch_size and weight.any():
            rows = weighted_rows(weight, patches, sigma)
            found[conv.name] = Cover(conv, rows, patches / conv.patch_size)
    return {n: c for n, c in found.items() if c.rows.noise <= reading.max_noise}


def _tell(reading: Reading) -> Sequence[Told]:
    every = reading.row_spaces
    sigma = reading.sigma
    if not every or sigma is None:
        return []
    return [
        Told(
            source=SOURCE.name,
            layer=name,
            rank=len(found.rows.rows),
            expected=min(found.conv.out_channels, reading.images * found.conv.positions),
            positions=found.conv.positions,
            images=int(_FULL * found.conv.patch_size / found.conv.positions),
            noise=found.rows.noise,
            exact=False,
            words=f"{len(found.rows.rows)} rows are mixtures of its patches, which fill "
            f"{found.fullness:.0%} of their space",
        )
        for name, found in covers(reading, every, sigma).items()
    ]


SOURCE = Source(
    name="cover",
    words="rows of a convolution's update, each a mixture of its input patches",
    needs=("images x positions below the values of a patch",),
    tell=_tell,
)

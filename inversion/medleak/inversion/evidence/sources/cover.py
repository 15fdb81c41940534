"""Rows that the patches must explain, where these are too many for a row space.

Grouped and depthwise convolutions are read group by group.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from medleak.inversion.evidence.algebra.partial_rows import PartialRows, partial_rows
from medleak.inversion.evidence.algebra.row_spaces import Rows, weighted_rows
from medleak.inversion.evidence.layers import ConvLayer
from medleak.inversion.evidence.reading import Reading
from medleak.inversion.evidence.source import Source, Told

_FULL_PARTIAL = 0.3  # likewise, of rows that are read in part
_NOISY = 3.0  # times as much noise is no harm there: it is weighed
_FULL = 0.95  # of a patch's values: with more patches than this, nearly every row is covered


@dataclass(frozen=True, slots=True, eq=False)
class Cover:
    """A convolution with fewer input patches than they have values, but too many for a span.

    Attributes:
        conv: The convolution.
        rows: Of its update; where a step of Adam left entries unreadable, the readable ones.
        fullness: Patches as a share of their values; at 1, any row is a combination of them.
    """

    conv: ConvLayer
    rows: Rows | PartialRows
    fullness: float

    @property
    def partial(self) -> bool:
        """Whether some entries of the rows are not known."""
        return isinstance(self.rows, PartialRows)


def covers(reading: Reading, without: Collection[str], sigma: float) -> dict[str, Cover]:
    """Updates with fewer patches than their rows have values, under noise ``sigma`` on an entry."""
    if reading.drifted or not reading.linear:
        return {}
    if reading.undone is not None:
        return _partial(reading, without)
    found = {}
    for conv in reading.convs:
        weight, patches = reading.update[f"{conv.name}.weight"], reading.images * conv.positions
        if conv.name in without or conv.pointwise or conv.groups > 1:
            continue
        if patches - len(reading.steps) < _FULL * conv.patch_size and weight.any():
            noise = max(sigma, reading.rounding(f"{conv.name}.weight"))
            rows = weighted_rows(conv.matrix(weight), patches, noise)
            found[conv.name] = Cover(conv, rows, patches / conv.patch_size)
    return {n: c for n, c in found.items() if c.rows.noise <= reading.max_noise}


def _partial(reading: Reading, without: Collection[str]) -> dict[str, Cover]:
    """Of rows with enough readable entries; none that nearly all patches explain anyway."""
    found: dict[str, Cover] = {}
    for conv in reading.convs:
        patches = reading.images * conv.positions
        if conv.name in without or reading.undone is None:
            break  # later layers tell by their row spaces, and better
        if conv.pointwise or conv.groups > 1:
            continue
        if patches - len(reading.steps) >= _FULL_PARTIAL * conv.patch_size:
            continue
        rows = partial_rows(reading.undone[f"{conv.name}.weight"], patches)
        if rows is not None and rows.noise <= _NOISY * reading.max_noise:
            found[conv.name] = Cover(conv, rows, patches / conv.patch_size)
    return found


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
            expected=min(found.conv.rows, reading.images * found.conv.positions),
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

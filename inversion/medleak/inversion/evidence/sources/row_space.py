"""Row spaces of convolutions: the span of their input patches, where it has room to stand out.

:mod:`medleak.inversion.evidence.ranks` reads how many directions there are.
"""

import dataclasses
from collections.abc import Sequence

from medleak.inversion.evidence.layers import ConvLayer
from medleak.inversion.evidence.ranks import Span, fitting_ranks, possible_ranks
from medleak.inversion.evidence.reading import Reading
from medleak.inversion.evidence.source import Source, Told


def usable(reading: Reading, span: Span) -> bool:
    """Whether it stands out of noise, and would not pull away from the truth."""
    return span.space.gap >= reading.min_gap and span.space.noise <= reading.max_noise


def _tell(reading: Reading) -> Sequence[Told]:
    return [_told(reading, conv) for conv in reading.convs if conv.groups == 1]


def _told(reading: Reading, conv: ConvLayer) -> Told:
    weight = reading.update[f"{conv.name}.weight"]
    rank = possible_ranks(conv, reading.steps)[conv.centred]
    limit = min(conv.rows, conv.patch_size)
    most = (limit - 1) // max(conv.positions, 1)
    told = Told(
        source=SOURCE.name,
        layer=conv.name,
        expected=rank,
        positions=conv.positions,
        images=most,
        useful=False,
        words="",
    )
    if not weight.any():
        return dataclasses.replace(told, words="its update is zero: frozen, or cut off")
    span = reading.row_spaces.get(conv.name)
    if span is None:
        return dataclasses.replace(told, words=_why_none(reading, conv, rank, limit))
    found = len(span.space.basis)
    told = dataclasses.replace(told, rank=found, expected=rank, noise=span.space.noise)
    if not usable(reading, span):
        words = f"{found} directions do not stand out of rounding or noise"
        return dataclasses.replace(told, words=words)
    return dataclasses.replace(
        told,
        useful=True,
        words=f"{found} of {conv.patch_size} directions span its input patches",
    )


def _why_none(reading: Reading, conv: ConvLayer, rank: int, limit: int) -> str:
    if not reading.linear:
        return f"the update of {reading.observation.optimizer} is no sum of gradients"
    if reading.undone is not None and conv.kind == "linear":
        return f"a step of {reading.observation.optimizer} is not completed in linear layers"
    if conv.centred in fitting_ranks(conv, reading.steps):
        return f"too few entries of the step of {reading.observation.optimizer} can be read"
    if conv.pointwise:
        return f"{rank} pixels tell too little of {conv.patch_size} channels"
    return f"{rank} directions do not fit into {limit}: they fill its row space"


SOURCE = Source(
    name="row_space",
    words="the span of a convolution's input patches, from the row space of its update",
    needs=(
        "a plain convolution (one group, zero padding)",
        "images x positions below its output channels and below the values of a patch",
    ),
    tell=_tell,
)

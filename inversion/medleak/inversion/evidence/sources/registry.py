"""All sources, in the order in which they are asked."""

from medleak.inversion.evidence.source import Source
from medleak.inversion.evidence.sources import (
    cover,
    first_linear,
    grouped_rows,
    last_layer,
    linear_inputs,
    norm_statistics,
    patch_embedding,
    recovered_features,
    row_space,
)

SOURCES: tuple[Source, ...] = (
    patch_embedding.SOURCE,
    norm_statistics.SOURCE,
    row_space.SOURCE,
    cover.SOURCE,
    grouped_rows.SOURCE,
    recovered_features.SOURCE,
    first_linear.SOURCE,
    linear_inputs.SOURCE,
    last_layer.SOURCE,
)
"""Add a source here: it is then listed by ``medleak inspect`` and used by `row_space`."""

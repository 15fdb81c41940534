"""The input of a convolution, up to a factor an image, by linear algebra from its row space.

:mod:`medleak.inversion.evidence.algebra.features` says how.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from medleak.inversion.evidence.algebra.features import recover_features, step_of_each
from medleak.inversion.evidence.ranks import Span
from medleak.inversion.evidence.reading import Reading
from medleak.inversion.evidence.source import Source, Told
from medleak.inversion.evidence.sources.row_space import usable


def recovered(reading: Reading, spans: Mapping[str, Span]) -> tuple[dict[str, Tensor], bool]:
    """Features of the first convolution that gives them, and whether they stand step by step."""
    observation, steps = reading.observation, reading.steps
    if reading.drifted:  # each visit has features of its own
        return {}, True
    blank = torch.zeros(
        (1, observation.image_channels, *observation.spatial_size), device=observation.device
    )
    for name, span in spans.items():
        conv, basis = span.conv, span.space.basis
        with torch.no_grad():
            shape = tuple(reading.probe.run(blank, inputs=[name]).inputs[name].shape[1:])
            found = recover_features(conv, basis, shape, observation.n_images)
            if found is None:
                continue
            if len(steps) == 1:
                return {name: found}, True
            groups = step_of_each(conv, basis, found, [s.size for s in steps])
        if groups is None:
            return {name: found}, False
        return {name: found[[i for group in groups for i in group]]}, True
    return {}, len(steps) == 1


def _tell(reading: Reading) -> Sequence[Told]:
    spans = {n: s for n, s in reading.row_spaces.items() if usable(reading, s)}
    found, grouped = recovered(reading, spans)
    return [
        Told(
            source=SOURCE.name,
            layer=name,
            images=len(maps),
            exact=True,
            words=f"the input of {len(maps)} image(s), up to a factor each"
            + ("" if grouped else "; who shared a step does not show"),
        )
        for name, maps in found.items()
    ]


SOURCE = Source(
    name="features",
    words="the input of a convolution, up to a factor an image, from its row space",
    needs=(
        "a row space of a convolution with stride 1 and a kernel larger than 1",
        "for several images, an input without negative values, as after a ReLU",
    ),
    tell=_tell,
)

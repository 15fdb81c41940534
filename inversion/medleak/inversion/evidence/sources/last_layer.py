"""What the head of a classifier tells: features and labels.

Its weight's update is a sum of outer products of a signal a class and the features that enter it;
its bias's update is the signal. For one image the features are one row over the other's entry, and
the label is the class whose bias alone grew.
"""

from collections.abc import Sequence

import torch

from medleak.inversion.evidence.algebra.row_spaces import decomposed
from medleak.inversion.evidence.reading import Reading
from medleak.inversion.evidence.source import Source, Told

_RANK_ONE = 1e-3  # of the first singular value, what float32 leaves of the second


def _head(reading: Reading) -> str | None:
    """The last matrix of the update with one row an output, that is no factor of another."""
    classes = reading.observation.num_classes
    names = [
        n.removesuffix(".weight")
        for n, u in reading.update.items()
        if n.endswith(".weight") and u.ndim == 2 and len(u) == classes
    ]
    if names:
        factors = {layer.parameter for layer in reading.linear_layers if layer.partner}
        names = [n for n in names if f"{n}.weight" not in factors]
    return names[-1] if names else None


def _tell(reading: Reading) -> Sequence[Told]:
    name = _head(reading)
    if name is None or not reading.update[f"{name}.weight"].any():
        return []
    weight = reading.update[f"{name}.weight"]
    if not torch.isfinite(weight).all():
        return []
    values = decomposed(weight).values
    rank = int((values > _RANK_ONE * values[0]).sum())
    bias = reading.update.get(f"{name}.bias")
    words = "the label" if bias is not None else "the features up to a factor"
    if reading.images == 1:
        words = "the label and the features before the head" if bias is not None else words
    else:
        words = f"labels of {reading.images} images, once these are found"
    return [
        Told(
            source=SOURCE.name,
            layer=name,
            rank=rank,
            expected=min(reading.images, max(1, len(weight) - 1)),
            images=max(1, len(weight) - 1),
            exact=False,
            of="labels",
            words=words,
        )
    ]


SOURCE = Source(
    name="last_layer",
    words="labels, and for one image the features before the head",
    needs=("a linear head",),
    tell=_tell,
)

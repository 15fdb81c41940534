"""Rows of grouped and depthwise convolutions, each a mixture of its own channels' patches.

A group's update is that of a small convolution: of a depthwise one a single row, k x k values of
one channel. That is no row space, but where positions are fewer than these values, the row must be
a mixture of the channel's patches: some equations a channel, and there are hundreds of channels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medleak.inversion.evidence.algebra.row_spaces import centre
from medleak.inversion.evidence.layers import ConvLayer
from medleak.inversion.evidence.reading import Reading
from medleak.inversion.evidence.source import Clue, Source, Told

_FULL = 0.8  # of a patch's values: with more patches than this, nearly every row is a mixture
_RIDGE = 1e-4  # of a group's mean energy
_LEAST = 1e-3  # of the largest row's norm: smaller ones are rounding
_MOST = 128  # groups of a layer, those of the largest rows: more cost more, and changed nothing


@dataclass(frozen=True, slots=True, eq=False)
class GroupedRows:
    """A layer's clue.

    Attributes:
        inputs: The layer's name.
        conv: The layer.
        groups: [G], those with the largest rows.
        rows: [G, R, D], of total energy 1: a row counts by its norm, as it knows details.
        noise: Share (0 to 1) of that energy that noise is expected to have put there.
    """

    inputs: tuple[str, ...]
    conv: ConvLayer
    groups: Tensor
    rows: Tensor
    noise: float

    def misfit(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Energy of the rows that no mixture of their group's patches gives."""
        patches = self.conv.patches(inputs[self.conv.name])
        if self.conv.normed:
            patches = centre(patches, per_image=self.conv.centred == "image")
        flat = patches.flatten(0, 1).unflatten(1, (self.conv.groups, -1)).transpose(0, 1)
        flat = flat[self.groups]
        with torch.no_grad():
            exact = flat.double()
            gram = exact @ exact.mT
            diagonal = gram.diagonal(dim1=1, dim2=2)
            ridge = _RIDGE * diagonal.mean(1) + 1e-12
            diagonal.add_(ridge[:, None])
            factor = torch.linalg.cholesky_ex(gram).L
            mixing = torch.cholesky_solve(exact @ self.rows.mT.double(), factor).mT.float()
        # The least over all mixings: its derivative is the one at the best mixing, held fixed.
        rest = (self.rows - mixing @ flat).square().sum()
        return rest + (ridge.float()[:, None, None] * mixing.square()).sum()


def clues(reading: Reading) -> Mapping[str, Clue]:
    """By layer, those whose rows tell more than noise."""
    found: dict[str, Clue] = {}
    for conv in reading.convs:
        sigma = reading.sigma
        if conv.groups > 1 and sigma is not None and _why_none(reading, conv) is None:
            rounding = reading.rounding(f"{conv.name}.weight")
            rows = _rows(reading, conv, max(sigma, rounding))
            if rows.noise <= reading.max_noise:
                found[conv.name] = rows
    return found


def _rows(reading: Reading, conv: ConvLayer, sigma: float) -> GroupedRows:
    rows = conv.matrix(reading.update[f"{conv.name}.weight"]).unflatten(0, (conv.groups, -1))
    norms = rows.norm(dim=2)
    clear = (norms > _LEAST * norms.max()).all(1).nonzero()[:, 0]
    largest = norms[clear].sum(1).argsort(descending=True, stable=True)[:_MOST]
    kept = clear[largest].sort().values
    rows, norms = rows[kept], norms[kept]
    weights = norms / norms.sum()
    rest = max(conv.patch_size - reading.images * conv.positions, 0)
    outside = sigma**2 * rest / norms.square()
    noise = float((weights * (outside / (1 + outside))).sum())
    rows = rows * (weights.sqrt() / norms)[:, :, None]
    return GroupedRows((conv.name,), conv, kept, rows.contiguous(), noise)


def _why_none(reading: Reading, conv: ConvLayer) -> str | None:
    """Why its rows tell nothing here; None where they do."""
    patches = reading.images * conv.positions
    if not reading.linear:
        return f"the update of {reading.observation.optimizer} is no sum of gradients"
    if reading.undone is not None:
        return f"entries of a step of {reading.observation.optimizer} are known too unequally"
    if reading.drifted:
        return "weights moved so far within the round that its visits' patches differ"
    if patches - len(reading.steps) >= _FULL * conv.patch_size:
        return f"{patches} patches of {conv.patch_size} values explain any row"
    if not reading.update[f"{conv.name}.weight"].any():
        return "its update is zero: frozen, or cut off"
    if reading.sigma is None:
        return "no row space tells how noisy its rows are"
    return None


def _tell(reading: Reading) -> Sequence[Told]:
    used = clues(reading)
    told = []
    for conv in reading.convs:
        if conv.groups == 1:
            continue
        found, why = used.get(conv.name), _why_none(reading, conv)
        common = {
            "source": SOURCE.name,
            "layer": conv.name,
            "positions": conv.positions,
            "images": int(_FULL * conv.patch_size / conv.positions),
        }
        if isinstance(found, GroupedRows):
            words = (
                f"rows of {len(found.groups)} of {conv.groups} groups, {conv.patch_size} values "
                "each, are mixtures of its patches"
            )
            told.append(Told(**common, noise=found.noise, exact=False, words=words))
        else:
            words = why or "its rows do not stand out of noise"
            told.append(Told(**common, useful=False, words=words))
    return told


SOURCE = Source(
    name="grouped_rows",
    words="rows of grouped and depthwise convolutions, each a mixture of its group's patches",
    needs=("a convolution of several groups", "images x positions below the values of a patch"),
    tell=_tell,
    clues=clues,
)

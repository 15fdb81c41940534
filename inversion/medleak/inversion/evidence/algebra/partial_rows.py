"""Rows of a gradient of which some entries are known, each with its error, and patches for them.

A row is a mixture of the candidate's patches. Where a step of Adam left only some of its entries
readable, and more of them than there are patches, the mixture that fits these must fit them all:
no row space is needed, and none could be completed.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from medleak.inversion.optimisers.first_step import Undone

_FLOOR = 0.03  # of a row's root mean square, under the errors: the descent stays smooth
_RIDGE = 1e-5  # of the mean of a normal matrix' diagonal
_ENOUGH = 1.5  # known entries of a row for each patch
_MOST = 48  # rows, the best known: more cost more, and changed nothing


@dataclass(frozen=True, slots=True, eq=False)
class PartialRows:
    """Made by `partial_rows`.

    Attributes:
        rows: [R, D] float32, each of root mean square 1 over its known entries, 0 elsewhere.
        weights: [R, D], 0 where nothing is known; of total weighted energy 1.
        noise: Share (0 to 1) of that energy that is error.
    """

    rows: Tensor
    weights: Tensor
    noise: float

    def uncovered(self, patches: Tensor) -> Tensor:
        """Weighted energy of the rows that no combination of ``patches`` gives, in [0, 1].

        Args:
            patches: [B, L, D], centred.
        """
        flat = patches.flatten(0, 1)
        with torch.no_grad():
            normal = (flat[None] * self.weights[:, None, :]) @ flat.T
            diagonal = normal.diagonal(dim1=1, dim2=2)
            diagonal.add_(_RIDGE * diagonal.mean(1, keepdim=True) + 1e-20)
            wanted = (self.weights * self.rows) @ flat.T
            factor = torch.linalg.cholesky_ex(normal).L  # unchecked: a check would wait for the GPU
            mixing = torch.cholesky_solve(wanted[:, :, None], factor)[:, :, 0]
        # The least over all mixings: its derivative is the one at the best mixing, held fixed.
        return (self.weights * (self.rows - mixing @ flat).square()).sum()


def partial_rows(undone: Undone, n_patches: int) -> PartialRows | None:
    """The rows of a gradient [C_out, ...] with more known entries than ``n_patches``.

    None where too few rows have.
    """
    known = (~undone.saturated).flatten(1)
    counts = known.sum(1)
    best = counts.argsort(descending=True, stable=True)[:_MOST]
    best = best[counts[best] >= _ENOUGH * n_patches]
    if not len(best):
        return None
    known = known[best]
    rows = torch.where(known, undone.gradient.flatten(1)[best], 0.0)
    errors = torch.where(known, undone.error.flatten(1)[best], 1.0)
    scale = (rows.square().sum(1, keepdim=True) / known.sum(1, keepdim=True)).sqrt()
    if not (scale > 0).all():
        rows, errors, known, scale = (x[scale[:, 0] > 0] for x in (rows, errors, known, scale))
    if not len(rows):
        return None
    rows, variance = rows / scale, (errors / scale).square()
    weights = known / (variance + _FLOOR**2)
    weights = weights / (weights * rows.square()).sum(1, keepdim=True) / len(rows)
    noise = float((weights * variance).sum())
    return PartialRows(rows.float().contiguous(), weights.float().contiguous(), noise)

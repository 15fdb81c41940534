"""Complete a gradient of known rank from entries that are known well, badly, or as bounds.

After a step of Adam, entries of a gradient are known as `Undone` says: to parts of a percent where
they are small, and as a sign and a lower bound where they are large. A convolution's gradient has
a known rank, far below its size, so that the well-known entries tell the others. Alternating least
squares find the two factors; each entry weighs as far as it is known *at the present estimate*, as
its error grows with the square of its size. A floor under all errors falls from a third of the
matrix' size to a thousandth: without it a few entries that are known a thousand times better than
the others decide everything from a first guess that is wrong, and the descent ends nowhere.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medleak.inversion.evidence.algebra.row_spaces import RowBasis
from medleak.inversion.optimisers.first_step import Undone

_FLOOR = (0.3, 3e-3)  # of the matrix' root mean square, at the start and at the end
_WITHIN = 2.0  # standard deviations within which an estimate agrees with what was read
_RIDGE = 1e-6  # of the mean of a normal matrix' diagonal
_ROOM = 0.4  # of the smaller side: with a higher rank, entries hardly tell each other
_ENOUGH = 1.5  # known entries for each that is free
_MOST_ROWS = 128  # where the rank is low: rows beyond tell nothing new
_ROWS_A_DIRECTION = 16
_CHUNK = 1 << 25  # numbers of one batch of normal equations


@dataclass(frozen=True, slots=True, eq=False)
class Completed:
    """A gradient [R, D] of rank r as ``left`` @ ``right``, of the rows that were used.

    Attributes:
        left: [R, r], orthonormal columns.
        right: [r, D].
        rows: [R] indices into the gradient's rows.
        space: Its row space, with what the errors of the entries leave uncertain.
        misfit: Mean square of (read - completed) / error over the known entries, errors at least
            the last floor; about 1 or below where the rank is right.
    """

    left: Tensor
    right: Tensor
    rows: Tensor
    space: RowBasis
    misfit: float


def enough_known(saturated: Tensor, rank: int) -> bool:
    """Whether a matrix of ``rank`` has so few free entries that the known ones tell them."""
    rows, columns = saturated.flatten(1).shape
    free = rank * (rows + columns - rank)
    return rank <= _ROOM * min(rows, columns) and int((~saturated).sum()) >= _ENOUGH * free


def completed(undone: Undone, rank: int, *, iterations: int = 15) -> Completed:
    """The matrix of ``rank`` that fits what is known of a gradient [C_out, ...].

    Args:
        undone: Where fewer entries are known than `enough_known` asks for, any matrix fits.
        rank: At least 1 and below both sizes of the flattened gradient.
        iterations: Of alternating least squares; the floor falls with them.
    """
    rows = _telling_rows(undone, rank)
    entries = _Entries(undone, rows)
    u, s, v = torch.linalg.svd(entries.guess, full_matrices=False)
    left, right = u[:, :rank], s[:rank, None] * v[:rank]
    for k in range(iterations):
        floor = _FLOOR[0] * (_FLOOR[1] / _FLOOR[0]) ** (k / max(iterations - 1, 1))
        target, weights = entries.working(left @ right, floor)
        right = torch.linalg.qr(right.T).Q.T
        left = _least_squares(target, weights, right)
        target, weights = entries.working(left @ right, floor)
        left = torch.linalg.qr(left).Q
        right = _least_squares(target.T, weights.T, left.T).T
    u, s, v = torch.linalg.svd(right, full_matrices=False)
    left, right = left @ u, s[:, None] * v
    target, weights = entries.working(left @ right, _FLOOR[1])
    weights = weights / _FLOOR[1] ** 2
    space, misfit = _judged(left, right, target, weights, entries.known)
    space = replace(space, sigma=space.sigma * entries.scale)
    return Completed(left, right * entries.scale, rows, space, misfit)


class _Entries:
    """What is known of the chosen rows, in units of ``scale``, as float32."""

    def __init__(self, undone: Undone, rows: Tensor) -> None:
        def chosen(x: Tensor) -> Tensor:
            return x.flatten(1)[rows]

        guess = chosen(undone.gradient)
        self.scale = float(guess.square().mean().sqrt())
        self.guess = (guess / self.scale).float()
        self.known = ~chosen(undone.saturated)
        read, error = chosen(undone.shortfall), chosen(undone.shortfall_error)
        eps = undone.eps
        low = (eps / (read + _WITHIN * error) - eps).clamp_min(0)
        high = torch.where(
            read > _WITHIN * error, eps / (read - _WITHIN * error).clamp_min(1e-30) - eps, torch.inf
        )
        self._low, self._high = (low / self.scale).float(), (high / self.scale).float()
        self._eps = eps / self.scale
        self._read, self._error = read.float(), error.float()
        self._sign = chosen(undone.sign).float()
        self._decay = (chosen(undone.decay) / self.scale).float()

    def working(self, estimate: Tensor, floor: float) -> tuple[Tensor, Tensor]:
        """Targets and weights (at most 1) of a least-squares step from ``estimate``.

        What was read is linear in the gradient near the estimate, or near what the reading allows
        where the estimate disagrees: there large steps would be taken on a curve that is flat.
        """
        size = self._sign * (estimate + self._decay)
        size = torch.minimum(torch.maximum(size, self._low), self._high)
        shortfall = self._eps / (size + self._eps)
        slope = self._eps / shortfall.square()
        target = self._sign * (size + (shortfall - self._read) * slope) - self._decay
        variance = (slope * self._error).square()
        return target, floor**2 / (variance + floor**2)


def _telling_rows(undone: Undone, rank: int) -> Tensor:
    """Indices of the rows with the most known entries, falling; not more than are needed."""
    known = (~undone.saturated).flatten(1).sum(1)
    most = max(_MOST_ROWS, _ROWS_A_DIRECTION * rank)
    return known.argsort(descending=True, stable=True)[:most]


def _least_squares(target: Tensor, weights: Tensor, basis: Tensor) -> Tensor:
    """[R, r] with which ``basis`` [r, D] gives each row of ``target`` [R, D] under its weights."""
    rank, columns = basis.shape
    parts = []
    step = max(1, _CHUNK // (rank * columns))
    for t, w in zip(target.split(step), weights.split(step), strict=True):
        normal = (basis[None] * w[:, None, :]) @ basis.T
        diagonal = normal.diagonal(dim1=1, dim2=2)
        diagonal.add_(_RIDGE * diagonal.mean(1, keepdim=True) + 1e-30)
        wanted = (w * t) @ basis.T
        factor = torch.linalg.cholesky_ex(normal).L
        parts.append(torch.cholesky_solve(wanted[:, :, None], factor)[:, :, 0])
    return torch.cat(parts)


def _judged(
    left: Tensor, right: Tensor, target: Tensor, weights: Tensor, known: Tensor
) -> tuple[RowBasis, float]:
    """The row space with its noise, and the misfit; ``left`` orthonormal, ``right`` by size."""
    rank, columns = right.shape
    gap = (weights * (target - left @ right).square())[known]
    free = rank * (len(left) + columns - rank)
    misfit = float(gap.double().sum()) / max(int(known.sum()) - free, 1)
    # Of each column of ``right``, least squares leave the inverse of this; the largest errors are
    # of the size of the estimate, as nothing else bounds a column that no row knows.
    limit = float(right.square().mean().sqrt())
    normal = torch.einsum("ij,ia,ib->jab", weights, left, left).double()
    normal.diagonal(dim1=1, dim2=2).add_(1 / limit**2)
    floor = torch.linalg.inv(normal).diagonal(dim1=1, dim2=2).sum(0) * max(misfit, 1.0)
    inside = right.double().square().sum(1)
    noise = float((inside * floor / (inside + floor)).sum() / inside.sum())
    basis = torch.linalg.qr(right.T).Q.T.contiguous()
    gap_size = float((inside[-1] / floor.max().clamp_min(1e-30)).sqrt())
    sigma = float((floor.mean() / columns).sqrt())
    return RowBasis(basis, gap_size, noise, sigma), misfit

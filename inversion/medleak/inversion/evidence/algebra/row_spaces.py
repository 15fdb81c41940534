"""The row space of a convolution's weight update, and how far candidate patches lie outside it.

For a convolution, dW = S A^T: A [D, N] holds the input patches of all N output positions of the
batch as columns, S [C_out, N] the back-propagated signal. So the rows of dW are combinations of
patches, whatever the labels and the task loss. Where the output enters a batch norm in training
mode, the signal sums to zero over the positions: the rows are combinations of *centred* patches,
and rank(dW) <= N - 1. If N - 1 < min(C_out, D) and the signal is generic, equality holds and the
row space *is* the span of the centred patches: known from the update, up to float noise 10^-3
and less of the smallest singular value. K local steps add up: K (N - 1).

Where N - 1 is larger than that, the row space is only a part of the span. Then the opposite can be
asked, as long as N - 1 < D: every row of dW must be a combination of the candidate's patches.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_ROUNDING = 1e-3  # those that explain nothing: a direction is known less well than its size
_RIDGE = 1e-4  # of the patches' mean energy


@dataclass(frozen=True, slots=True, eq=False)
class RowBasis:
    """Row space of one update.

    Attributes:
        basis: [rank, D] float32, orthonormal rows.
        gap: Last singular value inside over the first outside (inf where there is none). Exact
            arithmetic makes it infinite; float32 leaves 10 to 1000, noise on the update about 1.
        noise: Expected share (0 to 1) of the true patches' energy outside of ``basis``, from
            the singular values outside, or from the rounding where that is more.
        sigma: Standard deviation of the noise on an entry of the update that it comes from.
    """

    basis: Tensor
    gap: float
    noise: float
    sigma: float


@dataclass(frozen=True, slots=True, eq=False)
class Decomposed:
    """An update [C_out, ...], flattened, and its singular values; see `decomposed`.

    Attributes:
        flat: [C_out, D] float64.
        values: Singular values, falling, as many as the smaller side has.
        vectors: That side's singular vectors as columns: left ones, unless D < C_out.
    """

    flat: Tensor
    values: Tensor
    vectors: Tensor

    def leading(self, rank: int) -> Tensor:
        """[rank, D], orthonormal: the span of the right singular vectors of the largest values."""
        few = self.vectors[:, :rank]
        rows, columns = self.flat.shape
        return torch.linalg.qr(few if columns < rows else self.flat.T @ few).Q.T

    def gap(self, rank: int) -> float:
        """The ``rank``-th singular value over the next; inf where that is zero."""
        inside, outside = self.values[rank - 1], self.values[rank]
        return float(inside / outside) if outside > 0 else float("inf")


def decomposed(update: Tensor) -> Decomposed:
    """Singular values of ``update`` [C_out, ...], at any scale.

    Raises:
        ValueError: ``update`` is zero or not finite.
    """
    flat = update.flatten(1).double()
    if not torch.isfinite(flat).all() or not flat.any():
        raise ValueError(
            "The update is zero or holds NaN or inf: it has no row space. The layer was frozen, "
            "or a defence broke the update."
        )
    # float64 on the small side: squaring costs half of the digits, and float64 has them to spare.
    rows, columns = flat.shape
    values, vectors = torch.linalg.eigh(flat.T @ flat if columns < rows else flat @ flat.T)
    return Decomposed(flat, values.flip(0).clamp_min(0).sqrt(), vectors.flip(1))


def row_space(update: Tensor | Decomposed, rank: int, rounding: float = 0.0) -> RowBasis:
    """The ``rank`` leading right singular directions of ``update`` [C_out, ...].

    Args:
        update: A convolution's weight update or gradient, at any scale.
        rank: At least 1 and less than both dimensions of the flattened update, else every
            candidate fits and the row space tells nothing.
        rounding: Standard deviation of what rounding did to an entry. Where it swallows most
            entries, the singular values do not show it: those few that are left have a row space,
            and it is not that of the patches.

    Raises:
        ValueError: ``rank`` out of range, or ``update`` is zero or not finite.
    """
    found = update if isinstance(update, Decomposed) else decomposed(update)
    flat, values = found.flat, found.values
    if not 1 <= rank < min(flat.shape):
        raise ValueError(
            f"rank is {rank} for an update of {tuple(flat.shape)}: it must be from 1 to "
            f"{min(flat.shape) - 1}, else the row space is everything or nothing."
        )
    basis = found.leading(rank)
    inside, outside = values[:rank].square(), values[rank:].square()
    # Noise sigma per entry turns a direction of size s by sigma sqrt(D) / s, to first order; its
    # energy outside is that of a [C - rank, D - rank] block. Patches have most of their energy
    # where s is large, hence the weights.
    rows, columns = flat.shape
    variance = outside.sum() / ((rows - rank) * (columns - rank))
    variance = variance.clamp_min(rounding**2)
    floor = variance * columns
    noise = float((inside * floor / (inside + floor)).sum() / inside.sum())
    return RowBasis(basis.float().contiguous(), found.gap(rank), noise, float(variance.sqrt()))


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What an update's rows are, for :func:`uncovered_share`.

    Attributes:
        rows: [R, D] float32, right singular vectors times the root of their singular values, of
            total energy 1: small directions count more than their size, as they know details.
        noise: Share (0 to 1) of that energy that noise on the update is expected to have put
            outside of the true patches' span.
    """

    rows: Tensor
    noise: float

    def uncovered(self, patches: Tensor) -> Tensor:
        """`uncovered_share` of them."""
        return uncovered_share(patches, self.rows)


def weighted_rows(update: Tensor, n_patches: int, sigma: float) -> Rows:
    """The rows of ``update`` [C_out, ...], made of ``n_patches`` patches, under noise ``sigma``.

    Raises:
        ValueError: ``update`` is zero or not finite.
    """
    flat = update.flatten(1).double()
    if not torch.isfinite(flat).all() or not flat.any():
        raise ValueError("The update is zero or holds NaN or inf: it has no rows to explain.")
    _, values, right = torch.linalg.svd(flat, full_matrices=False)
    kept = values > _ROUNDING * values[0]
    values, right = values[kept], right[kept]
    weights = values / values.sum()
    outside = sigma**2 * max(flat.shape[1] - n_patches, 0) / values.square()
    noise = float((weights * (outside / (1 + outside))).sum())
    return Rows((right * weights.sqrt()[:, None]).float().contiguous(), noise)


def centre(patches: Tensor, *, per_image: bool = False) -> Tensor:
    """Patches [B, L, D] minus their mean over the step's positions, or over each image's own.

    Per image is right whatever images shared a step, and gives up the B - 1 directions between
    their means.
    """
    return patches - patches.mean((1,) if per_image else (0, 1), keepdim=True)


def outside_share(patches: Tensor, basis: Tensor) -> Tensor:
    """`|A - A V V^T|^2 / |A|^2` for (centred) patches A [B, L, D], basis V^T [rank, D]; in [0, 1].

    0 where every patch lies in the row space. Scale-free, so that it cannot be lowered by
    darkening the image. Not `1 - |A V|^2 / |A|^2`: equal, but it cancels near the truth.
    """
    outside = patches - (patches @ basis.T) @ basis
    return outside.square().sum() / (patches.square().sum() + 1e-12)


def uncovered_share(patches: Tensor, rows: Tensor) -> Tensor:
    """Energy of ``rows`` that no combination of ``patches`` gives; scalar in [0, 1].

    A ridge keeps it smooth: 0 is not quite reached, and it has no gradient to speak of far from
    the truth.

    Args:
        patches: [B, L, D], centred; B L < D, else every row is a combination.
        rows: [R, D] of total energy 1 (:class:`Rows`).
    """
    flat = patches.flatten(0, 1)
    with torch.no_grad():
        # float64, as the patches' Gram matrix is close to singular.
        exact = flat.double()
        gram = exact @ exact.T
        ridge = _RIDGE * gram.diagonal().mean()
        gram.diagonal().add_(ridge)
        factor = torch.linalg.cholesky_ex(gram).L  # unchecked: a check would wait for the GPU
        mixing = torch.cholesky_solve(exact @ rows.T.double(), factor).T.float()
    # The least over all mixings: its derivative is the one at the best mixing, held fixed. As a
    # difference from the rows' energy it would cancel near the truth.
    return (rows - mixing @ flat).square().sum() + ridge.float() * mixing.square().sum()

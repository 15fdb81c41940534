"""Undo a mixture of maps that have no negative values and many zeros, as after a ReLU.

Of all combinations of the mixtures, those without negative values form a cone, and each map is one
of its edges: its zeros hold it there. Of the combinations in the cone with one mean, a map that is
large at one place is the largest there: a linear program. Once the zeros of a map are nearly known
they alone tell it, better, and whether it is a map: of another edge of the cone they hold nothing.

Source: after Spielman, Wang, Wright 2012, "Exact recovery of sparsely-used dictionaries", COLT
(ER-SpUD), with signs in place of absolute values.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

_SLACK = 0.1  # of the mean: what rounding and noise may put below zero
_ZERO = 0.01  # of a map's largest value
_HELD = 0.01  # least share of any other map's energy at its zeros; of wrong edges below 3e-4
_ANOTHER = 0.98  # cosine from which on two maps are one
_ROUNDS = 6  # of settling which values are zeros
_TRIALS = 4  # linear programs a map


def unmixed(mixtures: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """The maps with the same span as ``mixtures``.

    Args:
        mixtures: [N, size], orthonormal rows.

    Returns:
        [N, size] of norm 1, in no order; None where not N maps were found.
    """
    points = mixtures.T.astype(np.float64)
    found = np.zeros((len(mixtures), 0))  # a column of coordinates in ``points`` each
    untried = np.ones(len(points), dtype=bool)
    for _ in range(_TRIALS * len(mixtures)):
        rest = np.linalg.qr(found, mode="complete").Q[:, found.shape[1] :]
        # Where the maps still to be found are large.
        place = int((np.square(points @ rest).sum(1) * untried).argmax())
        untried[place] = False
        edge = _edge(points, place)
        if edge is None or (np.abs(edge @ found) > _ANOTHER).any():
            continue
        found = np.column_stack([found, edge])
        if found.shape[1] == len(mixtures):
            return (points @ found).T.astype(np.float32)
    return None


def _edge(points: NDArray[np.float64], place: int) -> NDArray[np.float64] | None:
    """Coordinates [N], norm 1, of the map of mean 1 that is largest at ``place``."""
    program = linprog(
        -points[place],
        A_ub=-points,
        b_ub=np.full(len(points), _SLACK),
        A_eq=points.mean(0)[None],
        b_eq=[1.0],
        bounds=(None, None),
        method="highs",
    )
    if program.status != 0:
        return None
    edge, held = program.x, 0.0
    for _ in range(_ROUNDS):
        values = points @ edge
        zeros = points[values < _ZERO * values.max()]
        energies, axes = np.linalg.eigh(zeros.T @ zeros)
        edge, held = axes[:, 0] * np.sign(points.sum(0) @ axes[:, 0]), energies[1]
    return edge if held > _HELD else None

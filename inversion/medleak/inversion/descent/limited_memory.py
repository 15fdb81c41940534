"""L-BFGS with the two loops on inner products: two passes over what it remembers, no more.

``torch.optim.LBFGS`` takes the same steps, but launches eight kernels for each step that it
remembers: on a GPU, several times what the attacked network takes.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.lbfgs import _strong_wolfe  # pyright: ignore[reportPrivateUsage]

Evaluate = Callable[[Tensor], tuple[float, Tensor]]
"""Point [n] -> loss and gradient [n]."""

_CURVED = 1e-10  # <step, change of the gradient>: a step with less says nothing of curvature


class LimitedMemory:
    """A descent that learns curvature from its last steps (Chen et al., NeurIPS 2014, alg. 3).

    The line search is PyTorch's, for the strong Wolfe conditions.

    Attributes:
        point: [n], where it is.
        loss: There.
    """

    def __init__(self, evaluate: Evaluate, start: Tensor, *, history: int) -> None:
        """Evaluate ``start`` [n]; ``history`` steps, at least 1, will be remembered."""
        self._evaluate, self._history = evaluate, history
        self.point = start.clone()
        self.loss, gradient = evaluate(self.point)
        # Rows: steps, changes of the gradient, the gradient; `_gram` their inner products.
        self._basis = start.new_zeros(2 * history + 1, start.numel())
        self._basis[-1] = gradient
        self._gram = np.zeros((2 * history + 1,) * 2)
        self._kept: list[int] = []  # slots of the steps, oldest first

    def step(self) -> bool:
        """Go on by one line search; False, and nothing is changed, where no way leads down."""
        gradient = self._basis[-1].clone()
        direction = self._direction()
        slope = gradient.dot(direction)
        if not slope < 0:
            return False
        length = 1.0 if self._kept else min(1.0, 1.0 / float(gradient.abs().sum()))

        def along(x: Tensor, t: float, d: Tensor) -> tuple[float, Tensor]:
            return self._evaluate(x + t * d)

        loss, found, length, _ = _strong_wolfe(
            along, self.point, length, direction, self.loss, gradient, slope
        )
        move = float(length) * direction
        self.loss = float(loss)
        self.point = self.point + move
        self._learn(move, found - gradient, found)
        return True

    def _direction(self) -> Tensor:
        """Minus the inverse Hessian, as far as it is known, times the gradient."""
        gram, changes, last = self._gram, self._history, len(self._gram) - 1
        share = np.zeros(len(gram))
        share[last] = -1.0
        pulls = {}
        for s in reversed(self._kept):
            pulls[s] = gram[s] @ share / gram[s, changes + s]
            share[changes + s] -= pulls[s]
        if self._kept:
            s = self._kept[-1]
            share *= gram[s, changes + s] / gram[changes + s, changes + s]
        for s in self._kept:
            share[s] += pulls[s] - gram[changes + s] @ share / gram[s, changes + s]
        return self._mixed(share)

    def _mixed(self, share: NDArray[np.float64]) -> Tensor:
        return torch.as_tensor(share, dtype=self._basis.dtype).to(self._basis.device) @ self._basis

    def _learn(self, move: Tensor, change: Tensor, gradient: Tensor) -> None:
        self._basis[-1] = gradient
        rows = [len(self._gram) - 1]
        if float(move.dot(change)) > _CURVED:
            full = len(self._kept) == self._history
            slot = self._kept.pop(0) if full else len(self._kept)
            self._kept.append(slot)
            self._basis[slot], self._basis[self._history + slot] = move, change
            rows += [slot, self._history + slot]
        products = (self._basis @ self._basis[rows].T).double().cpu().numpy()
        self._gram[:, rows], self._gram[rows] = products, products.T

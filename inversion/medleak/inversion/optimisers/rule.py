"""One local optimiser, as its settings: differentiable steps that equal PyTorch's."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from torch import Tensor

Name = Literal["sgd", "adam", "adamw"]
RULES: tuple[str, ...] = get_args(Name)

_TINY = 1e-30  # the square root of Adam's second moment has no derivative at 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Settings of one optimiser; PyTorch's defaults.

    Attributes:
        name: ``sgd``, ``adam`` (decay is added to the gradient) or ``adamw`` (it is not).
        lr: Learning rate, positive.
        momentum: Of SGD, in [0, 1), no dampening, not Nesterov's.
        weight_decay: At least 0, on every parameter.
        betas: Of Adam, each in [0, 1).
        eps: Of Adam, positive.
        clip_norm: L2 norm over all parameters that a gradient is clipped to before the step, None
            for none.
    """

    lr: float
    name: Name = "sgd"
    momentum: float = 0.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        """Reject settings that no client can have trained with."""
        if self.name not in RULES:
            raise ValueError(
                f"The optimizer is {self.name!r}, and only {', '.join(RULES)} can be replayed: any "
                "other step would be one that nobody took."
            )
        if not self.lr > 0:
            raise ValueError(f"lr must be positive, got {self.lr}: without it nothing is trained.")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}: SGD diverges else.")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay must be at least 0, got {self.weight_decay}.")
        if not all(0 <= b < 1 for b in self.betas) or not self.eps > 0:
            raise ValueError(f"betas must be in [0, 1), eps positive: {self.betas}, {self.eps}.")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"clip_norm must be positive or None, got {self.clip_norm}.")

    @property
    def adaptive(self) -> bool:
        """Whether a step's size hardly depends on the gradient's."""
        return self.name != "sgd"

    @property
    def moments(self) -> int:
        """Tensors of state a parameter: Adam's two moments, SGD's velocity, or none."""
        return 2 if self.adaptive else int(self.momentum > 0)

    def step(
        self,
        gradient: Sequence[Tensor],
        weights: Sequence[Tensor],
        state: Sequence[Tensor],
        number: int,
        *,
        rate: float = 1.0,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """What one step adds to ``weights``, and the state after it; a graph goes through.

        Args:
            gradient: Of the loss at ``weights``, one tensor a parameter.
            weights: Likewise, before the step.
            state: `moments` x parameters: all first moments, then all second ones.
            number: Steps since the state was zero, from 0.
            rate: Of this step, as a multiple of `lr`: a schedule within the round.
        """
        gradient, lr, n = self._clipped(gradient), self.lr * rate, len(weights)
        if self.weight_decay and self.name != "adamw":
            gradient = [g + self.weight_decay * w for g, w in zip(gradient, weights, strict=True)]
        if not self.adaptive:
            if self.momentum:
                gradient = [self.momentum * v + g for v, g in zip(state, gradient, strict=True)]
            return [-lr * g for g in gradient], list(gradient) if self.momentum else []
        (low, high), t = self.betas, number + 1
        first = [low * m + (1 - low) * g for m, g in zip(state[:n], gradient, strict=True)]
        second = [high * v + (1 - high) * g * g for v, g in zip(state[n:], gradient, strict=True)]
        size, root = lr / (1 - low**t), math.sqrt(1 - high**t)
        moved = [
            -size * m / ((v + _TINY).sqrt() / root + self.eps)
            for m, v in zip(first, second, strict=True)
        ]
        if self.weight_decay and self.name == "adamw":
            moved = [d - lr * self.weight_decay * w for d, w in zip(moved, weights, strict=True)]
        return moved, [*first, *second]

    def _clipped(self, gradient: Sequence[Tensor]) -> Sequence[Tensor]:
        if self.clip_norm is None:
            return gradient
        norm = torch.stack([g.square().sum() for g in gradient]).sum().sqrt()
        factor = (self.clip_norm / (norm + 1e-6)).clamp(
            max=1.0
        )  # as torch.nn.utils.clip_grad_norm_
        return [g * factor for g in gradient]


def rule_named(name: str, **settings: object) -> Rule:
    """A `Rule` of an optimiser that comes as any text, checked.

    Raises:
        ValueError: No such rule, or a setting that cannot be.
    """
    return Rule(name=cast(Name, name), **settings)  # pyright: ignore[reportArgumentType]

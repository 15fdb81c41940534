"""Undo the first step of Adam or AdamW: from the update to the gradient, entry by entry.

From fresh state the bias corrections cancel the betas, and a parameter moves by
``-lr g / (|g| + eps)``: nearly its sign, but for the *shortfall* ``eps / (|g| + eps)`` from a whole
step. That is read from the update as ``1 - |update| / lr``, and known to the spacing of float32 at
the weight, over lr: the gradient of a well-known entry to parts of a percent, that of a large one
only as a sign and a lower bound (*saturated*).

A site declares one learning rate, and a schedule within the round may have used another. But the
entries that are saturated moved by just this rate: where the update shows another than declared,
the update is right.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from medleak.inversion.optimisers.rule import Rule

_ARITHMETIC = 1e-7  # relative error of Adam's own float32 arithmetic; 0.7e-7 was measured
_CLEAR = 3.0  # standard deviations of the shortfall from which on an entry is not saturated
_BEYOND = 1e-3  # share of entries beyond a whole step from which on it was no first step
_FAR = 6.0  # standard deviations beyond a whole step
_SAME_RATE = 1e-3  # relative difference of rates that is rounding, not another rate
_PLATEAU = 1e-5  # relative width of the values that saturated entries have
_CROWD = 100  # entries that make a plateau
_FINE = 3e-7  # of its own size, what a change is rounded to at most if it is to show the rate
_LOUDEST = 0.3  # of a step: noise beyond which no shortfall can be read


class NotFirstStepError(ValueError):
    """An update that is no first step of this optimiser from fresh state."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Undone:
    """The gradient behind one parameter's update; all tensors float64, of the parameter's shape.

    Attributes:
        gradient: Mean over the batch; of saturated entries the sign times the lower bound.
        error: Standard deviation of each entry; inf where saturated.
        saturated: Whether only sign and lower bound are known.
        sign: Of the gradient, -1 or 1.
        shortfall: ``eps / (|gradient + decay| + eps)``, as read.
        shortfall_error: Its standard deviation.
        decay: What Adam's weight decay added to the gradient; 0 for AdamW.
        eps: Of the optimiser.
    """

    gradient: Tensor
    error: Tensor
    saturated: Tensor
    sign: Tensor
    shortfall: Tensor
    shortfall_error: Tensor
    decay: Tensor
    eps: float

    def arranged(self, order: Callable[[Tensor], Tensor]) -> "Undone":
        """The same entries where ``order`` puts them: a view that changes none of them."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {n: order(v) for n, v in values.items() if isinstance(v, Tensor)}
        return replace(self, **moved)


def undo(update: Tensor, weights: Tensor, rule: Rule, *, noise: float = 0.0) -> Undone:
    """The gradient behind ``update`` = local - global of one parameter.

    Args:
        update: float32.
        weights: Global ones, float32, same shape.
        rule: Adam or AdamW.
        noise: Standard deviation of what was added to the update afterwards, in its own units.
    """
    eps = rule.eps
    moved, shortfall, error = _shortfall(update, weights, rule, noise)
    saturated = shortfall < _CLEAR * error
    sign = torch.where(moved > 0, -1.0, 1.0).to(moved)
    read = torch.where(saturated, shortfall.clamp_min(0) + 2 * error, shortfall)
    size = (eps / read - eps).clamp_min(0)
    zero = torch.zeros((), dtype=moved.dtype, device=moved.device)
    decay = rule.weight_decay * weights.double() if rule.name == "adam" else zero
    return Undone(
        gradient=sign * size - decay,
        error=torch.where(saturated, torch.inf, eps * error / read.square()),
        saturated=saturated,
        sign=sign,
        shortfall=shortfall,
        shortfall_error=error,
        decay=decay.expand_as(moved),
        eps=eps,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstStep:
    """How a whole update has to be undone.

    Attributes:
        rule: With the learning rate that the update shows.
        noise: Standard deviation of what was added to the update, beyond float32's rounding.
        declared: The learning rate that the site declared, where it is another one.
    """

    rule: Rule
    noise: float = 0.0
    declared: float | None = None


def read_first_step(
    updates: Mapping[str, Tensor], weights: Mapping[str, Tensor], rule: Rule
) -> FirstStep:
    """See that ``updates`` are a first step of ``rule``, with which rate, and how noisy.

    Raises:
        NotFirstStepError: More entries than rounding explains moved by more than a whole step, or
            noise hides the shortfalls.
    """
    shown = shown_rate(updates, weights, rule)
    declared = None
    if shown is not None and abs(shown / rule.lr - 1) > _SAME_RATE:
        declared, rule = rule.lr, replace(rule, lr=shown)
    beyond = far = count = 0
    squares = 0.0
    for name, update in updates.items():
        _, shortfall, error = _shortfall(update, weights[name], rule, 0.0)
        over, errors = -shortfall[shortfall < 0], error[shortfall < 0]
        squares += float(over.square().sum() - errors.square().sum())
        beyond += over.numel()
        far += int((over > _FAR * errors).sum())
        count += update.numel()
    noise = 0.0
    if far > _BEYOND * count:
        # Half of the saturated entries lie beyond a whole step, by what was added to them.
        noise = (max(squares, 0.0) / beyond) ** 0.5
        if noise > _LOUDEST:
            raise NotFirstStepError(
                f"{far / count:.1%} of the entries moved by more than {rule.name}'s first step "
                f"can with a learning rate of {rule.lr:g}: there were several steps, the state "
                "was kept, or noise was added. This step cannot be undone."
            )
    return FirstStep(rule=rule, noise=noise * rule.lr, declared=declared)


def shown_rate(
    updates: Mapping[str, Tensor], weights: Mapping[str, Tensor], rule: Rule
) -> float | None:
    """The learning rate at which entries crowd, as saturated ones do; None where none do.

    Of ``rule``, the decay alone is used, and only of AdamW.
    """
    sizes = []
    for name, update in updates.items():
        moved = update.double()
        if rule.name == "adamw":
            moved = moved + rule.lr * rule.weight_decay * weights[name].double()
        moved = moved.abs()
        fine = _spacing(weights[name] + update) <= _FINE * moved
        sizes.append(moved[fine])
    every = torch.cat(sizes)
    if every.numel() < _CROWD:
        return None
    top = every.topk(_CROWD).values
    rate = float(top.median())
    return rate if int((every >= (1 - _PLATEAU) * rate).sum()) >= 2 * _CROWD else None


def _shortfall(
    update: Tensor, weights: Tensor, rule: Rule, noise: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(what the step moved without decay, its shortfall from lr, that one's standard deviation)."""
    moved, decays = update.double(), rule.name == "adamw" and rule.weight_decay > 0
    if decays:
        moved = moved + rule.lr * rule.weight_decay * weights.double()
    variance = _spacing(weights + update).double().square() / 12
    if decays:  # which is rounded by itself
        variance = 2 * variance
    error = ((variance + noise**2) / rule.lr**2 + _ARITHMETIC**2).sqrt()
    return moved, 1 - moved.abs() / rule.lr, error


def _spacing(values: Tensor) -> Tensor:
    """Distance of each value to the next larger one of its dtype."""
    size = values.abs()
    return torch.nextafter(size, torch.full_like(size, torch.inf)) - size

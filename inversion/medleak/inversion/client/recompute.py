"""Trade time for memory in graphs that hold gradients of their own."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Function = Callable[..., tuple[Tensor, ...]]


def recomputed(function: Function, *tensors: Tensor) -> tuple[Tensor, ...]:
    """``function(*tensors)``, whose graph is not kept but built again in the backward pass.

    ``torch.utils.checkpoint`` refuses functions that call ``torch.autograd.grad`` themselves, as
    a simulated training step does.

    Args:
        function: Deterministic; under ``no_grad`` it must return the same values. Every float
            output that matters must depend on ``tensors``, not on tensors that it closes over:
            those get no gradient.
        tensors: Inputs, with or without a graph.

    Returns:
        The outputs, differentiable once.
    """
    return _Recomputed.apply(function, *tensors)  # type: ignore[return-value]


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, function: Function, *tensors: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        ctx.function = function
        ctx.save_for_backward(*tensors)
        with torch.no_grad():
            return tuple(function(*tensors))

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients: Tensor | None):  # type: ignore[override]
        wanted = ctx.needs_input_grad[1:]
        inputs = [
            t.detach().requires_grad_(need)
            for t, need in zip(ctx.saved_tensors, wanted, strict=True)
        ]
        with torch.enable_grad():
            outputs = ctx.function(*inputs)
        used = [
            (o, g)
            for o, g in zip(outputs, gradients, strict=True)
            if g is not None and o.requires_grad
        ]
        found = iter(
            torch.autograd.grad(
                [o for o, _ in used],
                [t for t in inputs if t.requires_grad],
                [g for _, g in used],
                allow_unused=True,
            )
        )
        return None, *(next(found) if need else None for need in wanted)

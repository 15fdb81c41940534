"""Batch normalisation that also returns the batch's statistics, each in one pass over the input.

An attack on batch statistics spends its time here: autograd through ``torch.var_mean`` beside a
norm layer reads the input four times, these two functions once forward and once backward. Once
differentiable.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


class NormWithStatistics(Function):
    """(x [B, C, ...], weight [C], bias [C], eps) -> (normalised x, mean [C], unbiased var [C]).

    The affine parameters are constants: only x gets a gradient.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Any:
        """Normalise, and keep what the gradient needs."""
        y, mean, inverse_std = torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, eps)
        ctx.save_for_backward(x, weight, mean, inverse_std)
        ctx.eps = eps
        count = _count(x)
        if count < 2:
            raise ValueError(
                "A batch norm in training mode gets one value a channel, of which no client can "
                "have trained: images are larger, or more in a step, than they are said to be."
            )
        return y, mean, (inverse_std**-2 - eps) * (count / (count - 1))

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Tensor
    ) -> Any:
        """Gradients of output, mean and variance w.r.t. x, added up."""
        grad_y, grad_mean, grad_var = grad_outputs
        x, weight, mean, inverse_std = ctx.saved_tensors
        through_y = torch.ops.aten.native_batch_norm_backward(
            grad_y, x, weight, None, None, mean, inverse_std, True, ctx.eps, [True, False, False]
        )[0]
        return through_y + _statistics_backward(x, mean, grad_mean, grad_var), None, None, None


class BatchStatistics(Function):
    """x [B, C, ...] -> (mean [C], unbiased variance [C]): the last norm layer that is needed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Any:
        """Statistics over batch and positions."""
        var, mean = torch.var_mean(x, (0, *range(2, x.ndim)), unbiased=True)
        ctx.save_for_backward(x, mean)
        return mean, var

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Tensor
    ) -> Any:
        """Gradients of mean and variance w.r.t. x, added up."""
        x, mean = ctx.saved_tensors
        return _statistics_backward(x, mean, *grad_outputs)


def _statistics_backward(x: Tensor, mean: Tensor, grad_mean: Tensor, grad_var: Tensor) -> Tensor:
    """Gradient of (mean, variance) w.r.t. x: grad_mean / n + 2 grad_var (x - mean) / (n - 1)."""
    count = _count(x)
    slope = grad_var * (2 / (count - 1))
    offset = grad_mean / count - slope * mean
    shape = (-1, *(1,) * (x.ndim - 2))
    return torch.addcmul(offset.view(shape), x, slope.view(shape))


def _count(x: Tensor) -> int:
    return x.numel() // x.shape[1]

"""Tests of fused_norm against autograd through PyTorch's own functions."""

import torch
from torch.nn import functional

from medleak.inversion.evidence.fused_norm import BatchStatistics, NormWithStatistics

EPS = 1e-5


def inputs(seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 4, 5, 6, generator=generator, dtype=torch.float64)
    weight, bias = torch.rand(2, 4, generator=generator, dtype=torch.float64)
    return x.requires_grad_(True), weight, bias


def test_output_and_statistics_are_pytorchs():
    x, weight, bias = inputs()
    y, mean, var = NormWithStatistics.apply(x, weight, bias, EPS)
    torch.testing.assert_close(
        y, functional.batch_norm(x, None, None, weight, bias, True, 0.1, EPS)
    )
    expected_var, expected_mean = torch.var_mean(x, (0, 2, 3), unbiased=True)
    torch.testing.assert_close(mean, expected_mean)
    torch.testing.assert_close(var, expected_var)


def test_gradients_agree_with_finite_differences():
    x, weight, bias = inputs()
    assert torch.autograd.gradcheck(lambda v: NormWithStatistics.apply(v, weight, bias, EPS), x)
    assert torch.autograd.gradcheck(BatchStatistics.apply, x)

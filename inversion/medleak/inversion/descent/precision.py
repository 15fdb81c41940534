"""Full single precision on a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_precision() -> Iterator[None]:
    """Convolve in float32 proper; as it was before, afterwards. Also a decorator.

    PyTorch lets a GPU round a convolution's factors to TF32, with a mantissa of 10 bits. What is 0
    at the truth is then a thousand times what float32 leaves of it, and gradients are a few per
    cent off.
    """
    exact = torch.backends.cudnn.flags(
        enabled=torch.backends.cudnn.enabled,
        benchmark=torch.backends.cudnn.benchmark,
        deterministic=torch.backends.cudnn.deterministic,
        allow_tf32=False,
    )
    with exact:
        yield

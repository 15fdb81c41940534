"""What a GPU is asked for: evaluations as one launch, convolutions in full precision."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

Evaluation = Callable[[], Sequence[Tensor]]
"""From tensors that are changed in place between calls, to new tensors."""

_WARM_UP = 3  # libraries choose algorithms and take workspace in the first calls
_EXPECTED = "The AccumulateGrad node's stream"  # the unknowns were made on another; nothing races


def captured(evaluation: Evaluation, device: torch.device) -> Evaluation:
    """``evaluation``, replayed as one launch on a GPU; as it is on a CPU.

    A pass through a ResNet and back is a thousand kernels of microseconds: launched one by one they
    take ten times as long as they run.

    Args:
        evaluation: Always the same kernels: no branch on values, no shape that changes. It reads
            what varies from tensors on ``device``.
        device: Of all its tensors.

    Returns:
        The same values, in tensors of the caller's. Where CUDA cannot capture ``evaluation`` (an
        operation waits for the host), ``evaluation`` itself.
    """
    if device.type != "cuda":
        return evaluation
    with torch.cuda.device(device), warnings.catch_warnings():
        warnings.filterwarnings("ignore", _EXPECTED)
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                evaluation()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                outputs = evaluation()
        except RuntimeError:
            return evaluation

    def replay() -> Sequence[Tensor]:
        graph.replay()
        return [output.clone() for output in outputs]

    return replay


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

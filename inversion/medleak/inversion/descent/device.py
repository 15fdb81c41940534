"""One evaluation of an objective as a CUDA graph: the GPU's time instead of the launches'."""

import warnings
from collections.abc import Callable, Sequence

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

"""The time that an attack has used, and may use."""

import time

import torch


class Stopwatch:
    """CPU seconds of this process since it was made; wall seconds where the work is on a GPU."""

    def __init__(self, device: torch.device, budget: float | None = None) -> None:
        """``budget`` in the same seconds, None for no limit."""
        self._now = time.process_time if device.type == "cpu" else time.perf_counter
        self._start, self._budget = self._now(), budget

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self._now() - self._start

    @property
    def over(self) -> bool:
        """Whether the budget is used up."""
        return self._budget is not None and self.seconds >= self._budget

"""What an attack has used of its time, and may use; and what it reports on its way."""

import math
import time

import torch
from torch import Tensor

from medleak.inversion.reconstruction import Progress, ProgressCallback


class DivergedError(ArithmeticError):
    """The loss became NaN or infinite; the caller restarts from elsewhere."""


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


class Meter:
    """Counts what all stages and attempts of one attack use, reports it, and knows the budget."""

    def __init__(
        self,
        device: torch.device,
        *,
        total: int,
        seconds: float | None,
        progress: ProgressCallback | None,
    ) -> None:
        """Start the clock; ``total`` iterations are planned, ``seconds`` is None for no limit."""
        self._watch, self._budget = Stopwatch(device), seconds
        self._progress, self._total = progress, total
        self.history: list[float] = []

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self._watch.seconds

    @property
    def left(self) -> float:
        """Seconds of the budget that are left; infinite without one."""
        return math.inf if self._budget is None else max(self._budget - self.seconds, 0.0)

    def count(self, loss: float, images: Tensor) -> None:
        """Note an iteration and report it, with the images that it evaluated."""
        self.history.append(loss)
        if self._progress is not None:
            done = len(self.history)
            total = max(self._total, done)
            self._progress(Progress(done, total, loss, self.seconds, images.detach()))

"""Search, where a case was attacked, for the listed images that its reconstructions show.

That is most of what measuring takes, so that the one process that keeps results would else be full
with some sixty others attacking for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from medleak.custom.data.datalist import DataError
from medleak.custom.record import InputSpec
from medleak.inversion.audit.attacker import Task
from medleak.inversion.audit.workers.pool import Worker
from medleak.inversion.images.truth import load_truth, training_items
from medleak.inversion.measures.seen import Matches, search
from medleak.inversion.measures.similarity import as_channels
from medleak.inversion.reconstruction import ProgressCallback, Reconstruction


@dataclass(frozen=True, slots=True, eq=False)
class Attacked:
    """A reconstruction and, where truth is known, what `search` found it to show."""

    found: Reconstruction
    matches: Matches | None


class Matching:
    """A worker that attacks by another, and looks at truth when that has ended."""

    def __init__(
        self, attack: Worker, datalists: Mapping[str, Path | None], input: InputSpec
    ) -> None:
        """``datalists`` say which images a site has; ``input`` is of the record's images."""
        self._attack, self._datalists, self._input = attack, datalists, input

    def __call__(self, task: Task, on_progress: ProgressCallback | None) -> Any:
        """What ``attack`` makes of ``task``; a reconstruction as `Attacked`."""
        found = self._attack(task, on_progress)
        if not isinstance(found, Reconstruction):
            return found
        if (truth := self._truth(task.site)) is None:
            return Attacked(found, None)
        images = as_channels(found.images, truth.shape[1])
        return Attacked(found, search(images, truth))

    def _truth(self, site: str) -> Tensor | None:
        """[M, C, *size]; None where there is none that can be read: who measures says why."""
        if (path := self._datalists[site]) is None:
            return None
        size, channels = self._input.spatial_size, self._input.channels
        try:
            return load_truth(training_items(path, site), size, channels).images
        except (DataError, ValueError):
            return None

"""Where a site keeps what it was sent in one run: a memory, a record, and the last model."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medleak.filters import storage
from medleak.filters.sentinel.memory import Memory

_LONGEST = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of the site's own for one run; all its files are readable by their owner only."""

    folder: Path

    def memory(self) -> Memory:
        """What was kept; the empty memory where nothing was.

        Raises:
            ValueError: There is a record or a model and no memory, or one that cannot be read.
            OSError: Its file is no plain file.
        """
        path = self.folder / "memory.json"
        if not path.exists() and not path.is_symlink():
            if self._seen.exists() or self._last.exists():
                raise ValueError(
                    f"{path} is missing, and models were seen before: what they were is not known. "
                    "Restore it, or remove its folder to begin at first sight again."
                )
            return Memory()
        return Memory.from_json(storage.read_bounded(path, _LONGEST).decode("utf-8"))

    def keep(self, memory: Memory, state: dict[str, np.ndarray] | None = None) -> None:
        """Write ``memory``, and before it ``state``, the model that its last hash is of."""
        if state is not None:
            storage.save(self._last, {n: np.asarray(v) for n, v in state.items()})
        storage.write(self.folder / "memory.json", memory.to_json().encode())
        storage.remove_parts(self.folder)

    def note(self, line: dict[str, Any]) -> None:
        """Add a line to the record of what was seen."""
        storage.make_private(self.folder)
        with self._seen.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._seen.chmod(0o600)

    def last(self, names: set[str]) -> Callable[[str], np.ndarray] | None:
        """Gives entries of the last model, read when they are asked for; None if none is kept.

        Raises:
            ValueError: It lacks one of ``names``.
        """
        if not self._last.exists():
            return None
        from safetensors import safe_open

        file = safe_open(self._last, framework="numpy")
        if missing := sorted(names - set(file.keys())):
            raise ValueError(f"The last model that was kept has no {missing[0]}: see {self._last}.")
        return file.get_tensor

    @property
    def _last(self) -> Path:
        return self.folder / "last.safetensors"

    @property
    def _seen(self) -> Path:
        return self.folder / "seen.jsonl"

"""Images of patients, drawn at random into groups that have no patient in common."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from clients import DataSet, load

from medleak.inversion.membership.assessment import Group


@dataclass(frozen=True, slots=True)
class Pixels:
    """Images of patients, without a pixel in memory that is not asked for."""

    data: DataSet
    size: int

    def groups(self, counts: tuple[int, ...], seed: int) -> list[Group]:
        """Groups of as many images as ``counts``, drawn by patient, without a common patient."""
        by_patient: dict[str, list[tuple[Path, int]]] = {}
        for file, label in self.data.files("tune") + self.data.files("report"):
            by_patient.setdefault(self.data._patient(file), []).append((file, label))
        order = iter(np.random.default_rng(100 + seed).permutation(sorted(by_patient)).tolist())
        found = []
        for count in counts:
            chosen: list[tuple[str, Path, int]] = []
            while len(chosen) < count:
                who = next(order)
                chosen += [(who, *pair) for pair in by_patient[who]]
            chosen = chosen[:count]
            found.append(
                Group(
                    images=torch.stack([load(file, self.size) for _, file, _ in chosen]),
                    labels=torch.tensor([label for *_, label in chosen]),
                    patients=tuple(who for who, *_ in chosen),
                )
            )
        return found

"""One attack on one update: the unit of an audit."""

import dataclasses
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from medleak.filters.spec import Spec

NO_DEFENCE = "none"
"""The update is attacked as it was recorded; what the site declared is in it already."""


AVERAGE = "average/"
"""Before an attack's name: it joins all rounds of the site up to the case's own."""

MEMBERSHIP = "membership/"
"""Before the name of a score: the case asks who was in the update, and rebuilds no image."""


@dataclass(frozen=True, slots=True)
class AttackSpec:
    """An attack's text as a record: ``name:key=value,…``, after `AVERAGE` if it joins rounds.

    >>> asked = AttackSpec.parse("average/row_space:seconds=12")
    >>> asked.name, asked.averages, str(asked.with_(seconds=3))
    ('row_space', True, 'average/row_space:seconds=3')
    """

    spec: Spec
    averages: bool = False

    @classmethod
    def parse(cls, text: str) -> "AttackSpec":
        """Read the text.

        Raises:
            ValueError: See `medleak.filters.spec.Spec.parse`.
        """
        return cls(Spec.parse(text.removeprefix(AVERAGE)), text.startswith(AVERAGE))

    @property
    def name(self) -> str:
        """Key in a table of attacks."""
        return self.spec.name

    def with_(self, **args: Any) -> "AttackSpec":
        """The same with other settings."""
        return AttackSpec(self.spec.with_(**args), self.averages)

    def without(self, *keys: str) -> "AttackSpec":
        """The same without some settings."""
        return AttackSpec(self.spec.without(*keys), self.averages)

    def averaging(self) -> "AttackSpec":
        """The same attack on all rounds of a site together."""
        return AttackSpec(self.spec, averages=True)

    def __str__(self) -> str:
        """The text that `parse` reads as this."""
        return f"{AVERAGE * self.averages}{self.spec}"


@dataclass(frozen=True, slots=True, order=True)
class Case:
    """One attack on one update; texts are as in results.csv, `NO_DEFENCE` for none."""

    round: int
    site: str
    attack: str
    defence: str
    knowledge: str
    seed: int

    @property
    def averages(self) -> bool:
        """Whether the attack joins the rounds up to this one."""
        return self.attack.startswith(AVERAGE)

    def seen(self, recorded: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
        """The updates (round, site) of ``recorded`` that the attack looks at.

        >>> case = Case(2, "a", "average/row_space", "none", "all", 0)
        >>> case.seen([(0, "a"), (1, "b"), (2, "a"), (3, "a")])
        [(0, 'a'), (2, 'a')]
        """
        return [
            (round, site)
            for round, site in recorded
            if site == self.site and (round == self.round or (self.averages and round < self.round))
        ]

    @property
    def score(self) -> str | None:
        """Name of the membership score, where the case asks who was in; None: it is an attack."""
        asked = self.attack.removeprefix(AVERAGE)
        return asked.removeprefix(MEMBERSHIP) if asked.startswith(MEMBERSHIP) else None

    @property
    def name(self) -> str:
        """Unique name, usable as a file name: readable, and closed by a hash of all fields."""
        readable = f"round_{self.round:04d}_{self.site}_{self.attack}_{self.defence}"
        slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", readable)[:90]
        return f"{slug}_seed{self.seed}_{self._digest().hex()[:6]}"

    @property
    def stream(self) -> int:
        """Seed of the case's generator: independent of which other cases run, and in what order."""
        return int.from_bytes(self._digest()[:8], "big") >> 1

    def _digest(self) -> bytes:
        text = "\x1f".join(map(str, dataclasses.astuple(self)))
        return hashlib.sha256(text.encode()).digest()

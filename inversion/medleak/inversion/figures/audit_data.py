"""An audit directory as the figures read it, and what to say where something is missing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from medleak.custom.data.image_files import open_image
from medleak.custom.record import find_records, natural_key, read_info
from medleak.inversion.membership.files import Answer, read_answers
from medleak.inversion.results.case import NO_DEFENCE, Case
from medleak.inversion.results.replays import is_null
from medleak.inversion.results.rows import Row, read_rows
from medleak.inversion.results.strength import protection
from medleak.inversion.results.utility import Utility, read_utilities


class MissingData(ValueError):
    """The audit holds nothing that a figure could show; other figures can still be made."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a site trained in a round: images a step, and local steps."""

    batch_size: int
    n_steps: int


@dataclass(frozen=True, slots=True)
class AuditData:
    """What an audit measured.

    Attributes:
        path: Audit directory; pictures are read from it when they are needed.
        rows: Of results.csv, or a part of them.
        utility: Of utility.json; empty where there is none.
        answers: Who was in; empty where nobody asked.
        schedules: By (round, site); empty where the run was not named.
    """

    path: Path
    rows: Sequence[Row]
    utility: Sequence[Utility] = ()
    schedules: dict[tuple[int, str], Schedule] | None = None
    answers: Mapping[Case, Answer] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, run: Path | None = None) -> "AuditData":
        """Read the audit directory ``path``, and of ``run`` how each site trained.

        Raises:
            ValueError: It holds no results, or files that cannot be read.
        """
        rows = [row for row in read_rows(path / "results.csv") if not is_null(row.defence)]
        answers = read_answers(path)
        if not rows and not answers:
            raise ValueError(
                f"{str(path)!r} holds no results.csv with rows: there is nothing to draw. Name the "
                "directory that `medleak audit` wrote."
            )
        utility = read_utilities(path)
        schedules = None if run is None else _schedules(run, rows)
        return cls(path, rows, utility, schedules, answers)

    @property
    def measured(self) -> list[Row]:
        """Rows whose truth was known."""
        return [row for row in self.rows if row.ssim is not None]

    @property
    def sites(self) -> list[str]:
        """Sites of the rows: site-2 before site-10."""
        return sorted({row.site for row in self.rows}, key=natural_key)

    @property
    def rounds(self) -> list[int]:
        """Rounds of the rows, ascending."""
        return sorted({row.round for row in self.rows})

    def where(self, wanted: Callable[[Row], bool]) -> "AuditData":
        """The same audit with the rows that are ``wanted`` alone."""
        return replace(self, rows=[row for row in self.rows if wanted(row)])

    def of(self, attack: str | None = None, knowledge: str | None = None) -> "AuditData":
        """The rows of ``attack`` with ``knowledge``, texts as in results.csv; None: of any.

        Raises:
            ValueError: There are none.
        """
        for column, asked in (("attack", attack), ("knowledge", knowledge)):
            known = list(dict.fromkeys(getattr(r, column) for r in self.rows))
            if asked is not None and asked not in known:
                raise ValueError(
                    f"{str(self.path)!r} has no row with {column} {asked!r}: nothing can be drawn. "
                    f"It has {'; '.join(known)}."
                )
        return self.where(lambda r: attack in (None, r.attack) and knowledge in (None, r.knowledge))

    def one_attacker(self) -> "AuditData":
        """The rows of the strongest attack with its knowledge.

        It covers the most cells (round, site, protection) and among those has the highest mean
        SSIM on unprotected updates.

        Raises:
            MissingData: No row has a measured SSIM.
        """
        if not self.measured:
            raise self.missing("rows with a measured SSIM", "medleak audit RUN --truth LISTS")
        attackers = {(r.attack, r.knowledge): None for r in self.measured}
        best = max(attackers, key=lambda a: _strength(self.measured, *a))
        return self.where(lambda r: (r.attack, r.knowledge) == best)

    def compared(self) -> "AuditData":
        """Rows of updates that were attacked under a defence as well, so that like meets like.

        All rows where no update was.
        """
        both = {(r.round, r.site) for r in self.rows if protection(r) != NO_DEFENCE}
        return self.where(lambda r: (r.round, r.site) in both) if both else self

    def unprotected(self) -> "AuditData":
        """Rows without a defence; all of them where every update was sent under one."""
        bare = self.where(lambda r: protection(r) == NO_DEFENCE)
        return bare if bare.rows else self

    def picture(self, name: str) -> np.ndarray:
        """Picture ``name`` of the audit directory, uint8 [H, W] or [H, W, 3].

        Raises:
            MissingData: There is none.
            DataError: It is damaged.
        """
        path = self.path / name
        # A row is data: it must not make us read a file elsewhere.
        if not path.resolve().is_relative_to(self.path.resolve()) or not path.is_file():
            raise self.missing(f"the picture {name}", "medleak audit RUN")
        picture = open_image(path)
        return np.asarray(picture if picture.mode in ("L", "RGB") else picture.convert("RGB"))

    def missing(self, what: str, command: str) -> MissingData:
        """The error that says what is missing here, and which command makes it."""
        into = f" --out {self.path}" if command.startswith("medleak audit") else ""
        return MissingData(
            f"{str(self.path)!r} lacks {what}: there is nothing to draw. Make it with "
            f"`{command}{into}`."
        )


def case_text(rows: Iterable[Row]) -> str:
    """For captions: how many images, seeds and rounds, which attack, what it knew."""
    rows = list(rows)
    images = {(r.site, r.truth_image or (r.round, r.reconstruction)) for r in rows}
    sites, seeds = {r.site for r in rows}, {r.seed for r in rows}
    rounds = sorted({r.round for r in rows})
    attacks, knowledge = ({getattr(r, k): None for r in rows} for k in ("attack", "knowledge"))
    when = f"round {rounds[0]}" if len(rounds) == 1 else f"{len(rounds)} rounds"
    by = " and ".join(attacks) if len(attacks) < 4 else f"{len(attacks)} attacks"
    return (
        f"{_count(len(images), 'image')} of {_count(len(sites), 'site')}, {when}, "
        f"{_count(len(seeds), 'seed')}; {'attack ' * (len(attacks) < 4)}{by}; the attacker knows: "
        f"{' or '.join(knowledge)}."
    )


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' * (n != 1)}"


def _strength(rows: Sequence[Row], attack: str, knowledge: str) -> tuple[int, float]:
    own = [r for r in rows if (r.attack, r.knowledge) == (attack, knowledge)]
    cells = {(r.round, r.site, protection(r)) for r in own}
    bare = [r.ssim or 0.0 for r in own if protection(r) == NO_DEFENCE]
    return len(cells), float(np.mean(bare or [r.ssim or 0.0 for r in own]))


def _schedules(run: Path, rows: Sequence[Row]) -> dict[tuple[int, str], Schedule]:
    records = find_records(run)
    found = {}
    for round, site in {(r.round, r.site) for r in rows}:
        info = read_info(records, round, site)
        found[round, site] = Schedule(info.known("batch_size"), info.known("n_steps"))
    return found

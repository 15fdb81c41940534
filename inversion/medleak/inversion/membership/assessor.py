"""Asks of one update after another which of the same candidates it was computed from."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medleak.custom.record import Record, UnknownError, list_updates
from medleak.inversion.evidence.declared_input import disagreements
from medleak.inversion.images.truth import find_truth
from medleak.inversion.knowledge import KnowledgeError
from medleak.inversion.membership import lists
from medleak.inversion.membership.answer import Assessed, rows_of
from medleak.inversion.membership.assessment import (
    Group,
    Scored,
    easy_auc,
    findings,
    halves,
    scored,
)
from medleak.inversion.membership.easy import easy_record
from medleak.inversion.membership.rule import judge
from medleak.inversion.membership.scores.registry import score_of
from medleak.inversion.observation import Observation
from medleak.inversion.statement import contradictions

MOST_OTHERS = 3
"""Other clients' updates of the round that serve as nulls: more cost, and tell no more."""

MIRRORS = {"hflip"}
"""Augmentations after which an image is still the one that is asked about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Whom it is asked about.

    Attributes:
        candidates: Datalist or folder of the images.
        nonmembers: The same of images that are certainly in no site's; None: what each site held
            out, by its own list.
        truth: See `medleak.inversion.images.truth.find_truth`: who was in, to measure by.
    """

    candidates: Path
    nonmembers: Path | None = None
    truth: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attacker:
    """Who asks: what he gets to see of an update.

    Attributes:
        read: (round, site) to the update as he holds it, behind a defence that is replayed.
        recorded: The same as it was recorded: what may contradict what was said of it.
        look: An update as he sees it.
        knowledge: In words.
        allowed_prefixes: Origins of model factories that are trusted beside the usual.
    """

    read: Callable[[int, str], Record]
    recorded: Callable[[int, str], Record]
    look: Callable[[Record], Observation]
    knowledge: str
    allowed_prefixes: Sequence[str] = ()


class Assessor:
    """Holds the images of a question, read once and checked, and who of them was in which site."""

    def __init__(self, question: Question, records: Path, picture: lists.Picture) -> None:
        """Read the images.

        Raises:
            ValueError: A list cannot be used.
        """
        self._question, self._records, self._picture = question, records, picture
        self.candidates = lists.load_group(question.candidates, picture, "candidates")
        self.nonmembers: Group | None = None
        if question.nonmembers is not None:
            self.nonmembers = lists.load_group(question.nonmembers, picture, "nonmembers")
            lists.check_apart(self.candidates, self.nonmembers, None)
            halves(self.nonmembers)
        self._trained: dict[str, set[str] | None] = {}
        self._easy: dict[tuple[str, ...], float] = {}

    def assess(
        self, rounds: Sequence[int], site: str, score: str, attacker: Attacker, *, easy: bool = True
    ) -> Assessed:
        """What ``site``'s updates of ``rounds``, joined, tell; ``easy``: also try an easy case.

        Raises:
            ValueError, ArithmeticError, RuntimeError: It cannot be examined.
        """
        candidates, row = self.candidates, score_of(score)
        trained = self._trained_on(site)
        nonmembers = self._nonmembers(site)
        lists.check_apart(candidates, nonmembers, trained)
        background, nulls = halves(nonmembers)
        own = [attacker.recorded(round, site) for round in rounds]
        views = {record.info.augmentation for record in own}
        mirrored = any(view is None or MIRRORS & set(view) for view in views)

        def ask(records: Sequence[Record]) -> Scored:
            seen = [attacker.look(record) for record in records]
            return scored(seen, candidates, background, nulls, row.score, mirrored=mirrored)

        result = ask([attacker.read(round, site) for round in rounds])
        others = [(ask(sent), free) for sent, free in self._others(rounds, site, attacker)]
        member = None if trained is None else lists.within(candidates, trained)
        found = findings(
            result,
            member,
            candidates.patients,
            others,
            easy=self._easy_auc(own[-1], score, attacker, background, nulls) if easy else None,
            views_known=all(view is not None and set(view) <= MIRRORS for view in views),
            contradicted="; ".join(why for record in own for why in _against(record, attacker)),
            copies=0 if member is None else lists.near_copies(candidates.images, member),
        )
        verdict = judge(
            found,
            score=row.name,
            knowledge=attacker.knowledge,
            images=len(candidates),
            patients=len(result.patients),
        )
        where = {"round": rounds[-1], "site": site, "score": row.name}
        rows = rows_of(where, result, candidates.patients, member)
        return Assessed(round=rounds[-1], site=site, candidates=rows, found=found, verdict=verdict)

    def _trained_on(self, site: str) -> set[str] | None:
        if site not in self._trained:
            datalist = find_truth(self._question.truth, self._records, site)
            self._trained[site] = datalist and lists.trained_on(datalist, self._picture)
        return self._trained[site]

    def _nonmembers(self, site: str) -> Group:
        if self.nonmembers is not None:
            return self.nonmembers
        datalist = find_truth(self._question.truth, self._records, site)
        found = None if datalist is None else lists.held_out(datalist, self._picture)
        if found is None:
            raise ValueError(
                f"There are no images that {site} certainly did not train on, so that no p-value "
                "can be computed. Give some by --nonmembers, or a --truth with validation images."
            )
        return found

    def _others(
        self, rounds: Sequence[int], site: str, attacker: Attacker
    ) -> Iterator[tuple[list[Record], NDArray[np.bool_]]]:
        """Updates of the same rounds by sites of whom it is known which candidates they had."""
        left = MOST_OTHERS
        recorded = list_updates(self._records)
        for other in dict.fromkeys(name for _, name in recorded):
            if other == site or left == 0 or not {(r, other) for r in rounds} <= {*recorded}:
                continue
            try:
                trained = self._trained_on(other)
                if trained is None:
                    continue
                sent = [attacker.read(round, other) for round in rounds]
            except ValueError:  # no list for it, or a damaged record: it is no null
                continue
            left -= 1
            yield sent, ~lists.within(self.candidates, trained)

    def _easy_auc(
        self, record: Record, score: str, attacker: Attacker, background: Group, nulls: Group
    ) -> float:
        """Of one step from the global model of ``record``, which no defence has changed."""
        key = str(record.info.round), record.info.site, score, attacker.knowledge
        if key not in self._easy:
            observed = attacker.look(record)

            def step(images: Tensor, labels: Tensor) -> Observation:
                allowed = attacker.allowed_prefixes
                return attacker.look(
                    easy_record(record, observed, images, labels, allowed_prefixes=allowed)
                )

            self._easy[key] = easy_auc(step, background, nulls, score_of(score).score)
        return self._easy[key]


def _against(record: Record, attacker: Attacker) -> list[str]:
    """What in ``record`` contradicts what was said of it."""
    try:
        return disagreements(record, attacker.look(record))
    except (KnowledgeError, UnknownError):  # what is not known contradicts nothing
        return contradictions(record)

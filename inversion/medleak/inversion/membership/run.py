"""Membership in the updates of a run: from records and lists to figures and verdicts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medleak.custom.record import Record, chosen_updates, list_updates, read_manifest, read_record
from medleak.inversion.images.truth import find_truth
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.membership import lists
from medleak.inversion.membership.assessment import (
    Group,
    Scored,
    easy_auc,
    findings,
    halves,
    scored,
)
from medleak.inversion.membership.easy import easy_record
from medleak.inversion.membership.roc import Figure, Separation
from medleak.inversion.membership.rule import FALSE_RATE, Findings, judge
from medleak.inversion.membership.scores.registry import ScoreRow, score_of
from medleak.inversion.observation import Observation, observe
from medleak.inversion.results.verdict import Verdict, as_json

MOST_OTHERS = 3
"""Other clients' updates of the round that serve as nulls: more cost, and tell no more."""

_MIRRORS = {"hflip"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked.

    Attributes:
        records: Directory.
        candidates: Datalist or folder of the images that are asked about.
        nonmembers: The same of images that are certainly in no site's; None: what each site held
            out, by its own list.
        truth: See `medleak.inversion.images.truth.find_truth`: who was in, to measure by.
        rounds: None: all; ``sites`` likewise.
        score: Name.
        device: Where networks run.
        allowed_prefixes: Origins of model factories that are trusted beside the usual.
        easy: Whether the score is tried on an easy case.
    """

    records: Path
    candidates: Path
    nonmembers: Path | None = None
    truth: Path | None = None
    rounds: Sequence[int] | None = None
    sites: Sequence[str] | None = None
    score: str = "row_space"
    device: str = "cpu"
    allowed_prefixes: Sequence[str] = ()
    easy: bool = True


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Assessed:
    """One update; ``refused`` says why nothing was examined, and then the rest is empty.

    Attributes:
        round: Of the update; ``site`` likewise.
        candidates: [N] a row of the table each: no names, only places in the list.
        found: Figures.
        verdict: In words.
        refused: Why it could not be done.
    """

    round: int
    site: str
    candidates: list[dict[str, Any]] = field(default_factory=list)
    found: Findings | None = None
    verdict: Verdict | None = None
    refused: str | None = None

    def summary(self) -> dict[str, Any]:
        """For a file: figures with intervals and the verdict."""
        head: dict[str, Any] = {"round": self.round, "site": self.site}
        if self.found is None or self.verdict is None:
            return head | {"refused": self.refused}
        found = self.found
        return {
            **head,
            "candidates": len(self.candidates),
            "recognised_patients": found.recognised,
            "false_rate": FALSE_RATE,
            "separation": None if found.separation is None else _separation(found.separation),
            "nulls": [_separation(null) for null in found.nulls],
            "null_recognised": found.null_recognised,
            "easy_auc": found.easy,
            **as_json(self.verdict),
        }


def assess_run(plan: Plan) -> Iterator[Assessed]:
    """Assess the updates that ``plan`` names, one after the other.

    Raises:
        ValueError: A list cannot be used, no update is of these sites and rounds, or the score is
            unknown. What is wrong with one update alone is said in its own result.
    """
    row = score_of(plan.score)
    picture = read_manifest(plan.records).known_input().picture()
    candidates = lists.load_group(plan.candidates, picture, "candidates")
    given = plan.nonmembers and lists.load_group(plan.nonmembers, picture, "nonmembers")
    if given:
        lists.check_apart(candidates, given, None)
        halves(given)
    chosen = chosen_updates(plan.records, plan.rounds, plan.sites)
    run = _Run(plan, row, picture, candidates, given or None)
    for round, site in chosen:
        yield run.assess(round, site)


class _Run:
    """What the updates of a run share."""

    def __init__(
        self,
        plan: Plan,
        row: ScoreRow,
        picture: lists.Picture,
        candidates: Group,
        given: Group | None,
    ) -> None:
        self._plan, self._row, self._picture = plan, row, picture
        self._candidates, self._given = candidates, given
        self._trained: dict[str, set[str] | None] = {}

    def assess(self, round: int, site: str) -> Assessed:
        try:
            return self._assess(round, site)
        except (ValueError, ArithmeticError, RuntimeError) as error:
            return Assessed(round=round, site=site, refused=" ".join(str(error).split()))

    def _assess(self, round: int, site: str) -> Assessed:
        plan, candidates = self._plan, self._candidates
        trained = self._trained_on(site)
        nonmembers = self._nonmembers(site)
        lists.check_apart(candidates, nonmembers, trained)
        background, nulls = halves(nonmembers)
        record = read_record(plan.records, round, site)
        augmentation = record.info.augmentation
        mirrored = augmentation is None or bool(_MIRRORS & set(augmentation))
        score = self._row.score

        def ask(update: Observation) -> Scored:
            return scored(update, candidates, background, nulls, score, mirrored=mirrored)

        result = ask(self._observe(record))
        others = [(ask(seen), free) for seen, free in self._others(round, site)]
        member = None if trained is None else lists.within(candidates, trained)
        easy = self._easy(record, background, nulls) if plan.easy else None
        found = findings(
            result,
            member,
            candidates.patients,
            others,
            easy=easy,
            views_known=augmentation is not None and set(augmentation) <= _MIRRORS,
        )
        verdict = judge(
            found,
            score=self._row.name,
            knowledge=Knowledge().describe(),
            images=len(candidates),
            patients=len(result.patients),
        )
        rows = _rows(round, site, self._row.name, result, candidates.patients, member)
        return Assessed(round=round, site=site, candidates=rows, found=found, verdict=verdict)

    def _observe(self, record: Record) -> Observation:
        return observe(
            record,
            Knowledge(),
            device=self._plan.device,
            allowed_prefixes=self._plan.allowed_prefixes,
        )

    def _trained_on(self, site: str) -> set[str] | None:
        if site not in self._trained:
            datalist = find_truth(self._plan.truth, self._plan.records, site)
            self._trained[site] = datalist and lists.trained_on(datalist, self._picture)
        return self._trained[site]

    def _nonmembers(self, site: str) -> Group:
        if self._given is not None:
            return self._given
        datalist = find_truth(self._plan.truth, self._plan.records, site)
        found = None if datalist is None else lists.held_out(datalist, self._picture)
        if found is None:
            raise ValueError(
                f"There are no images that {site} certainly did not train on, so that no p-value "
                "can be computed. Give some by --nonmembers, or a --truth with validation images."
            )
        return found

    def _others(self, round: int, site: str) -> Iterator[tuple[Observation, NDArray[np.bool_]]]:
        """Updates of the round by sites of whom it is known which candidates they had."""
        left = MOST_OTHERS
        for when, other in list_updates(self._plan.records):
            if when != round or other == site or left == 0:
                continue
            try:
                trained = self._trained_on(other)
                if trained is None:
                    continue
                record = read_record(self._plan.records, round, other)
            except ValueError:  # no list for it, or a damaged record: it is no null
                continue
            left -= 1
            yield self._observe(record), ~lists.within(self._candidates, trained)

    def _easy(self, record: Record, background: Group, nulls: Group) -> float:
        observed = self._observe(record)

        def step(images: Tensor, labels: Tensor) -> Observation:
            allowed = self._plan.allowed_prefixes
            return self._observe(
                easy_record(record, observed, images, labels, allowed_prefixes=allowed)
            )

        return easy_auc(step, background, nulls, self._row.score)


def _rows(
    round: int,
    site: str,
    score: str,
    result: Scored,
    patients: Sequence[Any],
    member: NDArray[np.bool_] | None,
) -> list[dict[str, Any]]:
    """A row a candidate. Patients are numbered as they come: their names stay in the list."""
    numbers = {who: k for k, who in enumerate(dict.fromkeys(patients))}
    return [
        {
            "round": round,
            "site": site,
            "score": score,
            "candidate": k,
            "patient": numbers[who],
            "value": float(f"{result.scores[k]:.6g}"),
            "p": float(f"{result.p[k]:.6g}"),
            "patient_p": float(f"{result.patients[who]:.6g}"),
            "member": None if member is None else bool(member[k]),
        }
        for k, who in enumerate(patients)
    ]


def _separation(told: Separation) -> dict[str, Any]:
    return {
        "auc": _figure(told.auc),
        **{name: _figure(f) | {"resolved": told.resolves(name)} for name, f in told.tpr.items()},
        "members": told.members,
        "others": told.others,
        "patients": told.patients,
    }


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "value": round(figure.value, 6),
        "lower95": round(figure.lower95, 6),
        "upper95": round(figure.upper95, 6),
    }

"""What was found of one update, for files: no names, only places in the list that was asked."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medleak.inversion.membership.assessment import Scored
from medleak.inversion.membership.roc import Figure, Separation
from medleak.inversion.membership.rule import FALSE_RATE, Findings
from medleak.inversion.results.verdict import Verdict, as_json


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Assessed:
    """One update; ``refused`` says why nothing was examined, and then the rest is empty.

    Attributes:
        round: Of the update; the last, where several were joined. ``site`` likewise.
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
            "flaws": found.flaws,
            **as_json(self.verdict),
        }


def rows_of(
    where: Mapping[str, Any],
    result: Scored,
    patients: Sequence[Hashable],
    member: NDArray[np.bool_] | None,
) -> list[dict[str, Any]]:
    """A row a candidate. Patients are numbered as they come: their names stay in the list."""
    numbers = {who: k for k, who in enumerate(dict.fromkeys(patients))}
    return [
        {
            **where,
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
        "curve": [{"fpr": rate} | _figure(f) for rate, f in told.curve.items()],
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

"""The goal that it cannot be told who was in, by the AUC of membership scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medleak.inversion.calibration.probe import Found, InformedAttack, NotMeasuredError
from medleak.inversion.membership.rule import CLOSE
from medleak.inversion.results.rows import shortened


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedMembership:
    """What one strength tells of who was in, by the attacker who is told most.

    Attributes:
        strength: Of the defence; `Mechanism.nothing` for none.
        auc_mean: Mean over runs.
        auc_upper95: Mean of the runs' upper 95 % bounds over patients. It bounds the mean AUC, as
            the runs are about the same patients.
        n: Runs (round and seed) behind them.
        seeds: Whose noise these were.
        attack: The score; ``knowledge``: of its attacker.
        recognised: Patients that were recognised, in all runs.
        refused: Runs that could not be examined, each counted as one that tells everything.
        fresh: Whether its seeds had no part in choosing the strength.
    """

    strength: float
    auc_mean: float
    auc_upper95: float
    n: int
    seeds: tuple[int, ...]
    attack: str
    knowledge: str
    recognised: int
    refused: int = 0
    fresh: bool = False

    def columns(self) -> Mapping[str, str]:
        """The figures for a table."""
        return {
            "AUC": f"{self.auc_mean:.3f}",
            "at most (95 %)": f"{self.auc_upper95:.3f}",
            "over": f"patients, {self.n} runs",
            "recognised": str(self.recognised),
        }

    def at_most(self) -> str:
        """What it may still let through, for a sentence."""
        text = f"the AUC may still be {self.auc_upper95:.3f} ({self.attack}; it is "
        text += f"{self.auc_mean:.3f}, with bounds as wide as the list of candidates is short)"
        return text + f"; {self.recognised} patients are recognised" * bool(self.recognised)


@dataclass(frozen=True, slots=True, kw_only=True)
class NobodyTold:
    """Members are hardly told from others: by the best of the scores tried the AUC is at most
    ``most`` by its upper 95 % bound, and no patient is recognised.
    """

    most: float = CLOSE

    def __post_init__(self) -> None:
        """Refuse bounds that nothing, or everything, keeps."""
        if not 0.5 < self.most < 1:
            raise ValueError(
                f"The largest AUC is {self.most}: 0.5 is chance, which no bound goes below, and 1 "
                "is everybody told. Give one between them."
            )

    def tried(
        self,
        strength: float,
        seeds: Sequence[int],
        found: Found,
        bare: Found | None,
        *,
        fresh: bool = False,
    ) -> TriedMembership:
        """The score with the highest bound."""
        by: dict[InformedAttack, list[Mapping[str, Any]]] = {}
        update = found.update
        for case, answer in update.answers:
            by.setdefault((case.attack, case.knowledge), []).append(answer.summary)
        probes = []
        for attacker in dict.fromkeys((*by, *update.refused)):
            refused = len(update.refused.get(attacker, ()))
            if bare is None and refused:
                raise NotMeasuredError(next(iter(update.refused[attacker].values())))
            aucs = [_auc(summary) for summary in by.get(attacker, ())]
            aucs += [(1.0, 1.0)] * refused
            probes.append(
                TriedMembership(
                    strength=strength,
                    auc_mean=shortened(sum(a for a, _ in aucs) / len(aucs)),
                    auc_upper95=shortened(sum(u for _, u in aucs) / len(aucs)),
                    n=len(aucs),
                    seeds=tuple(seeds),
                    attack=attacker[0],
                    knowledge=attacker[1],
                    recognised=sum(s["recognised_patients"] for s in by.get(attacker, ())),
                    refused=refused,
                    fresh=fresh,
                )
            )
        if not probes:
            raise NotMeasuredError("nobody asked who was in")
        return max(probes, key=lambda p: (p.recognised > 0, p.auc_upper95))

    def confirmed(self, tried: TriedMembership) -> tuple[str, str]:
        """What a strength lets through that holds: for a sentence, and what is to be added."""
        text = f"AUC {tried.auc_mean:.3f}, at most {tried.auc_upper95:.3f} (95 %, over patients)"
        return text, ""

    @property
    def needs_noise_alone(self) -> bool:
        """Whether it compares with attacks on noise alone: others' updates are its null."""
        return False

    def settings(self) -> Mapping[str, Any]:
        """For calibration.json."""
        return {"until": "membership", "auc": self.most}

    def holds(self, tried: TriedMembership) -> bool:
        """See the class."""
        return tried.auc_upper95 <= self.most and not tried.recognised

    def no_baseline(self, bare: TriedMembership, found: Found) -> str:
        """Why nothing can be concluded from the undefended update; empty if it can."""
        if found.contradicted:
            return (
                f"inconclusive: the update contradicts what was said of it ({found.contradicted[0]}"
                "), so a score that was told so would prove nothing by its failure under a defence"
            )
        if not any(answer.summary["verdict_kind"] == "leaks" for _, answer in found.update.answers):
            return (
                f"no strength: even the undefended update does not tell who was in (AUC "
                f"{bare.auc_mean:.3f}, at most {bare.auc_upper95:.3f}), so no strength can be seen "
                "to hide it; another score, or more candidates, may find more"
            )
        return ""


def _auc(summary: Mapping[str, Any]) -> tuple[float, float]:
    told = summary["separation"]
    if told is None:
        raise NotMeasuredError(
            "it is not known which candidates were in, or all or none were: give --truth, and "
            "candidates of both kinds"
        )
    return told["auc"]["value"], told["auc"]["upper95"]

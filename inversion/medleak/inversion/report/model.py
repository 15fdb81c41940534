"""What a report says, as records: `reading` fills, `verdicts` judges, `page` shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medleak.custom.record import natural_key
from medleak.filters.spec import SpecChain, rounded
from medleak.inversion.results.rows import Row
from medleak.inversion.results.verdict import Kind, Verdict

METRICS = ("ssim", "ssim_tmi", "rdlv", "mse", "psnr", "asr", "iip", "iip_site", "ssim_prior")
"""Figures that a group may have; any may be missing."""


MEMBERSHIP_METRICS = ("auc", "tpr_1", "tpr_01")
"""Figures of a `Membership`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of a group: its mean, 95 % bootstrap interval and extremes; None: unknown.

    Attributes:
        n: Images that it is defined for.
    """

    mean: float | None = None
    lower95: float | None = None
    upper95: float | None = None
    min: float | None = None
    max: float | None = None
    n: int = 0

    @property
    def defined(self) -> bool:
        """Whether there is a figure at all."""
        return self.mean is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Figures of one site under one attack, knowledge and defence; ``round`` None: of all rounds.

    Attributes:
        declared: What the site says it applied before sending.
        defence: What the audit replayed on top; ``none``: the update as it was sent.
        n: Reconstructions; ``seeds``: runs of the attack.
        figures: By name, see `METRICS`.
        asr_sweep: Success rate by threshold on SSIM.
        nulls: What chance and public knowledge reach, by name.
        stuck: Cases whose attack knew by its own loss that it failed.
        verdict: The audit's own; None: it gives none that is known.
        sentence: The same in the audit's words.
        over: What its intervals are over: ``patients``, or ``runs`` of one patient's images.
        identification: How IIP was computed, or why not; ``iip_p``: against chance.
        contradicted: What in one of its updates contradicts what was said of it; empty: nothing.
    """

    site: str
    round: int | None
    attack: str
    declared: str
    defence: str
    knowledge: str
    n: int
    seeds: int
    figures: Mapping[str, Figure]
    asr_sweep: Mapping[str, float] = field(default_factory=dict)
    nulls: Mapping[str, float] = field(default_factory=dict)
    stuck: int = 0
    verdict: Verdict | None = None
    sentence: str = ""
    over: str = ""
    identification: str = ""
    iip_p: float | None = None
    contradicted: str = ""

    def figure(self, name: str) -> Figure:
        """The figure called ``name``; an undefined one where the audit has none."""
        return self.figures.get(name, Figure())


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """What was found when it was asked who was in an update.

    Attributes:
        round: The last one, where ``joined``.
        score: By which candidates were compared.
        figures: ``auc``, ``tpr_1``, ``tpr_01``: how members are told from others.
        nulls: AUC of updates of clients that had neither.
        recognised: Patients of the list at the stated false rate; ``candidates``: images of it.
        kind: The audit's own verdict; None: it gives none that is known. ``sentence``: in words.
        flaws: Why low figures would be no evidence; None: the audit does not say.
        curve: False positive rate to true positive rate, rising.
    """

    site: str
    round: int
    score: str
    joined: bool
    defence: str
    knowledge: str
    seed: int
    figures: Mapping[str, Figure]
    nulls: Sequence[Figure]
    recognised: int
    candidates: int
    kind: Kind | None
    sentence: str
    flaws: Sequence[str] | None
    curve: Mapping[float, Figure]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The least strength that held for a site, as calibration.json says it."""

    site: str
    defence: str
    parameter: str
    strength: float | None
    why: str
    privacy_json: Any
    searched: Sequence[Mapping[str, Any]]
    utility: Sequence[Mapping[str, Any]]

    @property
    def text(self) -> str:
        """The defence at the strength that was found."""
        if self.strength is None:
            return self.defence
        given = {self.parameter or "strength": rounded(self.strength)}
        try:
            return str(SpecChain.parse(self.defence).with_(**given))
        except ValueError:  # a file that somebody wrote by hand
            return f"{self.defence} {given}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """State of one privacy ledger, in words; ``error``: why it cannot be trusted."""

    place: str
    releases: int
    spent: str
    head: str
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """An audit directory, read.

    Attributes:
        folder: Where it is.
        rows: One an attacked image.
        groups: Over all rounds and, where the audit has them, by round.
        refused: ``case`` and ``why`` of what could not be attacked.
        left: Site to how many of its cases were to be attacked and are not done.
        settled: Updates (round, site) to how many of their cases were left out, as it was settled
            before that the site leaks.
        not_drawn: Site to how many of its updates a sample left out.
        health: By ``attack|knowledge``: did the attack succeed on an easy case?
        missing: What the directory lacks, a sentence each; said in the report.
        membership: Who was in; empty: nobody asked.
        calibrations_of_membership: Strengths at which it could no longer be told who was in.
        beside: By name, what files of the attack classes hold that rebuild no image
            (`medleak.inversion.report.attack_classes.registry`), and what canaries say of ε; None:
            there is none.
    """

    folder: Path
    job: str
    rows: Sequence[Row]
    groups: Sequence[Group]
    refused: Sequence[Mapping[str, Any]]
    health: Mapping[str, Any]
    definitions: Mapping[str, Any]
    config: Mapping[str, Any]
    calibrations: Sequence[Calibration]
    utility: Sequence[Mapping[str, Any]]
    ledgers: Sequence[Ledger]
    missing: Sequence[str]
    left: Mapping[str, int] = field(default_factory=dict)
    settled: Mapping[tuple[int, str], int] = field(default_factory=dict)
    not_drawn: Mapping[str, int] = field(default_factory=dict)
    membership: Sequence[Membership] = ()
    calibrations_of_membership: Sequence[Calibration] = ()
    beside: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sites(self) -> list[str]:
        """Sites in the order of the table, those included of which nothing is known."""
        seen = [g.site for g in self.groups] + [r.site for r in self.rows]
        seen += [m.site for m in self.membership]
        seen += [str(r["case"]["site"]) for r in self.refused] + list(self.left)
        seen += [site for _, site in self.settled] + list(self.not_drawn)
        return sorted(set(seen), key=natural_key)

    @property
    def overall(self) -> list[Group]:
        """The groups over all rounds."""
        return [g for g in self.groups if g.round is None]

"""What an attacker makes of the simulated clients: inspection, reconstruction, membership."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from medleak.custom.record import read_manifest, read_record
from medleak.inversion.audit.beside.registry import write_beside
from medleak.inversion.audit.journal import Journal
from medleak.inversion.audit.plan import Plan
from medleak.inversion.audit.run import Outcome, audit
from medleak.inversion.card.config import CardConfig
from medleak.inversion.card.simulate import Simulated
from medleak.inversion.evidence.inspection import Inspection, inspect_update
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.membership.assessor import Assessor, Question
from medleak.inversion.observation import observe
from medleak.inversion.report import who
from medleak.inversion.report.model import Audit, Group
from medleak.inversion.report.reading import read_audit
from medleak.inversion.report.verdicts import Light, light_of
from medleak.inversion.results.case import NO_DEFENCE

PRIOR = "phantoms"
SCORE = "row_space"
"""By which membership is asked."""

MEMBERS_TOLD = "told at"
"""How `Recipient.members` begins where members are told."""

_TOO_LONG = 600  # of a reason that goes on a page


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """What came back to who sees the updates in one way, over all sites.

    Attributes:
        defence: What stood before him, as an audit names it.
        light: The worst of the sites'.
        why: In words.
        sites: How many were attacked.
        images: How many those have; of all sites, where none was attacked.
        whole: Of these, at SSIM 0.9 or more.
        ssim, ssim_max, prior: Means and maximum; None where nothing was measured.
        rdlv: (mean, lower, upper) of the worst site.
        stuck: Runs that were stuck.
        members: At how many sites it can be told who was in, in words.
    """

    defence: str
    light: Light
    why: str
    sites: int = 0
    images: int = 0
    whole: int = 0
    ssim: float | None = None
    ssim_max: float | None = None
    prior: float | None = None
    rdlv: tuple[float | None, float | None, float | None] = (None, None, None)
    stuck: int = 0
    members: str = "not tested"


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """How well members are told from others, a site each; or why it was not tested.

    Attributes:
        verdicts: Of the sites, in words.
        kinds: Of the verdicts.
        auc: (value, lower, upper) of each site.
        untested: Why there is none.
    """

    verdicts: Sequence[str] = ()
    kinds: Sequence[str] = ()
    auc: Sequence[tuple[float, float, float]] = ()
    untested: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that a card says.

    Attributes:
        config: The description.
        inspection: Of the first site's update; None: it could not be inspected, as ``why`` says.
        why: See there.
        recipients: What came back, the bare updates first.
        membership: Who was in it.
        late: What was left out when the card's time was over; empty: nothing.
    """

    config: CardConfig
    inspection: Inspection | None
    why: str = ""
    recipients: Sequence[Recipient]
    membership: Membership = field(default_factory=Membership)
    late: str = ""

    @property
    def known(self) -> bool:
        """Whether the question that a card is for has an answer: do the bare updates leak?"""
        return self.members_told or self.recipients[0].light.answers

    @property
    def members_told(self) -> bool:
        """Whether members of at least one site are told from others: a leak, image or none."""
        return "leaks" in self.membership.kinds

    def as_json(self) -> dict[str, Any]:
        """For card.json."""
        seen = self.inspection
        return {
            "format_version": 1,
            "config": self.config.model_dump(mode="json"),
            "inspection": {"why": self.why} if seen is None else asdict(seen),
            "recipients": [asdict(r) | {"light": r.light.value} for r in self.recipients],
            "membership": asdict(self.membership),
            "late": self.late,
            "known": self.known,
        }


def examine(
    config: CardConfig,
    made: Simulated,
    out: Path,
    *,
    jobs: int = 1,
    device: str = "cpu",
    allowed_prefixes: Sequence[str] = (),
    clock: Callable[[], float] = time.monotonic,
    until: float = math.inf,
    told: Callable[[Outcome], None] | None = None,
) -> Findings:
    """Try what an attacker would on what was simulated.

    Args:
        config: The description.
        made: What was simulated.
        out: Audit directory, for who wants to look closer.
        jobs: Attacks at the same time.
        device: Where attacks run.
        allowed_prefixes: As of `medleak.inversion.card.simulate.simulate`.
        clock: Seconds, of the processor or on the wall.
        until: Its time after which no attack is begun.
        told: Called with what became of each case.

    Raises:
        ValueError: The audit as a whole is unusable.
    """
    inspection, why = _inspected(made, allowed_prefixes)
    asking, untested = _asking(made)
    plan = Plan(
        records=made.records,
        out=out,
        attacks=[f"row_space:seconds={config.seconds:g}"],
        defences=[NO_DEFENCE, *config.replays()],
        prior=PRIOR if len(config.input_spec().spatial_size) == 2 else "gray",
        truth=made.truth,
        device=device,
        allowed_prefixes=allowed_prefixes,
        **asking,
    )
    left = _audit(plan, jobs, lambda: clock() > until, told)
    found = read_audit(out)
    late = f"the card's {config.minutes:g} minutes were over" if left else ""
    return Findings(
        config=config,
        inspection=inspection,
        why=why,
        recipients=[_recipient(found, defence, config, late) for defence in plan.defences],
        membership=_membership(found, untested, config.sites, late),
        late=late and f"{late}, and {left} of {len(plan.cases())} attacks were not made",
    )


def _audit(
    plan: Plan, jobs: int, over: Callable[[], bool], told: Callable[[Outcome], None] | None
) -> int:
    """Defence by defence, the bare updates first; how many cases were not begun in time."""
    ended, late = 0, False
    for defence in plan.defences:
        step = replace(plan, defences=[defence])
        options: dict[str, Any] = {"jobs": jobs, "command": ["medleak", "card"]}
        with closing(audit(step, nulls=False, beside=False, **options)) as outcomes:
            for outcome in outcomes:
                ended += 1
                if told is not None:
                    told(outcome)
                if late := over():
                    break
        if late:
            break
    with closing(Journal(plan.out, ())) as journal:
        journal.finish()
    write_beside(plan)
    return len(plan.cases()) - ended


def _inspected(made: Simulated, allowed_prefixes: Sequence[str]) -> tuple[Inspection | None, str]:
    try:
        record = read_record(made.records, 0, "site-1")
        return inspect_update(observe(record, Knowledge(), allowed_prefixes=allowed_prefixes)), ""
    except (ValueError, RuntimeError, ArithmeticError) as error:
        return None, _one_line(error)


def _recipient(found: Audit, defence: str, config: CardConfig, late: str = "") -> Recipient:
    groups = [g for g in found.overall if g.defence == defence]
    rows = [r for r in found.rows if r.defence == defence and r.ssim is not None]
    members = _members(found, defence, config.sites)
    refused = _refused(found, defence, membership=False)
    asked = config.images * (len(groups) or config.sites)
    if not groups:
        why = refused[0] if refused else late or "nothing was attacked"
        return Recipient(
            defence=defence, light=Light.NOT_KNOWN, why=why, images=asked, members=members
        )
    judged = [(*light_of(g, found.health), g) for g in groups]
    light, why, worst = min(judged, key=lambda j: (j[0].severity, -_mean(j[2])))
    if light is Light.NONE_FOUND and (refused or len(groups) < config.sites):
        light = Light.NOT_KNOWN
        why = f"{len(refused) or config.sites - len(groups)} of the updates could not be attacked"
        if late and not refused:
            why = f"{config.sites - len(groups)} of the updates were not attacked: {late}"
    rdlv = worst.figure("rdlv")
    return Recipient(
        defence=defence,
        light=light,
        why=why[:_TOO_LONG],
        sites=len(groups),
        images=asked,
        whole=sum((r.ssim or 0) >= 0.9 for r in rows),
        ssim=_over(rows, "ssim"),
        ssim_max=max((r.ssim or 0.0 for r in rows), default=None),
        prior=_over(rows, "ssim_prior"),
        rdlv=(rdlv.mean, rdlv.lower95, rdlv.upper95),
        stuck=sum(g.stuck for g in groups),
        members=members,
    )


def _mean(group: Group) -> float:
    return group.figure("rdlv").mean or -1.0


def _over(rows: Sequence[Any], name: str) -> float | None:
    values = [v for r in rows if (v := getattr(r, name)) is not None]
    return sum(values) / len(values) if values else None


def _refused(found: Audit, defence: str, *, membership: bool) -> list[str]:
    """Why cases of one question, behind one defence, could not be examined."""
    return [
        _why(r)
        for r in found.refused
        if r["case"].get("defence") == defence and who.asks(r["case"]) is membership
    ]


def _why(refused: Mapping[str, Any]) -> str:
    return " ".join(str(refused.get("why", "")).split())[:_TOO_LONG]


def _asking(made: Simulated) -> tuple[dict[str, Any], str]:
    """The fields of a plan that ask who was in; or why that cannot be asked of these images."""
    question = Question(candidates=made.candidates, nonmembers=made.nonmembers, truth=made.truth)
    try:
        picture = read_manifest(made.records).known_input().picture()
        Assessor(question, made.records, picture)
    except (ValueError, RuntimeError) as error:
        return {}, _one_line(error)
    return {"question": question, "scores": [SCORE]}, ""


def _membership(found: Audit, untested: str, sites: int, late: str) -> Membership:
    """Of the updates as they were sent."""
    if untested:
        return Membership(untested=untested)
    asked = [m for m in found.membership if m.defence == NO_DEFENCE]
    refused = _refused(found, NO_DEFENCE, membership=True)
    if not asked:
        return Membership(untested=refused[0] if refused else late or "there was no update")
    refused += [late] * (sites - len(asked) - len(refused)) if late else []
    aucs = [m.figures["auc"] for m in asked if m.figures["auc"].defined]
    return Membership(
        verdicts=[m.sentence for m in asked] + [f"not examined: {why}" for why in refused],
        kinds=[m.kind or "inconclusive" for m in asked] + ["not_examined"] * len(refused),
        auc=[(f.mean or 0.0, f.lower95 or 0.0, f.upper95 or 1.0) for f in aucs],
    )


def _members(found: Audit, defence: str, sites: int) -> str:
    """At how many of the sites that were asked members are told behind ``defence``."""
    asked = [m for m in found.membership if m.defence == defence]
    told = sum(m.kind == "leaks" for m in asked)
    if told:
        return f"{MEMBERS_TOLD} {told} of {len(asked)} sites"
    hidden = sum(m.kind == "no_leak_found" and m.flaws == [] for m in asked)
    return "not told" if hidden == sites else "not known" if asked else "not tested"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_TOO_LONG]

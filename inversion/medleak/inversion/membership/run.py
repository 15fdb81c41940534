"""Membership in the updates of a run: from records and lists to figures and verdicts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from medleak.custom.record import Record, chosen_updates, read_manifest, read_record
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.membership.answer import Assessed
from medleak.inversion.membership.assessor import Assessor, Attacker, Question
from medleak.inversion.membership.scores.registry import score_of
from medleak.inversion.observation import Observation, observe


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked.

    Attributes:
        records: Directory.
        question: Images, and who was in.
        rounds: None: all; ``sites`` likewise.
        score: Name.
        joined: Ask of all these rounds of a site together, instead of each.
        device: Where networks run.
        allowed_prefixes: Origins of model factories that are trusted beside the usual.
        easy: Whether the score is tried on an easy case.
    """

    records: Path
    question: Question
    rounds: Sequence[int] | None = None
    sites: Sequence[str] | None = None
    score: str = "row_space"
    joined: bool = False
    device: str = "cpu"
    allowed_prefixes: Sequence[str] = ()
    easy: bool = True


def assess_run(plan: Plan) -> Iterator[Assessed]:
    """Assess the updates that ``plan`` names, one after the other.

    Raises:
        ValueError: A list cannot be used, no update is of these sites and rounds, or the score is
            unknown. What is wrong with one update alone is said in its own result.
    """
    score_of(plan.score)
    picture = read_manifest(plan.records).known_input().picture()
    assessor = Assessor(plan.question, plan.records, picture)
    chosen = chosen_updates(plan.records, plan.rounds, plan.sites)
    asked = [((round,), site) for round, site in chosen]
    if plan.joined:
        sites = dict.fromkeys(site for _, site in chosen)
        asked = [(tuple(r for r, of in chosen if of == site), site) for site in sites]
    for rounds, site in asked:
        try:
            yield assessor.assess(rounds, site, plan.score, _attacker(plan), easy=plan.easy)
        except (ValueError, ArithmeticError, RuntimeError) as error:
            why = " ".join(str(error).split())
            yield Assessed(round=rounds[-1], site=site, refused=why)


def _attacker(plan: Plan) -> Attacker:
    def read(round: int, site: str) -> Record:
        return read_record(plan.records, round, site)

    def look(record: Record) -> Observation:
        return observe(
            record, Knowledge(), device=plan.device, allowed_prefixes=plan.allowed_prefixes
        )

    return Attacker(
        read=read,
        recorded=read,
        look=look,
        knowledge=Knowledge().describe(),
        allowed_prefixes=plan.allowed_prefixes,
    )

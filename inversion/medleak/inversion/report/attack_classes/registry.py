"""The classes of attack, in the order of the report: a new one is a file and a line here.

A class is an `AttackClass` whose ``answers`` takes an `Audit`, as it was read, and says what is
known for each recipient. A class that rebuilds no image has a JSON file of its own in the audit
directory: it is read where ``file`` names it, as if a stranger had written it, and handed on as
``audit.beside[file]`` (`medleak.inversion.audit.beside` writes it). What a class leaves out stands
in the report as "not tested" with the reason ``missing``; nothing is missing silently.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from medleak.inversion.report.attack_classes import (
    attributes,
    final_model,
    malicious_server,
    membership,
    reconstruction,
    reidentification,
)
from medleak.inversion.report.attack_classes.answer import (
    Answer,
    AttackClass,
    Recipient,
    not_tested,
)
from medleak.inversion.report.model import Audit
from medleak.inversion.report.verdicts import Light

ROWS: Sequence[AttackClass] = (
    reconstruction.CLASS,
    reidentification.CLASS,
    membership.CLASS,
    attributes.PATIENTS,
    attributes.SITES,
    final_model.CLASS,
    malicious_server.CLASS,
)

FILES: Sequence[str] = tuple(dict.fromkeys(row.file for row in ROWS if row.file))
"""What is read beside the tables of an audit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A class, and all its answers: at least one for each recipient that it is about."""

    of: AttackClass
    answers: Sequence[Answer]

    def by(self, recipient: Recipient) -> Answer | None:
        """The worst answer of one recipient; None: the class is not about it."""
        found = [a for a in self.answers if a.recipient is recipient]
        return min(found, key=lambda a: a.badness, default=None)

    @property
    def leading(self) -> Answer:
        """What the front of the report shows: the worst of those that were tested."""
        tested = [a for a in self.answers if a.tested]
        return min(tested or self.answers, key=lambda a: a.badness)


def asked(audit: Audit) -> list[Asked]:
    """Every class and what ``audit`` answers to it, "not tested" included."""
    return [
        Asked(of=row, answers=[_of_sample(a, audit) for a in _complete(row, row.answers(audit))])
        for row in ROWS
    ]


def _of_sample(answer: Answer, audit: Audit) -> Answer:
    """``answer``, where it clears more than was looked at: of what a sample left out, no class."""
    if answer.light is not Light.NONE_FOUND or not audit.not_drawn:
        return answer
    words = f"{sum(audit.not_drawn.values())} updates were not drawn; of others {answer.words}"
    return replace(answer, light=Light.NOT_KNOWN, words=words)


def _complete(row: AttackClass, answers: Sequence[Answer]) -> list[Answer]:
    ordered = []
    for recipient in row.recipients:
        found = [a for a in answers if a.recipient is recipient]
        ordered += found or [not_tested(recipient, row.missing)]
    return ordered


def worst(found: Sequence[Asked], recipient: Recipient) -> tuple[Light | None, int, int]:
    """Of one recipient: the worst light, and how many of the classes about it were tested.

    Returns:
        Light, or None where none was tested; classes tested; classes there are.
    """
    answers = [a for one in found if (a := one.by(recipient)) is not None]
    lights = [a.light for a in answers if a.light is not None]
    return min(lights, key=lambda light: light.severity, default=None), len(lights), len(answers)

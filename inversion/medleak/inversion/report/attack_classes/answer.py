"""What an audit says of one class of attack by one recipient; never nothing at all."""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from medleak.inversion.report.model import Audit, Figure
from medleak.inversion.report.verdicts import Light


class Recipient(enum.Enum):
    """Who could make an attack, by what reaches him."""

    SERVER = "the server, which gets each update"
    SUM = "a server that gets the sum over sites alone"
    FINAL_MODEL = "whoever has the final model"
    SITES = "another site, which gets each round's model"

    @property
    def short(self) -> str:
        """For the head of a column."""
        return {
            "SERVER": "server: each update",
            "SUM": "server: sum of sites only",
            "FINAL_MODEL": "holder of the final model",
            "SITES": "another site",
        }[self.name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is known of one class of attack by one recipient.

    Attributes:
        light: As of a site: the rule is that of `medleak.inversion.report.verdicts.RULES`, read
            for this class. None: it was not tested, as ``words`` say why.
        words: A sentence without its full stop.
        measure: What the figures are of, such as "SSIM"; empty: there are none.
        worst: The largest figure, of one image, site or update. ``where``: of which.
        mean: The average of all, with its interval where one is known.
        chance: What chance, or a guess, reaches in that measure; None: not known.
    """

    recipient: Recipient
    light: Light | None
    words: str
    measure: str = ""
    worst: Figure = field(default_factory=Figure)
    where: str = ""
    mean: Figure = field(default_factory=Figure)
    chance: float | None = None

    @property
    def tested(self) -> bool:
        """Whether anything was tried; that what was tried told nothing is another matter."""
        return self.light is not None

    @property
    def badness(self) -> float:
        """Worst first: what leaks, what is not known, what was not tested, what was not found."""
        if self.light is None:
            return Light.NONE_FOUND.severity - 0.5
        return self.light.severity


def not_tested(recipient: Recipient, why: str) -> Answer:
    """That nobody tried, and why."""
    return Answer(recipient=recipient, light=None, words=why)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackClass:
    """A row of the table of classes.

    Attributes:
        name: In evidence.json; never to change.
        title: In the report.
        asks: What the class asks, in plain words.
        source: Where the class is described.
        recipients: Who could try it. Of each of them there is at least one answer, or a row
            says "not tested".
        elsewhere: Why the other recipients have no answer.
        answers: What an audit says, any number a recipient; what it leaves out was not tested.
        file: In the audit directory, what ``answers`` takes from `Audit.beside`; empty: nothing.
        missing: Why there is no answer where ``answers`` gives none.
    """

    name: str
    title: str
    asks: str
    source: str
    recipients: Sequence[Recipient]
    elsewhere: str
    answers: Callable[[Audit], Sequence[Answer]]
    missing: str
    file: str = ""

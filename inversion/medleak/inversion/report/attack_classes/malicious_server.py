"""Does the server send models that are made to read images out of the updates?"""

from medleak.inversion.report.attack_classes.answer import Answer, AttackClass, Recipient
from medleak.inversion.report.model import Audit


def answers(audit: Audit) -> list[Answer]:
    """None: an audit does not look at the models for traps."""
    return []


CLASS = AttackClass(
    name="malicious_server",
    title="Malicious server",
    asks="Were the models that were sent made to read images out of the updates?",
    source="Fowl et al. 2022, arXiv:2110.13057; Boenisch et al. 2023, arXiv:2112.02918",
    recipients=(Recipient.SERVER, Recipient.SUM),
    elsewhere="it does not choose what model is sent",
    answers=answers,
    missing="the models that were sent were not looked at for traps (medleak sentinel)",
)
"""Its row."""

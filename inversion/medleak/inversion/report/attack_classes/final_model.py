"""What comes out of the trained model alone, when training is over."""

from medleak.inversion.report.attack_classes.answer import Answer, AttackClass, Recipient
from medleak.inversion.report.model import Audit


def answers(audit: Audit) -> list[Answer]:
    """None: audits look at updates."""
    return []


CLASS = AttackClass(
    name="model_inversion",
    title="Inversion of the final model",
    asks="Do training images come out of the trained model alone?",
    source="Fredrikson et al. 2015, doi:10.1145/2810103.2813677; Yin et al. 2020, arXiv:1912.08795",
    recipients=(Recipient.FINAL_MODEL, Recipient.SITES),
    elsewhere="a server has more than the model; see reconstruction",
    answers=answers,
    missing="only updates were attacked, not the trained model",
)
"""Its row."""

"""What an attacker is granted beside the update's weights, and how a lack of it is said."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_args

LabelKnowledge = Literal["known", "inferred", "optimised"]
ModelRound = Literal["current", "previous", "initial"]
PriorImage = Literal["given", "gray", "other"]


class KnowledgeError(ValueError):
    """An attack asked for something that the attacker's declared knowledge withholds."""

    def __init__(self, need: str, field: str) -> None:
        """``need`` in words, ``field`` of :class:`Knowledge` that withholds it."""
        super().__init__(
            f"The attack needs {need}, which this attacker does not know ({field} is withheld): a "
            f"result would claim less knowledge than it used. Grant Knowledge({field}=...) or "
            "choose an attack that does without."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What the attacker knows beside the update's weights; part of every result.

    Attributes:
        global_model: The model that the round started from.
        bn_statistics: Running batch-norm statistics and step counters, before and after (an
            update under FedBN does not hold them, whatever is granted here).
        labels: ``known``: given to the attack. ``inferred``: computed from the update.
            ``optimised``: unknowns like the pixels.
        batch_size: Images in a local step.
        lr: Learning rate of the local steps.
        n_images: Images in the client's training set.
        prior: A mean image of public data.
        channels: Whether images are gray; without it the attack looks for colour images.
        model_round: Which global model the attacker takes for the round's own: ``current`` (it is),
            or, stale, that of the ``previous`` or of the first (``initial``) recorded round.
        prior_image: The prior that the attack gets: the ``given`` one, or a wrong one: ``gray``, or
            of an ``other`` kind of image. Measures stay relative to the given one.
    """

    global_model: bool = True
    bn_statistics: bool = True
    labels: LabelKnowledge = "inferred"
    batch_size: bool = True
    lr: bool = True
    n_images: bool = True
    prior: bool = True
    channels: bool = True
    model_round: ModelRound = "current"
    prior_image: PriorImage = "given"

    def __post_init__(self) -> None:
        """Reject kinds of knowledge that nothing implements."""
        if self.labels not in ("known", "inferred", "optimised"):
            raise ValueError(f"labels must be known, inferred or optimised, got {self.labels!r}.")
        for name, kinds in (("model_round", ModelRound), ("prior_image", PriorImage)):
            if (value := getattr(self, name)) not in get_args(kinds):
                raise ValueError(f"{name} must be {_or(get_args(kinds))}, got {value!r}.")

    def describe(self) -> str:
        """One line for a result: ``all, labels inferred``, or what is withheld or wrong."""
        off = [f.name for f in fields(self) if getattr(self, f.name) is False]
        text = f"{'without ' + '+'.join(off) if off else 'all'}, labels {self.labels}"
        text += "" if self.prior_image == "given" else f", prior {self.prior_image}"
        return text + ("" if self.model_round == "current" else f", model {self.model_round}")


def _or(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"

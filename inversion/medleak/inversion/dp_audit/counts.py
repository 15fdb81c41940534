"""A bound from canaries that somebody planted in one run and guessed: counts alone, no training.

Each canary (an image of one record, or a gradient of one coordinate) went into the training by a
fair coin of its own; afterwards the auditor guessed of some which way it fell.
"""

from dataclasses import dataclass
from typing import Any, Literal

from medleak.filters.spec import Spec
from medleak.inversion.dp_audit.estimates import one_run, one_run_gaussian

NAME = "canaries"
Kind = Literal["refuted", "not refuted", "out of reach", "no claim"]
_KEYS = ("planted", "guessed", "right")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guessed:
    """What one run with canaries says of ε.

    Attributes:
        planted: Canaries; ``guessed``: of how many the auditor said in or out; ``right``: of those.
        claimed: ε that is said to hold; None: nobody claims any.
        bound: Lower bound of ε, whatever the mechanism.
        gaussian: The same if its trade-off curve is a Gaussian's.
        most: What ``bound`` would be had every guess been right.
    """

    planted: int
    guessed: int
    right: int
    delta: float
    confidence: float
    claimed: float | None
    bound: float
    gaussian: float
    most: float

    @property
    def kind(self) -> Kind:
        """``not refuted`` is no proof: a better guesser might be right more often."""
        if self.claimed is None:
            return "no claim"
        if self.bound > self.claimed:
            return "refuted"
        return "out of reach" if self.most <= self.claimed else "not refuted"

    def __str__(self) -> str:
        """In words."""
        said = (
            f"ε is at least {self.bound:.3g} at δ = {self.delta:g} ({self.confidence:.0%} "
            f"confidence; of {self.planted} canaries {self.guessed} were guessed and {self.right} "
            f"rightly), and at least {self.gaussian:.3g} if the mechanism is Gaussian as a whole"
        )
        if self.claimed is None:
            return f"no ε is claimed; {said}"
        if self.kind == "refuted":
            return f"REFUTED: ε = {self.claimed:.3g} is claimed; {said}"
        if self.kind == "out of reach":
            return (
                f"not known: ε = {self.claimed:.3g} is claimed, and {self.guessed} guesses could "
                f"not show more than {self.most:.3g}, were they all right; {said}"
            )
        return f"not refuted: ε = {self.claimed:.3g} is claimed; {said}"

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return {
            "verdict": str(self),
            "kind": self.kind,
            "planted": self.planted,
            "guessed": self.guessed,
            "right": self.right,
            "delta": self.delta,
            "confidence": self.confidence,
            "claimed": self.claimed,
            "bound": self.bound,
            "gaussian": self.gaussian,
            "most": self.most,
        }


def judge(text: str, *, delta: float, confidence: float, claimed: float | None) -> Guessed:
    """The bound that ``canaries:planted=1000,guessed=500,right=350`` gives.

    How many are guessed has to be fixed before their coins are known, else the confidence is void.

    Raises:
        ValueError: A count is missing, is none, or contradicts another; ``claimed`` is below 0.
    """
    args = Spec.parse(text).args
    counts = [args.get(key) for key in _KEYS]
    numbers = [c for c in counts if isinstance(c, int) and not isinstance(c, bool)]
    if set(args) != set(_KEYS) or len(numbers) < len(_KEYS):
        raise ValueError(
            f"{text!r}: give all of {', '.join(_KEYS)} as whole numbers, as "
            f"{NAME}:planted=1000,guessed=500,right=350."
        )
    if claimed is not None and not claimed >= 0:
        raise ValueError(f"--claimed is {claimed}: an ε is 0 or more.")
    planted, guessed, right = numbers
    settings = {"delta": delta, "confidence": confidence}
    return Guessed(
        planted=planted,
        guessed=guessed,
        right=right,
        claimed=claimed,
        bound=one_run(planted, guessed, right, **settings),
        gaussian=one_run_gaussian(planted, guessed, right, **settings),
        most=one_run(planted, guessed, guessed, **settings),
        **settings,
    )

"""A stage of row-space matching: what it compares, how it descends, and its loss."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from medleak.inversion.descent.pyramid_descent import Descent, QuasiNewton
from medleak.inversion.evidence.several_rounds import Rounds
from medleak.inversion.evidence.terms import Compared, Terms, terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One descent on some of the evidence.

    Attributes:
        descent: How.
        norms: Statistics of all norm layers, of those that a pass to the last convolution used
            here runs anyway, or of none.
        spans: Row spaces of all usable convolutions, of the first, of all but it, or of none; with
            all of them go the clues of further sources.
        covers: Likewise, rows that the patches must explain; ``shallow``: of all before the first
            row space; ``two``: of the first two.
        cover_weight: Of these rows.
        features: Match the recovered input of a convolution, where there is one.
        span_weight: Of row spaces and features, at the start and at the end, geometric between;
            all else has weight 1.
        root: Match the root of the share outside of the row space: firmer near the truth.
        squared: Match squared distances of statistics, as L-BFGS wants it.
        per_image: Centre the patches image by image, as the grouping is not known yet.
        blur: Standard deviation of the blur of what the stage begins with, share of its side.
        regroup: Afterwards, swap images between steps where that explains the update better.
        near: Left out where the first row space says that the image is not near yet.
        proven: Taken back where the result is judged no better.
        share: Of the seconds that are left, what the stage may use.
    """

    descent: Descent | QuasiNewton
    norms: Literal["all", "shallow", "none"] = "all"
    spans: Literal["all", "first", "deep", "none"] = "all"
    covers: Literal["first", "second", "two", "shallow", "none"] = "none"
    cover_weight: float = 1.0
    features: bool = False
    span_weight: tuple[float, float] = (1.0, 1.0)
    root: bool = False
    squared: bool = False
    per_image: bool = False
    blur: float = 0.0
    regroup: bool = False
    near: bool = False
    proven: bool = False
    share: float = 1.0


class Matching:
    """The loss of one stage."""

    def __init__(self, rounds: Rounds, stage: Stage) -> None:
        """Choose the layers."""
        self._rounds, self._stage = rounds, stage
        self._compared = compared(rounds, stage)

    def terms(self, images: Tensor) -> Terms:
        """The stage's terms; those that it does not use are 0."""
        return terms(self._rounds, images, self._compared)

    def loss(self, images: Tensor, done: float | Tensor) -> Tensor:
        """Scalar; ``done`` in [0, 1) is how far the stage has gone."""
        found = self.terms(images)
        low, high = self._stage.span_weight
        span = found.span_root if self._stage.root else found.span
        moments = found.squares if self._stage.squared else found.statistics
        return (
            moments
            + self._stage.cover_weight * found.cover
            + found.clues
            + low * (high / low) ** done * (span + found.features)
        )


def compared(rounds: Rounds, stage: Stage) -> Compared:
    """The layers that ``stage`` compares, of those that ``rounds`` show."""
    spans, covers = tuple(rounds.spans), tuple(rounds.covers)
    chosen = {"all": spans, "first": spans[:1], "deep": spans[1:], "none": ()}[stage.spans]
    order = list(rounds.last.layers)
    before = order.index(spans[0]) if spans else len(order)
    explained = {
        "first": covers[:1],
        "second": covers[1:2],
        "two": covers[:2],
        "shallow": tuple(n for n in covers if order.index(n) < before),
        "none": (),
    }[stage.covers]
    features = tuple(rounds.features) if stage.features else ()
    shallow = rounds.norms_before((*chosen, *explained, *features))
    return Compared(
        norms={"all": rounds.norms, "shallow": shallow, "none": ()}[stage.norms],
        spans=chosen,
        covers=explained,
        features=features,
        per_image=stage.per_image,
        clues=rounds.clues if stage.spans == "all" else {},
    )

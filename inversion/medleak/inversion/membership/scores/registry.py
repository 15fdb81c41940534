"""All scores, a row each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from medleak.inversion.membership.scores import joint, loss, row_space, statistics
from medleak.inversion.observation import Observation

Score = Callable[[Observation, Tensor, Tensor | None, Tensor], Mapping[str, Tensor]]
"""(update, candidates, their labels, background) -> by part (such as a layer) [N], members more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """A score, in a few plain words, and where it comes from."""

    name: str
    score: Score
    words: str
    source: str


ROWS: tuple[ScoreRow, ...] = (
    ScoreRow(
        name="row_space",
        score=row_space.score,
        words="share of the image's patches in the row space of late layers' updates",
        source="medleak",
    ),
    ScoreRow(
        name="statistics",
        score=statistics.score,
        words="how far the update's batch-norm statistics are pulled towards the image's",
        source="Homer et al. 2008, doi:10.1371/journal.pgen.1000167, for batch norm",
    ),
    ScoreRow(
        name="joint",
        score=joint.score,
        words="row_space and statistics together",
        source="medleak",
    ),
    ScoreRow(
        name="loss_drop",
        score=loss.loss_drop,
        words="how much the round lowered the image's loss",
        source="Nasr et al., IEEE S&P 2019, arXiv:1812.00910",
    ),
    ScoreRow(
        name="gradient_cosine",
        score=loss.gradient_cosine,
        words="cosine of the image's gradient and the update",
        source="Nasr et al., IEEE S&P 2019, arXiv:1812.00910",
    ),
    ScoreRow(
        name="loss_after",
        score=loss.loss_after,
        words="how small the image's loss is after the round",
        source="Yeom et al., CSF 2018, arXiv:1709.01604",
    ),
)


def score_of(name: str) -> ScoreRow:
    """The row of the score ``name``.

    Raises:
        ValueError: There is none of that name.
    """
    for row in ROWS:
        if row.name == name:
            return row
    known = ", ".join(row.name for row in ROWS)
    raise ValueError(f"Unknown membership score {name!r}; known are {known}.")

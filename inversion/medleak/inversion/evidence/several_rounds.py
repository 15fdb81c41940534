"""One or several rounds of a client against the same images: fresh noise averages out."""

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from torch import Tensor

from medleak.inversion.evidence.one_round import Evidence
from medleak.inversion.evidence.ranks import Span
from medleak.inversion.evidence.sources.cover import Cover
from medleak.inversion.evidence.steps import LocalStep

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class Rounds:
    """The evidence of at least one round, oldest first; made by :func:`join`.

    A site sends an update of the same images every round, each under noise of its own. Noise that
    hides them in one round is a mean of many over the rounds, which falls with their root.
    """

    rounds: tuple[Evidence, ...]

    @property
    def last(self) -> Evidence:
        """The newest round: its steps and the order of its layers hold for all."""
        return self.rounds[-1]

    @property
    def steps(self) -> tuple[LocalStep, ...]:
        """The client's steps; of several rounds, the one that each has."""
        return self.last.steps

    @property
    def grouped(self) -> bool:
        """See `Evidence`."""
        return self.last.grouped

    @property
    def norms(self) -> tuple[str, ...]:
        """Norm layers that any round shows, in order of execution."""
        return _union([evidence.norms for evidence in self.rounds])

    @property
    def spans(self) -> Mapping[str, Span]:
        """Row spaces that any round shows, likewise."""
        return self._ordered({n: s for evidence in self.rounds for n, s in evidence.spans.items()})

    @property
    def covers(self) -> Mapping[str, Cover]:
        """Rows that any round shows and none as a row space, likewise."""
        spans = self.spans
        found = {n: c for evidence in self.rounds for n, c in evidence.covers.items()}
        return self._ordered({n: c for n, c in found.items() if n not in spans})

    @property
    def features(self) -> Mapping[str, Tensor]:
        """Features that any round shows, likewise."""
        return self._ordered(
            {n: f for evidence in self.rounds for n, f in evidence.features.items()}
        )

    @property
    def clues(self) -> Mapping[str, tuple[str, ...]]:
        """Of further sources, the layers that any round shows."""
        found: dict[str, tuple[str, ...]] = {}
        for evidence in self.rounds:
            for source, layers in evidence.clues.items():
                found[source] = _union([found.get(source, ()), tuple(layers)])
        return found

    @property
    def statistics_noise(self) -> float:
        """Mean over the rounds; see `Evidence`."""
        return statistics.mean(evidence.statistics_noise for evidence in self.rounds)

    def norms_before(self, convs: Collection[str]) -> tuple[str, ...]:
        """The observed norm layers that a pass up to the last of ``convs`` runs anyway."""
        return _union([_norms_before(evidence, convs) for evidence in self.rounds])

    def reordered(self, order: Sequence[int]) -> "Rounds":
        """The same with ``features`` that follow images which were put into ``order``."""
        return Rounds(
            tuple(
                replace(e, features={n: f[list(order)] for n, f in e.features.items()})
                for e in self.rounds
            )
        )

    def _ordered(self, found: Mapping[str, _T]) -> Mapping[str, _T]:
        order = list(self.last.layers)
        return {n: found[n] for n in sorted(found, key=order.index)}


def join(rounds: Sequence[Evidence]) -> Rounds:
    """The evidence of at least one round, oldest first.

    Of several rounds of several images, the last alone keeps its features: each round's stand in
    an order of their own.

    Raises:
        ValueError: There are several rounds, and one has several steps.
    """
    if len(rounds) > 1 and any(len(evidence.steps) > 1 for evidence in rounds):
        raise ValueError(
            "The client makes several steps a round and shuffles its images before each round: "
            "which of them shared a step differs, so rounds cannot be matched by one order of "
            "the images. Attack single rounds, or sites whose images fit into one batch."
        )
    if rounds[-1].steps[-1].images.stop == 1:
        return Rounds(tuple(rounds))
    return Rounds((*(replace(e, features={}) for e in rounds[:-1]), rounds[-1]))


def _norms_before(evidence: Evidence, convs: Collection[str]) -> tuple[str, ...]:
    before = [evidence.layers[name].norms_before for name in convs]
    last = max(before, key=len, default=())
    return tuple(n for n in evidence.norms if n in last)


def _union(names: Sequence[Sequence[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in names for name in group))

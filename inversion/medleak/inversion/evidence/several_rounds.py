"""One set of candidate images against the updates of several rounds: fresh noise averages out."""

import statistics
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from medleak.inversion.evidence.one_round import Cover, Evidence, Span, Step, Terms


class JointEvidence:
    """The losses of the same images in several rounds; stands where an `Evidence` does.

    A site sends an update of the same images every round, each under noise of its own. Noise that
    hides them in one round is a mean of many over the rounds, which falls with their root.

    Attributes:
        norms, spans, covers: What any round shows; see `Evidence`.
        features: Likewise; of several images, what the last round shows.
        steps: The client's one step.
        statistics_noise: Mean over the rounds.
    """

    def __init__(self, rounds: Sequence[Evidence]) -> None:
        """Take the evidence of at least one round, oldest first.

        Raises:
            ValueError: A round has several steps.
        """
        if any(len(evidence.steps) > 1 for evidence in rounds):
            raise ValueError(
                "The client makes several steps a round and shuffles its images before each round: "
                "which of them shared a step differs, so rounds cannot be matched by one order of "
                "the images. Attack single rounds, or sites whose images fit into one batch."
            )
        self._rounds = rounds
        self.steps: tuple[Step, ...] = rounds[-1].steps
        self.norms = _union([evidence.norms for evidence in rounds])
        spans = {n: s for evidence in rounds for n, s in evidence.spans.items()}
        covers = {n: c for evidence in rounds for n, c in evidence.covers.items() if n not in spans}
        order = rounds[-1].order
        self.spans: dict[str, Span] = {n: spans[n] for n in sorted(spans, key=order)}
        self.covers: dict[str, Cover] = {n: covers[n] for n in sorted(covers, key=order)}
        # Of several images, each round's features stand in an order of their own.
        self._ordered = rounds if self.steps[-1].images.stop == 1 else rounds[-1:]
        features = {n: f for evidence in self._ordered for n, f in evidence.features.items()}
        self.features = {n: features[n] for n in sorted(features, key=order)}
        self.statistics_noise = statistics.mean(e.statistics_noise for e in rounds)

    def norms_before(self, convs: Collection[str]) -> tuple[str, ...]:
        """See `Evidence.norms_before`."""
        return _union([evidence.norms_before(convs) for evidence in self._rounds])

    def terms(
        self,
        images: Tensor,
        *,
        norms: Collection[str] = (),
        spans: Collection[str] = (),
        covers: Collection[str] = (),
        features: Collection[str] = (),
        per_image: bool = False,
    ) -> Terms:
        """See `Evidence.terms`; each term is its mean over the rounds that have it."""
        found: list[tuple[Terms, tuple[bool, ...]]] = []
        for evidence in self._rounds:
            own = (
                [n for n in norms if n in evidence.norms],
                [n for n in spans if n in evidence.spans],
                [n for n in covers if n in evidence.covers],
                [n for n in features if n in evidence.features and evidence in self._ordered],
            )
            if any(own):
                terms = evidence.terms(
                    images,
                    norms=own[0],
                    spans=own[1],
                    covers=own[2],
                    features=own[3],
                    per_image=per_image,
                )
                found.append((terms, tuple(map(bool, own))))
        zero = torch.zeros((), device=images.device)

        def mean(name: str, kind: int) -> Tensor:
            values = [getattr(terms, name) for terms, has in found if has[kind]]
            return torch.stack(values).mean() if values else zero

        return Terms(
            statistics=mean("statistics", 0),
            squares=mean("squares", 0),
            span=mean("span", 1),
            span_root=mean("span_root", 1),
            cover=mean("cover", 2),
            features=mean("features", 3),
        )


def _union(names: Sequence[Sequence[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in names for name in group))

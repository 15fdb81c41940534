"""Candidate images against evidence: differentiable losses that are 0 at the truth.

Every forward pass is made at the weights that the client's step had: the global weights in the
first step, later ones interpolated between the two known ends of the round.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from medleak.inversion.evidence.algebra.features import misaligned_share
from medleak.inversion.evidence.algebra.row_spaces import centre, outside_share
from medleak.inversion.evidence.layers import ConvLayer
from medleak.inversion.evidence.one_round import Evidence
from medleak.inversion.evidence.probe import Trace
from medleak.inversion.evidence.several_rounds import Rounds
from medleak.inversion.losses import (
    Statistics,
    squared_statistics_distance,
    statistics_distance,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Names of the layers that candidates are compared in.

    Attributes:
        norms: Of `Rounds.norms`; ``spans``, ``covers`` and ``features`` likewise.
        per_image: Centre the patches of every image by themselves: right whatever the grouping of
            images into steps.
        clues: Of further sources: source -> layers.
    """

    norms: Collection[str] = ()
    spans: Collection[str] = ()
    covers: Collection[str] = ()
    features: Collection[str] = ()
    per_image: bool = False
    clues: Mapping[str, Collection[str]] = field(default_factory=dict)

    def shown_by(self, evidence: Evidence) -> "Compared":
        """What of it one round shows."""
        return Compared(
            norms=[n for n in self.norms if n in evidence.norms],
            spans=[n for n in self.spans if n in evidence.spans],
            covers=[n for n in self.covers if n in evidence.covers],
            features=[n for n in self.features if n in evidence.features],
            per_image=self.per_image,
            clues={
                source: [n for n in layers if n in evidence.clues.get(source, {})]
                for source, layers in self.clues.items()
            },
        )


@dataclass(frozen=True, slots=True)
class Terms:
    """Losses of candidate images: scalar tensors, 0 where nothing was asked for.

    Attributes:
        statistics: Mean over the norm layers, as far as these are trusted, of the relative
            distances of mean and variance.
        squares: Likewise, of their squares.
        span: Mean over the convolutions of the share of patch energy outside the row space.
        span_root: Mean of the square roots of these shares: linear in the distance.
        cover: Mean over the convolutions of the share of the update's rows that the patches do
            not explain.
        features: Share of the features' energy that does not point along those recovered.
        clues: Sum over further sources of the mean misfit of their layers.
    """

    statistics: Tensor
    squares: Tensor
    span: Tensor
    span_root: Tensor
    cover: Tensor
    features: Tensor
    clues: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What one step adds to the terms: its batch statistics, and patch energies by span [2, L]."""

    statistics: Statistics
    energies: Tensor


def terms(rounds: Rounds, images: Tensor, compared: Compared) -> Terms:
    """Losses of ``images`` in the layers named; each is its mean over the rounds that have it.

    Args:
        rounds: What the images are held against.
        images: [N, C, H, W] in [0, 1], in the order of ``rounds.steps``; may require grad.
        compared: Where.
    """
    found: dict[str, list[Tensor]] = {f.name: [] for f in fields(Terms)}
    for evidence in rounds.rounds:
        for name, value in _of_round(evidence, images, compared.shown_by(evidence)).items():
            found[name].append(value)
    zero = torch.zeros((), device=images.device)
    return Terms(
        **{n: torch.stack(values).mean() if values else zero for n, values in found.items()}
    )


def part(evidence: Evidence, step: int, images: Tensor) -> Part:
    """What the batch ``images`` [B, C, H, W] of ``step`` adds; see `misfit`. No gradient."""
    with torch.no_grad():
        probe = evidence.probes[evidence.steps[step].progress]
        trace = probe.run(images, statistics=evidence.norms, inputs=evidence.spans)
        energies = []
        for span in evidence.spans.values():
            patches = _patches(span.conv, trace, per_image=False)
            total = patches.square().sum()
            energies.append(torch.stack([outside_share(patches, span.space.basis) * total, total]))
    return Part(trace.statistics, torch.stack(energies, 1) if energies else torch.zeros(2, 0))


def outside(rounds: Rounds, images: Tensor) -> list[float]:
    """Share of patch energy outside of each row space, round by round; no gradient."""
    shares: list[float] = []
    for evidence in rounds.rounds:
        if evidence.spans:
            parts = [part(evidence, k, images[s.images]) for k, s in enumerate(evidence.steps)]
            left, total = torch.stack([p.energies for p in parts]).sum(0)
            shares += (left / total).tolist()
    return shares


def misfit(evidence: Evidence, parts: Sequence[Part]) -> float:
    """``statistics + span_root`` over all norms and spans, one part a step."""
    loss = 0.0
    if evidence.norms:
        mixed = _mixed(evidence, [p.statistics for p in parts], evidence.norms)
        loss += float(statistics_distance(mixed, evidence.statistics))
    if evidence.spans:
        outside, total = torch.stack([p.energies for p in parts]).sum(0)
        loss += float(_root(outside / total))
    return loss


def _of_round(evidence: Evidence, images: Tensor, compared: Compared) -> dict[str, Tensor]:
    convs = [*compared.spans, *compared.covers]
    clues = [
        [evidence.clues[source][n] for n in layers] for source, layers in compared.clues.items()
    ]
    shown = {*convs, *compared.features, *(n for group in clues for c in group for n in c.inputs)}
    if not shown and not compared.norms:
        return {}
    traces = [
        evidence.probes[s.progress].run(images[s.images], statistics=compared.norms, inputs=shown)
        for s in evidence.steps
    ]
    found: dict[str, Tensor] = {}
    if compared.norms:
        mixed = _mixed(evidence, [t.statistics for t in traces], compared.norms)
        observed, trust = evidence.statistics, evidence.trust
        found["statistics"] = statistics_distance(mixed, observed, trust)
        found["squares"] = squared_statistics_distance(mixed, observed, trust)
    patches = {
        n: torch.cat([_patches(_conv(evidence, n), t, compared.per_image) for t in traces])
        for n in convs
    }
    if compared.spans:
        shares = torch.stack(
            [outside_share(patches[n], evidence.spans[n].space.basis) for n in compared.spans]
        )
        found["span"], found["span_root"] = shares.mean(), _root(shares)
    if compared.covers:
        missing = [evidence.covers[n].rows.uncovered(patches[n]) for n in compared.covers]
        found["cover"] = torch.stack(missing).mean()
    if compared.features:
        apart = [
            misaligned_share(torch.cat([t.inputs[n] for t in traces]), evidence.features[n])
            for n in compared.features
        ]
        found["features"] = torch.stack(apart).mean()
    if any(clues):
        names = {n for group in clues for clue in group for n in clue.inputs}
        inputs = {n: torch.cat([t.inputs[n] for t in traces]) for n in names}
        found["clues"] = torch.stack(
            [torch.stack([c.misfit(inputs) for c in group]).mean() for group in clues if group]
        ).sum()
    return found


def _root(shares: Tensor) -> Tensor:
    return (shares + 1e-6).sqrt().mean()


def _conv(evidence: Evidence, name: str) -> ConvLayer:
    return (evidence.spans.get(name) or evidence.covers[name]).conv


def _patches(conv: ConvLayer, trace: Trace, per_image: bool) -> Tensor:
    """Centred as the update's rows are."""
    patches = conv.patches(trace.inputs[conv.name])
    if not conv.normed:
        return patches
    return centre(patches, per_image=per_image or conv.centred == "image")


def _mixed(evidence: Evidence, batches: Sequence[Statistics], norms: Collection[str]) -> Statistics:
    if len(batches) == 1:
        return batches[0]
    return {
        n: (
            torch.stack([b[n][0] for b in batches], 1) @ evidence.mixing[n],
            torch.stack([b[n][1] for b in batches], 1) @ evidence.mixing[n],
        )
        for n in norms
    }

"""What one update says about candidate images: differentiable losses that are 0 at the truth.

Every forward pass is made at the weights that the client's step had: the global weights in the
first step, later ones interpolated between the two known ends of the round.
"""

import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medleak.inversion.evidence.features import misaligned_share, recover_features, step_of_each
from medleak.inversion.evidence.layers import ConvLayer
from medleak.inversion.evidence.probe import Probe, Trace
from medleak.inversion.evidence.row_spaces import (
    RowBasis,
    Rows,
    centre,
    outside_share,
    row_space,
    uncovered_share,
    weighted_rows,
)
from medleak.inversion.losses import (
    Statistics,
    squared_statistics_distance,
    statistics_distance,
)
from medleak.inversion.observation import Observation

_FULL = 0.95  # of a patch's values: with more patches than this, nearly every row is covered
_MAX_PROBES = 8  # Each is a copy of the network; steps beyond share the nearest one.


@dataclass(frozen=True, slots=True)
class Step:
    """A local step: which images were its batch, and how far the round had gone.

    Attributes:
        images: Indices into the candidate images.
        progress: Share of the round's weight update already made, in [0, 1).
    """

    images: slice
    progress: float


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """A convolution whose update's row space is the span of its input patches."""

    conv: ConvLayer
    space: RowBasis


@dataclass(frozen=True, slots=True, eq=False)
class Cover:
    """A convolution with fewer input patches than they have values, but too many for a `Span`.

    Attributes:
        conv: The convolution.
        rows: Of its update.
        fullness: Patches as a share of their values; at 1, any row is a combination of them.
    """

    conv: ConvLayer
    rows: Rows
    fullness: float


@dataclass(frozen=True, slots=True)
class Terms:
    """Losses of candidate images: scalar tensors, 0 where nothing was asked for.

    Attributes:
        statistics: Mean over the norm layers of the relative distances of mean and variance.
        squares: Likewise, of their squares.
        span: Mean over the convolutions of the share of patch energy outside the row space.
        span_root: Mean of the square roots of these shares: linear in the distance.
        cover: Mean over the convolutions of the share of the update's rows that the patches do
            not explain.
        features: Share of the features' energy that does not point along those recovered.
    """

    statistics: Tensor
    squares: Tensor
    span: Tensor
    span_root: Tensor
    cover: Tensor
    features: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What one step adds to the terms: its batch statistics, and patch energies by span [2, L]."""

    statistics: Statistics
    energies: Tensor


class Evidence:
    """The losses of one observation.

    Attributes:
        norms: Norm layers whose statistics were observed, in order of execution.
        spans: Convolutions (kernels larger than 1) with a usable row space, by name, likewise.
        covers: Those before them whose update's rows candidate patches must explain, likewise.
        features: The first of ``spans`` whose input is known up to a factor, [N, C, H, W] of norm
            1 each; which of them shared a step is known where ``grouped``.
        grouped: Images of one batch stand together in ``features``; True for one step.
        steps: The client's steps; images of one batch stand together.
        sigma: Noise on an entry of the update, by the singular values that should be zero; 0
            where no convolution tells.
        statistics_noise: What that noise makes of the statistics term at the true images, if
            the running statistics were noised as the weights were.
    """

    def __init__(
        self, observation: Observation, *, max_noise: float = 0.01, min_gap: float = 1.1
    ) -> None:
        """Read ranks, row spaces and statistics from ``observation``.

        Args:
            observation: Must grant the global model, the number of images and the batch size.
            max_noise: Row spaces with more expected noise (:class:`RowBasis`) are left out: they
                would pull away from the truth.
            min_gap: Row spaces that stand out less are left out.

        Raises:
            KnowledgeError: Something needed is withheld.
        """
        self._device = observation.device
        self.steps = client_steps(observation)
        self._probes = _probes(observation, self.steps)
        self.norms: tuple[str, ...] = ()
        self._statistics: Statistics = {}
        self._mixing: dict[str, Tensor] = {}
        first = next(iter(self._probes.values()))
        if observation.has_bn_statistics:
            self._statistics = observation.bn_statistics
            self.norms = tuple(n for n in first.norms if n in self._statistics)
            self._mixing = {n: _per_batch(observation, n, len(self.steps)) for n in self.norms}
        spans = _spans(observation.parameter_update, first.convs, self.steps)
        self.spans = {
            name: span
            for name, span in spans.items()
            if span.space.gap >= min_gap and span.space.noise <= max_noise
        }
        self.sigma = statistics.median(s.space.sigma for s in spans.values()) if spans else 0.0
        self.statistics_noise = self._statistics_noise(observation)
        self.covers: dict[str, Cover] = {}
        if spans:  # else there is no telling how noisy the rows are
            others = [c for c in first.convs if c.name not in spans]
            covers = _covers(observation.parameter_update, others, self.steps, self.sigma)
            self.covers = {n: c for n, c in covers.items() if c.rows.noise <= max_noise}
        self._layers = {c.name: c for c in first.convs}
        self.features: dict[str, Tensor] = {}
        self.grouped = len(self.steps) == 1
        self._recover(observation, first)

    def _recover(self, observation: Observation, probe: Probe) -> None:
        shape = (1, observation.image_channels, *observation.spatial_size)
        blank = torch.zeros(shape, device=self._device)
        sizes = [s.images.stop - s.images.start for s in self.steps]
        with torch.no_grad():
            for name, span in self.spans.items():
                conv, basis = span.conv, span.space.basis
                _, c, h, w = probe.run(blank, inputs=[name]).inputs[name].shape
                found = recover_features(conv, basis, (c, h, w), observation.n_images)
                if found is None:
                    continue
                self.features = {name: found}
                if not self.grouped:
                    groups = step_of_each(conv, basis, found, sizes)
                    if groups is not None:
                        self.grouped = True
                        self.reorder([i for group in groups for i in group])
                return

    def reorder(self, order: Sequence[int]) -> None:
        """Let ``features`` follow images that were put into ``order``."""
        self.features = {n: f[list(order)] for n, f in self.features.items()}

    def order(self, conv: str) -> int:
        """When the convolution runs, counted among all."""
        return list(self._layers).index(conv)

    def norms_before(self, convs: Collection[str]) -> tuple[str, ...]:
        """The observed norm layers that a pass up to the last of ``convs`` runs anyway."""
        last = max((self._layers[name].norms_before for name in convs), key=len, default=())
        return tuple(n for n in self.norms if n in last)

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
        """Losses of ``images`` [N, C, H, W] over the layers named.

        Args:
            images: In the order of ``steps``; may require grad.
            norms: Of ``self.norms``.
            spans: Of ``self.spans``.
            covers: Of ``self.covers``.
            features: Of ``self.features``.
            per_image: Centre the patches of every image by themselves: right whatever the
                grouping of images into steps.
        """
        convs = [*spans, *covers]
        shown = {*convs, *features}
        traces = [
            self._probes[s.progress].run(images[s.images], statistics=norms, inputs=shown)
            for s in self.steps
        ]
        moments = squares = span = root = cover = away = torch.zeros((), device=images.device)
        if norms:
            mixed = self._mixed([t.statistics for t in traces], norms)
            moments = statistics_distance(mixed, self._statistics)
            squares = squared_statistics_distance(mixed, self._statistics)
        patches = {n: torch.cat([self._patches(t, n, per_image) for t in traces]) for n in convs}
        if spans:
            shares = [outside_share(patches[n], self.spans[n].space.basis) for n in spans]
            shares = torch.stack(shares)
            span, root = shares.mean(), (shares + 1e-6).sqrt().mean()
        if covers:
            missing = [uncovered_share(patches[n], self.covers[n].rows.rows) for n in covers]
            cover = torch.stack(missing).mean()
        if features:
            apart = [
                misaligned_share(torch.cat([t.inputs[n] for t in traces]), self.features[n])
                for n in features
            ]
            away = torch.stack(apart).mean()
        return Terms(moments, squares, span, root, cover, away)

    def part(self, step: int, images: Tensor) -> Part:
        """What the batch ``images`` [B, C, H, W] of ``step`` adds; see `misfit`. No gradient."""
        with torch.no_grad():
            probe = self._probes[self.steps[step].progress]
            trace = probe.run(images, statistics=self.norms, inputs=self.spans)
            energies = []
            for name, span in self.spans.items():
                patches = self._patches(trace, name, per_image=False)
                total = patches.square().sum()
                energies.append(
                    torch.stack([outside_share(patches, span.space.basis) * total, total])
                )
        return Part(trace.statistics, torch.stack(energies, 1) if energies else torch.zeros(2, 0))

    def misfit(self, parts: Sequence[Part]) -> float:
        """``statistics + span_root`` over all norms and spans, one part a step."""
        loss = 0.0
        if self.norms:
            mixed = self._mixed([p.statistics for p in parts], self.norms)
            loss += float(statistics_distance(mixed, self._statistics))
        if self.spans:
            outside, total = torch.stack([p.energies for p in parts]).sum(0)
            loss += float((outside / total + 1e-6).sqrt().mean())
        return loss

    def _statistics_noise(self, observation: Observation) -> float:
        layers = [
            self.sigma
            * observation.bn_noise_gain(n)
            * len(pair[0]) ** 0.5
            / float(value.norm() + 1e-8)
            for n, pair in self._statistics.items()
            for value in pair
        ]
        return sum(layers) / max(len(self._statistics), 1)

    def _patches(self, trace: Trace, name: str, per_image: bool) -> Tensor:
        """Centred as the update's rows are, where a batch norm follows."""
        patches = self._layers[name].patches(trace.inputs[name])
        return centre(patches, per_image=per_image) if self._layers[name].normed else patches

    def _mixed(self, batches: Sequence[Statistics], norms: Collection[str]) -> Statistics:
        if len(batches) == 1:
            return batches[0]
        return {
            n: (
                torch.stack([b[n][0] for b in batches], 1) @ self._mixing[n],
                torch.stack([b[n][1] for b in batches], 1) @ self._mixing[n],
            )
            for n in norms
        }


def client_steps(observation: Observation) -> tuple[Step, ...]:
    """The distinct batches of the round, each with the mean progress of its steps.

    Several epochs visit every batch again; the weights between barely move, so the visits count
    as one at their mean progress. How images were shuffled between epochs is not known: the
    grouping of the first is taken for all.
    """
    n, size, steps = observation.n_images, observation.batch_size, observation.n_steps
    batches = -(-n // size)
    epochs = max(1, round(steps / batches))
    return tuple(
        Step(
            images=slice(k * size, min((k + 1) * size, n)),
            progress=sum(e * batches + k for e in range(epochs)) / epochs / (epochs * batches),
        )
        for k in range(batches)
    )


def network_at(observation: Observation, progress: float) -> nn.Module:
    """The network with ``progress`` (0 to 1) of the round's weight update made."""
    network, update = observation.network(), observation.parameter_update
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.add_(update[name], alpha=progress)
    return network


def _probes(observation: Observation, steps: Sequence[Step]) -> dict[float, Probe]:
    """A probe for every progress; no more than ``_MAX_PROBES`` different ones."""
    levels = sorted({s.progress for s in steps})
    stride = -(-len(levels) // _MAX_PROBES)
    probes: dict[float, Probe] = {}
    for i in range(0, len(levels), stride):
        group = levels[i : i + stride]
        probe = Probe(
            network_at(observation, sum(group) / len(group)),
            mean=observation.mean,
            std=observation.std,
            image_shape=(observation.image_channels, *observation.spatial_size),
        )
        probes |= dict.fromkeys(group, probe)
    return probes


def _per_batch(observation: Observation, norm: str, batches: int) -> Tensor:
    """[batches] weights of the batches' statistics in the running statistics of ``norm``."""
    weights = observation.bn_step_weights(norm)
    padded = torch.zeros(-(-len(weights) // batches) * batches, device=weights.device)
    padded[: len(weights)] = weights
    return padded.view(-1, batches).sum(0)


def _spans(
    update: dict[str, Tensor], convs: Sequence[ConvLayer], steps: Sequence[Step]
) -> dict[str, Span]:
    """Row spaces with fewer directions than patches have values; noisy ones are among them."""
    found = {}
    for conv in convs:
        weight = update[f"{conv.name}.weight"]
        lost = 1 if conv.normed else 0
        rank = sum((s.images.stop - s.images.start) * conv.positions - lost for s in steps)
        if conv.kernel_size == (1, 1) or not 1 <= rank < min(conv.out_channels, conv.patch_size):
            continue
        if not weight.any():
            continue
        found[conv.name] = Span(conv, row_space(weight, rank))
    return found


def _covers(
    update: dict[str, Tensor], convs: Sequence[ConvLayer], steps: Sequence[Step], sigma: float
) -> dict[str, Cover]:
    """Updates with fewer patches than their rows have values."""
    images = sum(s.images.stop - s.images.start for s in steps)
    found = {}
    for conv in convs:
        weight, patches = update[f"{conv.name}.weight"], images * conv.positions
        if conv.kernel_size == (1, 1) or patches - len(steps) >= _FULL * conv.patch_size:
            continue
        if weight.any():
            rows = weighted_rows(weight, patches, sigma)
            found[conv.name] = Cover(conv, rows, patches / conv.patch_size)
    return found

"""What one update says about candidate images: differentiable losses that are 0 at the truth.

Every forward pass is made at the weights that the client's step had: the global weights in the
first step, later ones interpolated between the two known ends of the round.
"""

import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medleak.inversion.losses import Statistics, statistics_distance
from medleak.inversion.observation import Observation
from medleak.inversion.probe import Probe, Trace
from medleak.inversion.row_space import RowBasis, centre, outside_share, row_space
from medleak.inversion.survey import ConvLayer

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


@dataclass(frozen=True, slots=True)
class Terms:
    """Losses of candidate images: scalar tensors, 0 where nothing was asked for.

    Attributes:
        statistics: Mean over the norm layers of the relative distances of mean and variance.
        span: Mean over the convolutions of the share of patch energy outside the row space.
        span_root: Mean of the square roots of these shares: linear in the distance.
    """

    statistics: Tensor
    span: Tensor
    span_root: Tensor


class Evidence:
    """The losses of one observation.

    Attributes:
        norms: Norm layers whose statistics were observed, in order of execution.
        spans: Convolutions (kernels larger than 1) with a usable row space, by name, likewise.
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

    def terms(
        self,
        images: Tensor,
        *,
        norms: Collection[str] = (),
        spans: Collection[str] = (),
        per_image: bool = False,
    ) -> Terms:
        """Losses of ``images`` [N, C, H, W] over the layers named.

        Args:
            images: In the order of ``steps``; may require grad.
            norms: Of ``self.norms``.
            spans: Of ``self.spans``.
            per_image: Centre the patches of every image by themselves: right whatever the
                grouping of images into steps.
        """
        traces = [
            self._probes[s.progress].run(images[s.images], statistics=norms, inputs=spans)
            for s in self.steps
        ]
        zero = torch.zeros((), device=images.device)
        moments = (
            statistics_distance(self._mixed(traces, norms), self._statistics) if norms else zero
        )
        if not spans:
            return Terms(moments, zero, zero)
        shares = torch.stack([self._share(n, traces, per_image) for n in spans])
        return Terms(moments, shares.mean(), (shares.clamp_min(0) + 1e-6).sqrt().mean())

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

    def _share(self, name: str, traces: Sequence[Trace], per_image: bool) -> Tensor:
        span = self.spans[name]
        patches = [centre(span.conv.patches(t.inputs[name]), per_image=per_image) for t in traces]
        return outside_share(torch.cat(patches), span.space.basis)

    def _mixed(self, traces: Sequence[Trace], norms: Collection[str]) -> Statistics:
        if len(traces) == 1:
            return traces[0].statistics
        return {
            n: (
                torch.stack([t.statistics[n][0] for t in traces], 1) @ self._mixing[n],
                torch.stack([t.statistics[n][1] for t in traces], 1) @ self._mixing[n],
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

"""What one update tells of the images behind it: statistics, row spaces, rows, features.

:func:`read_evidence` reads it once; :mod:`medleak.inversion.evidence.terms` compares it with
candidate images.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medleak.inversion.evidence.features import recover_features, step_of_each
from medleak.inversion.evidence.layers import ConvLayer
from medleak.inversion.evidence.probe import Probe
from medleak.inversion.evidence.row_spaces import RowBasis, Rows, row_space, weighted_rows
from medleak.inversion.evidence.steps import LocalStep, batch_weights, client_steps, probes
from medleak.inversion.losses import Statistics
from medleak.inversion.observation import Observation

_FULL = 0.95  # of a patch's values: with more patches than this, nearly every row is covered


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


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Evidence:
    """What the update of one round shows; made by :func:`read_evidence`, changed by nothing.

    Attributes:
        steps: The client's steps; images of one batch stand together.
        probes: Progress of a step -> the network at the weights that it had then.
        layers: All convolutions whose inputs the probes can show, by name, as they run.
        statistics: Batch statistics by norm layer, of `norms` and of others that ran twice.
        norms: Norm layers whose statistics were observed, in order of execution.
        mixing: [steps] weights with which the steps' statistics mix, by norm layer.
        spans: Convolutions (kernels larger than 1) with a usable row space, by name, likewise.
        covers: Those before them whose update's rows candidate patches must explain, likewise.
        features: The first of ``spans`` whose input is known up to a factor, [N, C, H, W] of norm
            1 each; which of them shared a step is known where ``grouped``.
        grouped: Images of one batch stand together in ``features``; True for one step.
        statistics_noise: What the noise on the update, as the singular values that should be zero
            tell it, makes of the statistics term at the true images, if the running statistics
            were noised as the weights were.
    """

    steps: tuple[LocalStep, ...]
    probes: Mapping[float, Probe]
    layers: Mapping[str, ConvLayer]
    statistics: Statistics
    norms: tuple[str, ...]
    mixing: Mapping[str, Tensor]
    spans: Mapping[str, Span]
    covers: Mapping[str, Cover]
    features: Mapping[str, Tensor]
    grouped: bool
    statistics_noise: float


def read_evidence(
    observation: Observation, *, max_noise: float = 0.01, min_gap: float = 1.1
) -> Evidence:
    """Read ranks, row spaces, statistics and features from ``observation``.

    Args:
        observation: Must grant the global model, the number of images and the batch size.
        max_noise: Row spaces with more expected noise (:class:`RowBasis`) are left out: they
            would pull away from the truth.
        min_gap: Row spaces that stand out less are left out.

    Raises:
        KnowledgeError: Something needed is withheld.
    """
    steps = client_steps(observation)
    shown = probes(observation, steps)
    first = next(iter(shown.values()))
    observed = observation.bn_statistics if observation.has_bn_statistics else {}
    norms = tuple(n for n in first.norms if n in observed)
    every = _spans(observation.parameter_update, first.convs, steps)
    spans = {
        name: span
        for name, span in every.items()
        if span.space.gap >= min_gap and span.space.noise <= max_noise
    }
    sigma = statistics.median(s.space.sigma for s in every.values()) if every else 0.0
    covers: dict[str, Cover] = {}
    if every:  # else there is no telling how noisy the rows are
        others = [c for c in first.convs if c.name not in every]
        found = _covers(observation.parameter_update, others, steps, sigma)
        covers = {n: c for n, c in found.items() if c.rows.noise <= max_noise}
    features, grouped = _features(observation, first, spans, steps)
    return Evidence(
        steps=steps,
        probes=shown,
        layers={c.name: c for c in first.convs},
        statistics=observed,
        norms=norms,
        mixing={n: batch_weights(observation, n, len(steps)) for n in norms},
        spans=spans,
        covers=covers,
        features=features,
        grouped=grouped,
        statistics_noise=_statistics_noise(observation, observed, sigma),
    )


def _spans(
    update: Mapping[str, Tensor], convs: Sequence[ConvLayer], steps: Sequence[LocalStep]
) -> dict[str, Span]:
    """Row spaces with fewer directions than patches have values; noisy ones are among them."""
    found = {}
    for conv in convs:
        weight = update[f"{conv.name}.weight"]
        lost = 1 if conv.normed else 0
        rank = sum(s.size * conv.positions - lost for s in steps)
        if conv.kernel_size == (1, 1) or not 1 <= rank < min(conv.out_channels, conv.patch_size):
            continue
        if weight.any():
            found[conv.name] = Span(conv, row_space(weight, rank))
    return found


def _covers(
    update: Mapping[str, Tensor],
    convs: Sequence[ConvLayer],
    steps: Sequence[LocalStep],
    sigma: float,
) -> dict[str, Cover]:
    """Updates with fewer patches than their rows have values; ``sigma`` of noise on an entry."""
    images = sum(s.size for s in steps)
    found = {}
    for conv in convs:
        weight, patches = update[f"{conv.name}.weight"], images * conv.positions
        if conv.kernel_size == (1, 1) or patches - len(steps) >= _FULL * conv.patch_size:
            continue
        if weight.any():
            rows = weighted_rows(weight, patches, sigma)
            found[conv.name] = Cover(conv, rows, patches / conv.patch_size)
    return found


def _features(
    observation: Observation,
    probe: Probe,
    spans: Mapping[str, Span],
    steps: Sequence[LocalStep],
) -> tuple[dict[str, Tensor], bool]:
    """Features of the first convolution that gives them, and whether they stand step by step."""
    blank = torch.zeros(
        (1, observation.image_channels, *observation.spatial_size), device=observation.device
    )
    for name, span in spans.items():
        conv, basis = span.conv, span.space.basis
        with torch.no_grad():
            _, c, h, w = probe.run(blank, inputs=[name]).inputs[name].shape
            found = recover_features(conv, basis, (c, h, w), observation.n_images)
            if found is None:
                continue
            if len(steps) == 1:
                return {name: found}, True
            groups = step_of_each(conv, basis, found, [s.size for s in steps])
        if groups is None:
            return {name: found}, False
        return {name: found[[i for group in groups for i in group]]}, True
    return {}, len(steps) == 1


def _statistics_noise(observation: Observation, observed: Statistics, sigma: float) -> float:
    layers = [
        sigma * observation.bn_noise_gain(n) * len(pair[0]) ** 0.5 / float(value.norm() + 1e-8)
        for n, pair in observed.items()
        for value in pair
    ]
    return sum(layers) / max(len(observed), 1)

"""What one update tells of the images behind it, from every source.

:func:`read_evidence` reads it once; :mod:`medleak.inversion.evidence.terms` compares it with
candidate images.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from medleak.inversion.evidence.layers import ConvLayer
from medleak.inversion.evidence.probe import Probe
from medleak.inversion.evidence.ranks import Span
from medleak.inversion.evidence.reading import Reading
from medleak.inversion.evidence.source import Answer, Clue
from medleak.inversion.evidence.sources import cover, norm_statistics, recovered_features
from medleak.inversion.evidence.sources.cover import Cover
from medleak.inversion.evidence.sources.registry import SOURCES
from medleak.inversion.evidence.sources.row_space import usable
from medleak.inversion.evidence.steps import LocalStep
from medleak.inversion.losses import Statistics
from medleak.inversion.observation import Observation


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Evidence:
    """What the update of one round shows; made by :func:`read_evidence`, changed by nothing.

    Attributes:
        steps: The client's steps; images of one batch stand together.
        probes: Progress of a step -> the network at the weights that it had then.
        layers: All convolutions whose inputs the probes can show, by name, as they run.
        statistics: Batch statistics by norm layer, of `norms` and of others that ran twice.
        norms: Norm layers whose statistics were observed, in order of execution.
        frozen: Norm layers that ran in evaluation mode.
        mixing: [steps] weights with which the steps' statistics mix, by norm layer.
        spans: Convolutions with a usable row space, by name, likewise.
        covers: Those before them whose update's rows candidate patches must explain, likewise.
        features: The first of ``spans`` whose input is known up to a factor, [N, C, ...] of norm
            1 each; which of them shared a step is known where ``grouped``.
        grouped: Images of one batch stand together in ``features``; True for one step.
        statistics_noise: What the noise on the update, as the singular values that should be zero
            tell it, makes of the statistics term at the true images, if the running statistics
            were noised as the weights were.
        clues: Of further sources, by source and layer.
        trust: Weights of ``norms`` where some are known less well than others; None: all alike.
    """

    steps: tuple[LocalStep, ...]
    probes: Mapping[float, Probe]
    layers: Mapping[str, ConvLayer]
    statistics: Statistics
    norms: tuple[str, ...]
    frozen: tuple[str, ...]
    mixing: Mapping[str, Tensor]
    spans: Mapping[str, Span]
    covers: Mapping[str, Cover]
    features: Mapping[str, Tensor]
    grouped: bool
    statistics_noise: float
    clues: Mapping[str, Mapping[str, Clue]] = field(default_factory=dict)
    trust: Mapping[str, float] | None = None


def read_evidence(
    observation: Observation, *, max_noise: float = 0.01, min_gap: float = 1.1
) -> Evidence:
    """Read ranks, row spaces, statistics, features and clues from ``observation``.

    Args:
        observation: Must grant the global model, the number of images and the batch size.
        max_noise: Row spaces with more expected noise (:class:`RowBasis`) are left out: they
            would pull away from the truth.
        min_gap: Row spaces that stand out less are left out.

    Raises:
        KnowledgeError: Something needed is withheld.
    """
    reading = Reading(observation, max_noise=max_noise, min_gap=min_gap)
    every = reading.row_spaces
    spans = {name: span for name, span in every.items() if usable(reading, span)}
    sigma = reading.sigma
    # Without a noise there is no telling how noisy the rows are.
    covers = {} if sigma is None else cover.covers(reading, every, sigma)
    features, grouped = recovered_features.recovered(reading, spans)
    clues = {s.name: s.clues(reading) for s in SOURCES if s.clues is not None}
    return Evidence(
        steps=reading.steps,
        probes=reading.probes,
        layers={c.name: c for c in reading.convs},
        statistics=reading.statistics,
        norms=norm_statistics.norms(reading),
        frozen=reading.frozen,
        mixing=norm_statistics.mixing(reading),
        spans=spans,
        covers=covers,
        features=features,
        grouped=grouped,
        statistics_noise=norm_statistics.noise(reading, sigma or 0.0),
        clues={name: found for name, found in clues.items() if found},
    )


def closed_form(observation: Observation) -> Answer | None:
    """Images that follow from algebra alone: the best answer of any source, None without one.

    Raises:
        KnowledgeError: Something needed is withheld.
    """
    reading = Reading(observation)
    answers = [found for s in SOURCES if s.answer is not None and (found := s.answer(reading))]
    return min(answers, key=lambda a: (a.stuck, a.misfit), default=None)


def unanswered(observation: Observation) -> list[str]:
    """Why layers that might have given images in closed form do not, a sentence each."""
    reading = Reading(observation)
    told = [t for s in SOURCES if s.answer is not None for t in s.tell(reading) if not t.useful]
    return [f"{t.layer}, {t.source}: {t.words}" for t in told]

"""Match row spaces of convolution updates and norm statistics: no labels, no second derivatives.

The row space of a convolution's update is the span of its input patches
(:mod:`medleak.inversion.row_space`), and running statistics give the batch's own. Both are
compared with candidate images by forward passes alone, and both fall smoothly from a mean image
to the truth, where distances of gradients stay flat until the last tenth of the way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from medleak.inversion.contrast import guess_contrast
from medleak.inversion.evidence import Evidence, Terms
from medleak.inversion.observation import Observation
from medleak.inversion.optimise import Descent, DivergedError, Meter, descend
from medleak.inversion.read_labels import read_labels
from medleak.inversion.reconstruction import Ending, ProgressCallback, Reconstruction
from medleak.inversion.starts import from_prior, smooth_noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One descent on some of the evidence.

    Attributes:
        descent: How.
        norms: Statistics of all norm layers, of those before the first span, or of none.
        spans: Row spaces of all usable convolutions, of the first, of all but it, or of none.
        span_weight: At the start and at the end, geometric between; statistics have weight 1.
        root: Match the root of the share outside of the row space: firmer near the truth.
        share: Of the seconds that are left, what the stage may use.
    """

    descent: Descent
    norms: Literal["all", "shallow", "none"] = "all"
    spans: Literal["all", "first", "deep", "none"] = "all"
    span_weight: tuple[float, float] = (1.0, 1.0)
    root: bool = False
    share: float = 1.0


COARSE = Stage(
    descent=Descent(iterations=100, lr=0.05, variation=(1.0, 0.1), levels=4, finest=0.5),
    spans="deep",
    span_weight=(3.0, 3.0),
    share=0.4,
)
FINE = Stage(
    descent=Descent(iterations=500, lr=0.1, variation=(3.0, 0.1), levels=5),
    norms="shallow",
    spans="first",
    span_weight=(30.0, 30.0),
)
FINE_LARGE = replace(FINE, descent=replace(FINE.descent, lr=0.05, variation=(1.0, 0.1)))
"""For images above 128 px: of the rates tried, 0.05 was the best at 224 px, 0.1 at 64 px."""
COARSE_WITHHELD = Stage(
    descent=Descent(iterations=60, lr=0.05, variation=(0.3, 0.05), box=10.0, levels=4, finest=0.5),
    norms="none",
    spans="deep",
    share=0.3,
)
FINE_WITHHELD = Stage(
    descent=Descent(iterations=1000, lr=0.1, variation=(0.3, 0.01), box=10.0, levels=5),
    norms="none",
    spans="first",
)
STATISTICS = Stage(
    descent=Descent(iterations=600, lr=0.05, variation=(1.0, 0.03), levels=5), spans="none"
)
BATCH = Stage(
    descent=Descent(iterations=600, lr=0.05, variation=(1.0, 0.003), levels=1),
    span_weight=(0.1, 3.0),
    root=True,
)


# Runs that found the image end below 0.004 and 0.001, those in a wrong valley above these.
# Noise on the update adds what it makes of the losses at the truth.
_STUCK_STATISTICS = 0.01
_STUCK_SPAN = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSpace:
    """Row-space and norm-statistics matching, coarse to fine.

    Attributes:
        seconds: Budget for all attempts, CPU seconds (wall seconds on a GPU); None for none.
            Less time makes the schedules shorter.
        attempts: Runs at most; another one follows where one is stuck by its own loss, or
            diverged.
        max_noise: Row spaces noisier than this (share of the true patches' energy expected
            outside) are left out.
        stages: None for the recipe that fits what was observed.
    """

    seconds: float | None = None
    attempts: int = 3
    max_noise: float = 0.01
    stages: tuple[Stage, ...] | None = None

    def __post_init__(self) -> None:
        """Reject settings that cannot run."""
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, got {self.attempts}.")
        if self.seconds is not None and not self.seconds > 0:
            raise ValueError(f"seconds must be positive or None, got {self.seconds}.")
        if self.stages is not None and not self.stages:
            raise ValueError("stages must be None or hold a stage: without one nothing runs.")


@dataclass(frozen=True, slots=True)
class _Attempt:
    images: Tensor  # not clamped
    terms: Terms
    stuck: bool
    ending: Ending

    @property
    def loss(self) -> float:
        return float(self.terms.statistics + self.terms.span)


def run(
    attack: RowSpace,
    observation: Observation,
    prior: Tensor | None,
    *,
    generator: torch.Generator,
    on_progress: ProgressCallback | None = None,
) -> Reconstruction:
    """Reconstruct all images of the client at once.

    Args:
        attack: Settings.
        observation: Must grant the global model, the number of images and the batch size; norm
            statistics and learning rate are used where granted.
        prior: [1, C, H, W] in [0, 1], the start; None for a flat gray one.
        generator: Of the starts. On the CPU.
        on_progress: Told of every iteration.

    Returns:
        N images, best attempt by the attack's own loss. Interrupted (Ctrl-C): the images so far.

    Raises:
        KnowledgeError: Something needed is withheld.
        ValueError: The update holds nothing that this attack can use, or ``prior`` has another
            size than the images.
    """
    evidence = Evidence(observation, max_noise=attack.max_noise)
    if not evidence.spans and not evidence.norms:
        raise ValueError(
            "The update shows neither batch-norm statistics nor a row space that stands out of "
            "noise and batch size: row-space matching has nothing to match. Use an attack that "
            "matches gradients; this failure is no evidence of safety."
        )
    stages = attack.stages or recipe(
        evidence, observation.n_images, large=max(observation.spatial_size) > 128
    )
    meter = Meter(
        observation.device,
        total=sum(s.descent.iterations for s in stages),
        seconds=attack.seconds,
        progress=on_progress,
    )
    best: _Attempt | None = None
    attempts = 0
    while attempts < attack.attempts and (attempts == 0 or meter.left > 0):
        start = _start(observation, prior, generator, attempts)
        attempts += 1
        try:
            found = _attempt(evidence, stages, start, meter)
        except DivergedError:
            continue
        if best is None or found.loss < best.loss:
            best = found
        if not found.stuck or found.ending != "finished":
            break
    if best is None:
        raise ArithmeticError(
            f"All {attempts} attempts diverged: the update or the global model holds values that "
            "no training on images gives. Look at the record."
        )
    return _report(observation, evidence, prior, best, meter, attempts)


def recipe(evidence: Evidence, n_images: int, *, large: bool) -> tuple[Stage, ...]:
    """The stages for what ``evidence`` holds."""
    fine = FINE_LARGE if large else FINE
    if not evidence.spans:
        return (STATISTICS,)
    if n_images > 1:
        return (BATCH if evidence.norms else replace(BATCH, norms="none"),)
    deep = len(evidence.spans) > 1
    if not evidence.norms:
        return (COARSE_WITHHELD, FINE_WITHHELD) if deep else (FINE_WITHHELD,)
    return (COARSE, fine) if deep else (fine,)


def _start(
    observation: Observation, prior: Tensor | None, generator: torch.Generator, attempt: int
) -> Tensor:
    """The prior, with a trace of noise where images or attempts must differ."""
    shape = (observation.n_images, observation.image_channels, *observation.spatial_size)
    start = from_prior(shape, None if prior is None else prior.cpu(), generator)
    if attempt:
        start = (start + 0.1 * smooth_noise(shape, generator)).clamp(0, 1)
    return start.to(observation.device)


def _attempt(evidence: Evidence, stages: Sequence[Stage], start: Tensor, meter: Meter) -> _Attempt:
    images, ending = start, "finished"
    matching = _Matching(evidence, stages[-1])
    for stage in stages:
        matching = _Matching(evidence, stage)
        images, ending = descend(stage.descent, matching.loss, images, meter, stage.share)
        if ending == "interrupted":
            break
    with torch.no_grad():
        terms = matching.terms(images)
    noise = max((s.space.noise for s in evidence.spans.values()), default=0.0)
    stuck = (
        float(terms.statistics) > _STUCK_STATISTICS + 1.5 * evidence.statistics_noise
        or float(terms.span) > _STUCK_SPAN + 2 * noise
    )
    return _Attempt(images, terms, stuck, ending)


class _Matching:
    """The loss of one stage."""

    def __init__(self, evidence: Evidence, stage: Stage) -> None:
        self._evidence, self._stage = evidence, stage
        spans = tuple(evidence.spans)
        self._spans = {"all": spans, "first": spans[:1], "deep": spans[1:], "none": ()}[stage.spans]
        shallow = evidence.norms
        if spans:
            before = evidence.spans[spans[0]].conv.norms_before
            shallow = tuple(n for n in evidence.norms if n in before)
        self._norms = {"all": evidence.norms, "shallow": shallow, "none": ()}[stage.norms]

    def terms(self, images: Tensor) -> Terms:
        return self._evidence.terms(images, norms=self._norms, spans=self._spans)

    def loss(self, images: Tensor, done: float) -> Tensor:
        terms = self.terms(images)
        low, high = self._stage.span_weight
        span = terms.span_root if self._stage.root else terms.span
        return terms.statistics + low * (high / low) ** done * span


def _report(
    observation: Observation,
    evidence: Evidence,
    prior: Tensor | None,
    best: _Attempt,
    meter: Meter,
    attempts: int,
) -> Reconstruction:
    images = best.images.clamp(0, 1)
    if not evidence.norms and best.ending != "interrupted":
        level = sum(observation.mean) / len(observation.mean)
        images = guess_contrast(best.images, prior, level)
    return Reconstruction(
        images=images.cpu(),
        labels=read_labels(observation, images, evidence.steps),
        losses={"statistics": float(best.terms.statistics), "span": float(best.terms.span)},
        history=torch.tensor(meter.history),
        iterations=len(meter.history),
        seconds=meter.seconds,
        attempts=attempts,
        stuck=best.stuck,
        ending=best.ending,
    )

"""Match row spaces of convolution updates and norm statistics: no labels, no second derivatives.

The row space of a convolution's update is the span of its input patches
(:mod:`medleak.inversion.evidence.algebra.row_spaces`), and running statistics give the batch's own.
Both are compared with candidate images by forward passes alone, and both fall smoothly from a mean
image to the truth, where distances of gradients stay flat until the last tenth of the way. Where a
source gives the images in closed form, no descent is made.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from medleak.filters.imports import uncollected
from medleak.inversion.attacks.row_space.finish import with_contrast
from medleak.inversion.attacks.row_space.grouping import regroup
from medleak.inversion.attacks.row_space.judging import (
    Outset,
    is_clear,
    is_near,
    is_stuck,
    judged,
    loss_of,
    outset,
)
from medleak.inversion.attacks.row_space.read_labels import read_labels
from medleak.inversion.attacks.row_space.recipes import VISITS, recipe
from medleak.inversion.attacks.row_space.stages import Matching, Stage
from medleak.inversion.attacks.row_space.visits import can_be_visited, visited
from medleak.inversion.descent.device import full_precision
from medleak.inversion.descent.meter import DivergedError, Meter, Stopwatch
from medleak.inversion.descent.pyramid_descent import descend
from medleak.inversion.descent.starts import flat
from medleak.inversion.evidence.one_round import closed_form, read_evidence, unanswered
from medleak.inversion.evidence.several_rounds import Rounds, join
from medleak.inversion.evidence.steps import client_steps
from medleak.inversion.evidence.terms import Terms
from medleak.inversion.observation import Observation
from medleak.inversion.reconstruction import Ending, ProgressCallback, Reconstruction

_APART = 0.05  # standard deviation of the noise that keeps the images of a batch apart
_RESTART = 0.1  # and attempts that go the same way from repeating each other
_NOTHING = 1.0  # relative misfit of no image at all, from which a closed form starts
_LARGE = 90  # px; from there on ResNet-18's first row space lies in its third stage, not its second


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
        rounds: Of the averaging attack: how many of the last ones it uses. Each costs a pass an
            iteration, and a copy of the network.
        stages: None for the recipe that fits what was observed.
    """

    seconds: float | None = None
    attempts: int = 3
    max_noise: float = 0.01
    rounds: int = 10
    stages: tuple[Stage, ...] | None = None

    def __post_init__(self) -> None:
        """Reject settings that cannot run."""
        for name in ("attempts", "rounds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.seconds is not None and not self.seconds > 0:
            raise ValueError(f"seconds must be positive or None, got {self.seconds}.")
        if self.stages is not None and not self.stages:
            raise ValueError("stages must be None or hold a stage: without one nothing runs.")


@dataclass(frozen=True, slots=True)
class _Attempt:
    images: Tensor  # not clamped
    terms: Terms
    found: bool  # no other attempt is worth its time
    stuck: bool
    ending: Ending

    @property
    def rank(self) -> tuple[bool, float]:
        """The least of all attempts is kept."""
        return self.stuck, loss_of(self.terms)


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
    if attack.stages is None and (answer := _closed_form(observation)) is not None:
        return answer
    rounds = join([read_evidence(observation, max_noise=attack.max_noise)])
    return _search(attack, rounds, observation, prior, generator, on_progress)


def run_average(
    attack: RowSpace,
    observations: Sequence[Observation],
    prior: Tensor | None,
    *,
    generator: torch.Generator,
    on_progress: ProgressCallback | None = None,
) -> Reconstruction:
    """Reconstruct from several rounds of one client, whose images stay the same.

    Args:
        attack: Settings.
        observations: Oldest first; each is looked at once. See `run` for what they must grant.
        prior: See `run`; ``generator`` and ``on_progress`` likewise.

    Returns:
        N images; labels as the last round tells them.

    Raises:
        KnowledgeError: Something needed is withheld.
        ValueError: See `run`; or the client makes several steps a round.
    """
    first = max(0, len(observations) - attack.rounds)
    last = observations[len(observations) - 1]
    chosen = [observations[k] for k in range(first, len(observations) - 1)]
    rounds = join([read_evidence(o, max_noise=attack.max_noise) for o in (*chosen, last)])
    return _search(attack, rounds, last, prior, generator, on_progress)


@full_precision()
def _closed_form(observation: Observation) -> Reconstruction | None:
    """Images from algebra alone, where a source gives them and believes in them."""
    watch = Stopwatch(observation.device)
    answer = closed_form(observation)
    if answer is None or answer.stuck:
        return None
    labels = answer.labels
    if labels is None:
        labels = read_labels(observation, answer.images, client_steps(observation))
    return Reconstruction(
        images=answer.images.float().cpu().clamp(0, 1),
        labels=labels if labels is None else labels.cpu(),
        losses={"closed_form": answer.misfit},
        start_losses={"closed_form": _NOTHING},
        history=torch.tensor([answer.misfit]),
        iterations=1,
        seconds=watch.seconds,
    )


@full_precision()
def _search(
    attack: RowSpace,
    rounds: Rounds,
    observation: Observation,
    prior: Tensor | None,
    generator: torch.Generator,
    on_progress: ProgressCallback | None,
) -> Reconstruction:
    if observation.silent:
        raise ValueError(
            "Every entry of the update is zero: there is nothing to learn from it, and nothing to "
            "attack. If the site trained, look at its learning rate, its filters and the record."
        )
    if not rounds.spans and not rounds.norms:
        why = "".join(f" ({reason})" for reason in unanswered(observation))
        raise ValueError(
            "The update shows neither batch-norm statistics nor a row space that stands out of "
            f"noise and batch size: row-space matching has nothing to match{why}. Use an attack "
            "that matches gradients; this failure is no evidence of safety."
        )
    plans = [
        attack.stages
        or recipe(
            rounds, observation.n_images, large=max(observation.spatial_size) > _LARGE, attempt=k
        )
        for k in range(attack.attempts)
    ]
    meter = Meter(
        observation.device,
        total=sum(s.descent.iterations for s in plans[0]),
        seconds=attack.seconds,
        progress=on_progress,
    )
    began = outset(rounds, _flat(observation, prior))
    best: _Attempt | None = None
    attempts = 0
    while attempts < attack.attempts and (attempts == 0 or meter.left > 0):
        again = plans[attempts] in plans[:attempts]
        if best is not None and plans[attempts][0].blur:
            start = best.images
        else:
            start = _start(observation, prior, generator, again=again)
        attempts += 1
        try:
            found = _attempt(observation, rounds, plans[attempts - 1], start, began, meter)
        except DivergedError:
            continue
        if best is None or found.rank < best.rank:
            best = found
        if found.found or found.ending != "finished":
            break
    if best is None:
        raise ArithmeticError(
            f"All {attempts} attempts diverged: the update or the global model holds values that "
            "no training on images gives. Look at the record."
        )
    return _report(observation, rounds, best, began.judged, meter, attempts)


def _start(
    observation: Observation, prior: Tensor | None, generator: torch.Generator, *, again: bool
) -> Tensor:
    """The prior; with a trace of coarse noise where images, or attempts of one way, must differ.

    No grain: what the first layers hardly see stays in the image as it was put there.
    """
    start = _flat(observation, prior).cpu()
    shape = start.shape
    if again or shape[0] > 1:
        size = shape[2:]
        coarse = (*shape[:2], *(max(1, side // 8) for side in size))
        noise = functional.interpolate(
            torch.randn(coarse, generator=generator),
            size=size,
            mode="bicubic" if len(size) == 2 else "trilinear",
        )
        start = (start + (_RESTART if again else _APART) * noise).clamp(0, 1)
    return start.to(observation.device)


def _attempt(
    observation: Observation,
    rounds: Rounds,
    stages: Sequence[Stage],
    start: Tensor,
    began: Outset,
    meter: Meter,
) -> _Attempt:
    images, ending = start, "finished"
    for stage in stages:
        if stage.near and not is_near(rounds, images):
            continue
        matching, before = Matching(rounds, stage), images
        if stage.blur:
            images = _blurred(images.clamp(0, 1), stage.blur)
        images, ending = descend(stage.descent, matching.loss, images, meter, stage.share)
        if stage.proven and loss_of(judged(rounds, images)) >= loss_of(judged(rounds, before)):
            images = before
        if ending == "interrupted":
            break
        if stage.regroup and len(rounds.steps) > 1:
            order = regroup(rounds.last, images, meter)
            images, rounds = images[order], rounds.reordered(order)
    if ending == "finished" and can_be_visited(observation, rounds):
        rounds = visited(observation, rounds, images)
        images, ending = descend(VISITS.descent, Matching(rounds, VISITS).loss, images, meter)
    terms = judged(rounds, images)
    stuck = is_stuck(rounds, images, terms, began)
    return _Attempt(images, terms, not stuck and is_clear(rounds, images, terms), stuck, ending)


def _blurred(images: Tensor, share: float) -> Tensor:
    # Libraries of seconds: a plan is made without them.
    sigma = share * min(images.shape[2:])
    if images.dim() == 4:
        with uncollected():
            from torchvision.transforms.functional import gaussian_blur
        return gaussian_blur(images, [2 * math.ceil(3 * sigma) + 1] * 2, [sigma, sigma])
    with uncollected():
        from monai.networks.layers.simplelayers import GaussianFilter
    return GaussianFilter(images.dim() - 2, sigma)(images)


def _flat(observation: Observation, prior: Tensor | None) -> Tensor:
    shape = (observation.n_images, observation.image_channels, *observation.spatial_size)
    return flat(shape, prior).to(observation.device)


def _named(terms: Terms) -> dict[str, float]:
    return {"statistics": float(terms.statistics), "span": float(terms.span)}


def _report(
    observation: Observation,
    rounds: Rounds,
    best: _Attempt,
    start: Terms,
    meter: Meter,
    attempts: int,
) -> Reconstruction:
    images = best.images.clamp(0, 1)
    if not rounds.norms and best.ending != "interrupted":
        images = with_contrast(observation, rounds, best.images, meter, stuck=best.stuck)
    return Reconstruction(
        images=images.cpu(),
        labels=read_labels(observation, images, rounds.steps, frozen=rounds.last.frozen),
        losses=_named(best.terms),
        start_losses=_named(start),
        history=torch.tensor(meter.history),
        iterations=len(meter.history),
        seconds=meter.seconds,
        attempts=attempts,
        stuck=best.stuck,
        ending=best.ending,
    )

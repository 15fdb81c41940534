"""GradInversion: update matching with fidelity terms, and seeds that agree with each other.

Yin, Mallya, Vahdat, Alvarez, Kautz, Molchanov 2021, "See through Gradients: Image Batch Recovery
via GradInversion", arXiv:2104.07586v1, eq. 1-12. Its registration of the seeds by optical flow is
left out: seeds that start from one image stay aligned.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from medleak.inversion.client.batch_norm import running_statistics
from medleak.inversion.client.labels import head, labels_without_repeats
from medleak.inversion.client.simulation import (
    Labels,
    Simulation,
    image_shape,
    labels_of,
    simulation_of,
)
from medleak.inversion.client.training import Schedule
from medleak.inversion.descent.meter import Meter
from medleak.inversion.descent.pixel_descent import (
    Attempt,
    PixelSettings,
    best_attempt,
    descend_pixels,
    require_weights,
)
from medleak.inversion.descent.starts import STARTS, StartName, require_starts
from medleak.inversion.losses import MATCHES, Match, Statistics, total_variation
from medleak.inversion.observation import Observation
from medleak.inversion.reconstruction import ProgressCallback, Reconstruction

_REGROUP = 50  # iterations between two looks at which image of a seed is which


@dataclass(frozen=True, slots=True, kw_only=True)
class GradInversion(PixelSettings):
    """Settings of GradInversion.

    Attributes:
        seeds: Reconstructions made at once, which share their mean.
        gradient_weight: Of the update's distance (eq. 2).
        bn_weight: Of the distance between batch statistics and the network's running ones
            (eq. 10): a prior of natural activations. What the update says about statistics is
            not used; see :mod:`medleak.inversion.attacks.epochwise_bn`.
        group_weight: Of the mean squared distance to the seeds' mean (eq. 11).
        variation: Weight of total variation.
        l2: Weight of the mean squared pixel.
        match: Distance of updates; ``squared`` is eq. 2 to the letter.
        start: Of the images of every seed.
        unrolled_steps: Longer local training is simulated on the line between its ends.
    """

    iterations: int = 1000
    lr: float = 0.05
    seeds: int = 2
    gradient_weight: float = 1.0
    bn_weight: float = 0.1
    group_weight: float = 0.01
    variation: float = 0.1
    l2: float = 1e-4
    match: Match = "layerwise_cosine"
    start: StartName = "smooth"
    unrolled_steps: int = 8

    def __post_init__(self) -> None:
        """Reject settings that cannot run."""
        PixelSettings.__post_init__(self)
        require_starts(self.start)
        require_weights(self, "gradient_weight", "bn_weight", "group_weight", "variation", "l2")
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1, got {self.seeds}.")
        if self.match not in MATCHES:
            raise ValueError(f"match must be one of {', '.join(MATCHES)}, got {self.match!r}.")


def run(
    attack: GradInversion,
    observation: Observation,
    prior: Tensor | None,
    *,
    generator: torch.Generator,
    on_progress: ProgressCallback | None = None,
) -> Reconstruction:
    """Run ``attack`` on the update of one local step or of several.

    Labels that have to be inferred are those of :func:`labels_without_repeats` where the images
    are fewer than the classes, else counted.

    Args:
        attack: Settings.
        observation: What the attacker sees; not modified. Needs the global model, the number of
            images, and for several steps the batch size and the learning rate.
        prior: [1, C, H, W] in [0, 1], for ``start="prior"`` alone.
        generator: Of starts and label unknowns.
        on_progress: Called at every iteration.

    Returns:
        The seed nearest to the update, or the seeds' mean if that is nearer.

    Raises:
        KnowledgeError: Something above is withheld.
        ValueError: Labels are to be inferred and cannot be.
    """
    client = simulation_of(observation, unrolled_steps=attack.unrolled_steps)
    observed = list(client.observed.values())
    natural = _natural_statistics(client)
    shape, device = image_shape(observation), observation.device
    n, seeds = shape[0], attack.seeds
    labels = _labels(client, torch.full(shape, 0.5, device=device), generator)
    meter = Meter(
        device,
        total=attack.iterations * attack.attempts,
        seconds=attack.seconds,
        progress=on_progress,
    )

    def start() -> Tensor:
        many = (seeds * n, *shape[1:])
        return STARTS[attack.start](many, prior, generator).to(device)

    def objective(images: Tensor, others: Sequence[Tensor], done: float) -> dict[str, Tensor]:
        given = labels.of(others, observation)
        if len(meter.history) % _REGROUP == 0:
            _align(images, n, labels.fixed, client.schedule)
        gradient, statistics = [], []
        for seed in images.split(n):
            update, simulated = client.update(seed, given)
            gradient.append(MATCHES[attack.match](update, observed))
            if natural:
                statistics.append(_strangeness(simulated, natural))
        grouped = images.unflatten(0, (seeds, n))
        terms = {
            "gradient": attack.gradient_weight * torch.stack(gradient).sum(),
            "group": attack.group_weight * (grouped - grouped.detach().mean(0)).square().mean(),
            "variation": attack.variation * seeds * total_variation(images),
            "l2": attack.l2 * images.square().mean(),
        }
        if statistics:
            terms["statistics"] = attack.bn_weight * torch.stack(statistics).sum()
        return terms

    def once(number: int) -> Attempt:
        end = descend_pixels(attack, objective, (start(), labels.unknown), meter)
        grouped = end.images.unflatten(0, (seeds, n))
        candidates = [*grouped, grouped.mean(0)]
        with torch.no_grad():
            given = labels.of(end.others, observation)
            scores = [
                float(MATCHES[attack.match](client.update(c, given)[0], observed))
                for c in candidates
            ]
        best = min(range(len(scores)), key=lambda i: scores[i])
        begun = {}
        if attack.gradient_weight:
            weight = attack.gradient_weight * seeds
            begun = {"distance": end.start_terms["gradient"] / weight}
        return replace(
            end,
            images=candidates[best],
            terms={**end.terms, "distance": scores[best]},
            start_terms=begun,
        )

    return best_attempt(
        attack,
        once,
        distance=lambda a: a.terms["distance"],
        labels=lambda a: labels.classes(a.others),
        fallback=torch.full(shape, 0.5),
        meter=meter,
    )


def _natural_statistics(client: Simulation) -> Statistics:
    """The running statistics of the global model, by norm layer."""
    running = running_statistics(client.network)
    means = [name for name in running if name.endswith(".running_mean")]
    return {
        name.removesuffix(".running_mean"): (
            running[name],
            running[name.replace(".running_mean", ".running_var")],
        )
        for name in means
    }


def _strangeness(found: Statistics, natural: Statistics) -> Tensor:
    """Eq. 10 in units of each channel's running standard deviation and variance, root mean square.

    In its own units the deepest layers would decide; relative to the running mean, fresh running
    statistics of zero would divide by nothing.
    """
    gaps = []
    for name, (mean, variance) in natural.items():
        scale = variance.clamp_min(1e-5)
        gaps.append(((found[name][0] - mean).square() / scale).mean())
        gaps.append((found[name][1] / scale - 1).square().mean())
    return (torch.stack(gaps) + 1e-12).sqrt().mean()


def _labels(client: Simulation, stand_in: Tensor, generator: torch.Generator) -> Labels:
    observation = client.observation
    few = 1 < len(stand_in) < observation.num_classes
    if observation.knowledge.labels != "inferred" or not few:
        return labels_of(client, stand_in, generator)
    weight = client.observed[f"{head(client.network)}.weight"]
    return Labels(labels_without_repeats(-weight, len(stand_in)), ())


def _align(images: Tensor, n: int, labels: Tensor | None, schedule: Schedule) -> None:
    """Permute, in place, the images of later seeds to resemble the first seed's.

    Within a local step and a label images can change places without changing the update; seeds
    that put them in different places would average one image with another.
    """
    step_of = torch.zeros(n, dtype=torch.int64)
    for k, batch in enumerate(schedule.batches):
        step_of[list(batch)] = k
    label = torch.arange(n) if labels is None else labels.cpu()
    with torch.no_grad():
        first, *rest = images.split(n)
        for seed in rest:
            for key in {(int(s), int(c)) for s, c in zip(step_of, label, strict=True)}:
                at = ((step_of == key[0]) & (label == key[1])).nonzero().flatten()
                cost = torch.cdist(first[at].flatten(1), seed[at].flatten(1))
                _, order = linear_sum_assignment(cost.cpu().numpy())
                seed[at] = seed[at[torch.as_tensor(order)]].clone()

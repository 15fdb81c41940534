"""Epoch-wise inversion with batch-norm statistics: TMI 2023, done as its equations say.

Hatamizadeh et al. 2023, "Do Gradient Inversion Attacks Make Federated Learning Unsafe?",
arXiv:2202.06924v2, eq. 1-5. Where the published program departs from them, this follows the
equations: the gradient distance depends on the image, every iteration starts from the global
model, each local step has its own statistics (unbiased variance, at the weights of its step),
and observed running statistics are compared with simulated ones after all K steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medleak.inversion.client.simulation import image_shape, labels_of, simulation_of
from medleak.inversion.descent.meter import Meter
from medleak.inversion.descent.pixel_descent import (
    Attempt,
    PixelSettings,
    best_attempt,
    descend_pixels,
    require_weights,
)
from medleak.inversion.descent.starts import STARTS, StartName, require_starts
from medleak.inversion.losses import MATCHES, Match, statistics_distance, total_variation
from medleak.inversion.observation import Observation
from medleak.inversion.reconstruction import ProgressCallback, Reconstruction


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochwiseBN(PixelSettings):
    """Settings of TMI's attack; its ablations (Fig. 3) are these fields.

    Attributes:
        bn_weight: Of the statistics (eq. 5, relative per layer); 0 for Fig. 3b.
        gradient_weight: Of the update (eq. 2).
        gradient_from: Share of the iterations after which the update is matched too. Matching it
            costs five times as much, and far from the truth it points nowhere; without
            statistics to match it starts at once.
        match: Distance of updates; ``layerwise`` is eq. 2 to the letter.
        variation: Weight of total variation at the start and at the end.
        l2: Weight of the mean squared pixel.
        start: ``prior`` as published; ``uniform`` for Fig. 3d, ``fundus`` for Fig. 3e-f.
        gray: One channel where the images are known to be gray; False for Fig. 3f.
        global_model: False starts from the factory's weights, Fig. 3c.
        unrolled_steps: Longer local training is simulated on the line between its ends.
        solved: Of the statistics, or of the update where they are not matched.
    """

    iterations: int = 1000
    lr: float = 0.05
    bn_weight: float = 1.0
    gradient_weight: float = 0.1
    gradient_from: float = 0.8
    match: Match = "layerwise_cosine"
    variation: tuple[float, float] = (1.0, 0.03)
    l2: float = 1e-4
    start: StartName = "prior"
    gray: bool = True
    global_model: bool = True
    unrolled_steps: int = 8
    solved: float = 0.02

    def __post_init__(self) -> None:
        """Reject settings that cannot run."""
        PixelSettings.__post_init__(self)
        require_starts(self.start)
        require_weights(self, "bn_weight", "gradient_weight", "l2")
        if not all(0 <= v < float("inf") for v in self.variation):
            raise ValueError(f"variation must be at least 0 and finite, got {self.variation}.")
        if not 0 <= self.gradient_from <= 1:
            raise ValueError(f"gradient_from must be in [0, 1], got {self.gradient_from}.")
        if self.bn_weight == self.gradient_weight == 0:
            raise ValueError("bn_weight and gradient_weight are both 0: nothing would be matched.")
        if self.match not in MATCHES:
            raise ValueError(f"match must be one of {', '.join(MATCHES)}, got {self.match!r}.")


def run(
    attack: EpochwiseBN,
    observation: Observation,
    prior: Tensor | None,
    *,
    generator: torch.Generator,
    on_progress: ProgressCallback | None = None,
) -> Reconstruction:
    """Run ``attack`` on the update of one local epoch or several.

    Args:
        attack: Settings.
        observation: What the attacker sees; not modified. Needs the number of images, the global
            model unless the attack does without, statistics unless ``bn_weight`` is 0, and for
            several steps batch size and learning rate.
        prior: [1, C, H, W] in [0, 1]; None for a gray one.
        generator: Of starts and label unknowns.
        on_progress: Called at every iteration.

    Returns:
        N images, with the network's channels where ``gray`` is False.

    Raises:
        KnowledgeError: Something above is withheld.
        ValueError: Labels are to be inferred and cannot be.
    """
    client = simulation_of(
        observation, global_model=attack.global_model, unrolled_steps=attack.unrolled_steps
    )
    observed = list(client.observed.values())
    statistics = observation.bn_statistics if attack.bn_weight else {}
    n, channels, *size = image_shape(observation)
    shape = (n, channels if attack.gray else len(observation.mean), *size)
    device = observation.device

    def start() -> Tensor:
        return STARTS[attack.start](shape, prior, generator).to(device)

    labels = labels_of(client, start(), generator)
    meter = Meter(
        device,
        total=attack.iterations * attack.attempts,
        seconds=attack.seconds,
        progress=on_progress,
    )
    late = attack.gradient_from if attack.bn_weight else 0.0

    def objective(images: Tensor, others: Sequence[Tensor], done: float) -> dict[str, Tensor]:
        terms = {}
        if attack.gradient_weight and done >= late:
            update, simulated = client.update(images, labels.of(others, observation))
            distance = MATCHES[attack.match](update, observed)
            terms["gradient"] = attack.gradient_weight * distance
        else:
            simulated = client.statistics(images)
        if attack.bn_weight:
            terms["statistics"] = attack.bn_weight * statistics_distance(simulated, statistics)
        first, last = attack.variation
        variation = first * (last / first) ** done if first and last else first * (1 - done) + last
        terms["variation"] = variation * total_variation(images)
        terms["l2"] = attack.l2 * images.square().mean()
        return terms

    def distance(attempt: Attempt) -> float:
        if attack.bn_weight:
            return attempt.terms["statistics"] / attack.bn_weight
        return attempt.terms["gradient"] / attack.gradient_weight

    return best_attempt(
        attack,
        lambda number: descend_pixels(attack, objective, (start(), labels.unknown), meter),
        distance,
        labels=lambda a: labels.classes(a.others),
        fallback=start(),
        meter=meter,
    )

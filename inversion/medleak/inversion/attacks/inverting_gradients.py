"""Inverting Gradients: match the direction of the update by signed Adam, under total variation.

Geiping, Bauermeister, Dröge, Moeller 2020, "Inverting Gradients — How easy is it to break privacy
in federated learning?", arXiv:2003.14053v2, eq. 4; section 6 for several local steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

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
from medleak.inversion.losses import MATCHES, Match, total_variation
from medleak.inversion.observation import Observation
from medleak.inversion.reconstruction import ProgressCallback, Reconstruction


@dataclass(frozen=True, slots=True, kw_only=True)
class InvertingGradients(PixelSettings):
    """Settings of Geiping et al.

    Published for one image: 4,800 to 24,000 iterations of lr 0.1, ``decay="steps"``, signed,
    ``start="normal"``, total variation 1e-6 to 1e-1.

    Attributes:
        variation: Weight of total variation.
        match: ``cosine`` as published, or another distance of updates.
        signed: Adam sees the gradient's signs alone.
        start: Of the images.
        unrolled_steps: Longer local training is simulated on the line between its ends.
    """

    iterations: int = 4800
    lr: float = 0.1
    decay: Literal["cosine", "steps"] = "steps"
    variation: float = 1e-2
    match: Match = "cosine"
    signed: bool = True
    start: StartName = "normal"
    unrolled_steps: int = 8

    def __post_init__(self) -> None:
        """Reject settings that cannot run."""
        PixelSettings.__post_init__(self)
        require_starts(self.start)
        require_weights(self, "variation")
        if self.match not in MATCHES:
            raise ValueError(f"match must be one of {', '.join(MATCHES)}, got {self.match!r}.")


def run(
    attack: InvertingGradients,
    observation: Observation,
    prior: Tensor | None,
    *,
    generator: torch.Generator,
    on_progress: ProgressCallback | None = None,
) -> Reconstruction:
    """Run ``attack`` on the update of one local step or of several.

    Batch norm runs in training mode and its statistics are not used: with them the attack is
    blind (TMI 2023, Fig. 3b); see :mod:`medleak.inversion.attacks.epochwise_bn`.

    Args:
        attack: Settings.
        observation: What the attacker sees; not modified. Needs the global model, the number of
            images, and for several steps the batch size and the learning rate.
        prior: [1, C, H, W] in [0, 1], for ``start="prior"`` alone.
        generator: Of the starts.
        on_progress: Called at every iteration.

    Raises:
        KnowledgeError: Something above is withheld.
        ValueError: Labels are to be inferred and cannot be.
    """
    client = simulation_of(observation, unrolled_steps=attack.unrolled_steps)
    observed = list(client.observed.values())
    shape, device = image_shape(observation), observation.device
    labels = labels_of(client, torch.full(shape, 0.5, device=device), generator)
    meter = Meter(
        device,
        total=attack.iterations * attack.attempts,
        seconds=attack.seconds,
        progress=on_progress,
    )

    def mismatch(images: Tensor, others: Sequence[Tensor]) -> Tensor:
        update, _ = client.update(images, labels.of(others, observation))
        return MATCHES[attack.match](update, observed)

    def objective(images: Tensor, others: Sequence[Tensor], done: float) -> dict[str, Tensor]:
        return {
            "gradient": mismatch(images, others),
            "variation": attack.variation * total_variation(images),
        }

    def once(number: int) -> Attempt:
        start = STARTS[attack.start](shape, prior, generator).to(device)
        return descend_pixels(
            attack, objective, (start, labels.unknown), meter, signed=attack.signed
        )

    return best_attempt(
        attack,
        once,
        distance=lambda a: a.terms["gradient"],
        labels=lambda a: labels.classes(a.others),
        fallback=torch.full(shape, 0.5),
        meter=meter,
    )

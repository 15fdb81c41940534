"""DLG: optimise images and labels together until their gradient is the observed one.

Zhu, Liu, Han 2019, "Deep Leakage from Gradients", arXiv:1906.08935v2, algorithm 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medleak.inversion.client.labels import classes_of, soft_labels
from medleak.inversion.client.single_step import single_step
from medleak.inversion.descent.restarts import LBFGSSettings, search
from medleak.inversion.descent.starts import STARTS, StartName, require_starts
from medleak.inversion.observation import Observation
from medleak.inversion.reconstruction import ProgressCallback, Reconstruction


@dataclass(frozen=True, slots=True, kw_only=True)
class DLG(LBFGSSettings):
    """Settings of DLG; ``start="normal"`` is the published one.

    Attributes:
        start: Of the images; labels start from a standard normal, as published.
    """

    start: StartName = "constant"

    def __post_init__(self) -> None:
        """Reject settings that cannot run."""
        LBFGSSettings.__post_init__(self)
        require_starts(self.start)


def run(
    attack: DLG,
    observation: Observation,
    prior: Tensor | None,
    *,
    generator: torch.Generator,
    on_progress: ProgressCallback | None = None,
) -> Reconstruction:
    """Run ``attack`` on the gradient of one local step of any number of images.

    Labels are always unknowns here, whatever the attacker knows of them.

    Args:
        attack: Settings.
        observation: What the attacker sees; not modified.
        prior: [1, C, H, W] in [0, 1], for ``start="prior"`` alone.
        generator: Of the starts.
        on_progress: Called every few iterations.

    Raises:
        ValueError: The update holds several steps.
        KnowledgeError: Global model, learning rate or number of images are withheld.
    """
    step = single_step(observation)
    device, n = observation.device, step.shape[0]

    def starts(attempt: int) -> tuple[Tensor, list[Tensor]]:
        images = STARTS[attack.start](step.shape, prior, generator)
        logits = torch.randn(
            n, observation.num_classes, generator=generator, device=generator.device
        )
        return images.to(device), [logits.to(device)]

    def mismatch(images: Tensor, others: Sequence[Tensor]) -> Tensor:
        labels = soft_labels(others[0], observation.criterion)
        return step.distance(attack.match, images, labels)

    floor = step.floor if attack.match == "weighted" else 0.0
    found = search(attack, mismatch, starts, device=device, floor=floor, on_progress=on_progress)
    return found.reconstruction(classes_of(found.others[0]))

"""CPL: gradient leakage from geometric starts, with a label term and a rule to give up.

Wei et al. 2020, "A Framework for Evaluating Gradient Leakage Attacks in Federated Learning",
arXiv:2004.10397v2, algorithm 1 and section 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from medleak.inversion.client.single_step import single_step
from medleak.inversion.descent.restarts import LBFGSSettings, search
from medleak.inversion.descent.starts import STARTS, StartName, require_starts
from medleak.inversion.observation import Observation
from medleak.inversion.reconstruction import ProgressCallback, Reconstruction


@dataclass(frozen=True, slots=True, kw_only=True)
class CPL(LBFGSSettings):
    """Settings of CPL.

    Its termination rule is ``tolerance`` and ``iterations``: an attempt ends when the gradient
    is close enough or the time is up, and another start is tried unless it is ``solved``.

    Attributes:
        starts: One after the other, an attempt each, from the first again.
        label_weight: Of the squared distance between output and label, alpha in the paper. The
            true image does not minimise that term (a network is rarely sure), so that a positive
            weight trades exactness for guidance; 0 leaves the gradient alone.
    """

    starts: tuple[StartName, ...] = ("constant", "tiled", "smooth")
    label_weight: float = 0.0

    def __post_init__(self) -> None:
        """Reject settings that cannot run."""
        LBFGSSettings.__post_init__(self)
        if not self.starts:
            raise ValueError("starts is empty: there must be an image to start from.")
        require_starts(*self.starts)
        if not self.label_weight >= 0:
            raise ValueError(f"label_weight must be at least 0, got {self.label_weight}.")


def run(
    attack: CPL,
    observation: Observation,
    prior: Tensor | None,
    *,
    generator: torch.Generator,
    on_progress: ProgressCallback | None = None,
) -> Reconstruction:
    """Run ``attack`` on the gradient of one local step of any number of images.

    Args:
        attack: Settings.
        observation: What the attacker sees; not modified. Known labels are used, else inferred.
        prior: [1, C, H, W] in [0, 1], for the start ``prior`` alone.
        generator: Of the starts.
        on_progress: Called every few iterations.

    Raises:
        ValueError: The update holds several steps.
        KnowledgeError: Global model, learning rate or number of images are withheld.
    """
    step = single_step(observation)
    device = observation.device

    def starts(attempt: int) -> tuple[Tensor, list[Tensor]]:
        start = STARTS[attack.starts[attempt % len(attack.starts)]]
        return start(step.shape, prior, generator).to(device), []

    labels = step.labels(torch.full(step.shape, 0.5, device=device))
    one_hot = functional.one_hot(labels, max(observation.num_classes, 2)).double()
    wanted = one_hot if observation.num_classes > 1 else one_hot[:, 1:]

    def mismatch(images: Tensor, others: Sequence[Tensor]) -> Tensor:
        distance = step.distance(attack.match, images, labels)
        if attack.label_weight == 0:
            return distance
        miss = (step.outputs_of(images) - wanted).square().sum()
        return distance + attack.label_weight * miss

    floor = step.floor if attack.match == "weighted" else 0.0
    found = search(attack, mismatch, starts, device=device, floor=floor, on_progress=on_progress)
    return found.reconstruction(labels)

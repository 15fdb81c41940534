"""iDLG: read the label from the sign of the gradient, then optimise the image alone.

Zhao, Mopuri, Bilen 2020, "iDLG: Improved Deep Leakage from Gradients", arXiv:2001.02610v1,
algorithm 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medleak.inversion.client.single_step import single_step
from medleak.inversion.descent.restarts import LBFGSSettings, search
from medleak.inversion.descent.starts import STARTS, StartName, require_starts
from medleak.inversion.observation import Observation
from medleak.inversion.reconstruction import ProgressCallback, Reconstruction


@dataclass(frozen=True, slots=True, kw_only=True)
class IDLG(LBFGSSettings):
    """Settings of iDLG; ``start="normal"`` is the published one."""

    start: StartName = "constant"

    def __post_init__(self) -> None:
        """Reject settings that cannot run."""
        LBFGSSettings.__post_init__(self)
        require_starts(self.start)


def run(
    attack: IDLG,
    observation: Observation,
    prior: Tensor | None,
    *,
    generator: torch.Generator,
    on_progress: ProgressCallback | None = None,
) -> Reconstruction:
    """Run ``attack`` on the gradient of one local step of one image.

    Args:
        attack: Settings.
        observation: What the attacker sees; not modified. Known labels are used, else inferred.
        prior: [1, C, H, W] in [0, 1], for ``start="prior"`` alone.
        generator: Of the starts.
        on_progress: Called every few iterations.

    Raises:
        ValueError: The update holds several steps or images (the sign rule reads one label).
        KnowledgeError: Global model, learning rate or number of images are withheld.
    """
    step = single_step(observation)
    if step.shape[0] != 1:
        raise ValueError(
            f"iDLG reads the label of one image from a sign, and the step has {step.shape[0]}: it "
            "would take one label for all of them. Use dlg or cpl."
        )
    device = observation.device
    start = STARTS[attack.start]
    label = step.labels(torch.empty(step.shape))

    def starts(attempt: int) -> tuple[Tensor, list[Tensor]]:
        return start(step.shape, prior, generator).to(device), []

    def mismatch(images: Tensor, others: Sequence[Tensor]) -> Tensor:
        return step.distance(attack.match, images, label)

    floor = step.floor if attack.match == "weighted" else 0.0
    found = search(attack, mismatch, starts, device=device, floor=floor, on_progress=on_progress)
    return found.reconstruction(label)

"""How far a candidate pulls the update's batch-norm statistics towards itself.

The running statistics of an update are means over all training images, untouched by the optimiser:
Adam, momentum and the learning rate leave them exact. An image that was among few has its own share
in each of thousands of means, which is how a person is found in the allele frequencies of a pool
(Homer et al. 2008, doi:10.1371/journal.pgen.1000167). Per layer, a candidate's own statistics minus
what certain non-members have on average are compared with those of the update minus the same; both
whitened by how much non-members vary, as all radiographs vary in the same few ways.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from medleak.custom.record import UnknownError
from medleak.inversion.knowledge import KnowledgeError
from medleak.inversion.membership.networks import (
    LEAST_VARIANCE,
    at_inputs,
    mean_progress,
    network_at,
)
from medleak.inversion.membership.scores.row_space import Whitening
from medleak.inversion.observation import Observation

SOURCE = "statistics"
_RIDGE = 0.003  # of the background's mean variance; a tenth of it told as well, ten times it less


def score(
    observation: Observation, images: Tensor, labels: Tensor | None, background: Tensor
) -> Mapping[str, Tensor]:
    """[N] a layer of batch norm, a cosine in [-1, 1], larger for members; no ``labels`` are used.

    Args:
        observation: The update.
        images: [N, C, ...] in [0, 1]: candidates.
        labels: Not used.
        background: [M, C, ...] in [0, 1], certainly not among the client's images, M >= 2.

    Raises:
        ValueError: The update reveals no statistics of the client's batches.
    """
    revealed = _revealed(observation)
    if not revealed or len(background) < 2:
        raise ValueError(
            "The update reveals no batch-norm statistics of the client's own batches (no such "
            "layer, frozen, withheld, or the number of steps is not known): statistics examines "
            "nothing here. Choose another score."
        )
    x = observation.normalise(torch.cat([images, background]))
    network = network_at(observation, mean_progress(observation))
    found = {}
    for name, values in _of_images(network, x, revealed).items():
        # In units of the revealed ones: their own mean is 0, their own mean square 1.
        target = torch.cat([torch.zeros_like(values[0, 0]), torch.ones_like(values[0, 1])])
        found[f"{SOURCE}/{name}"] = _pull(values.flatten(1), target, len(images))
    return found


def _revealed(observation: Observation) -> dict[str, tuple[Tensor, Tensor]]:
    if not observation.has_bn_statistics:
        return {}
    try:
        found, still = observation.bn_statistics, observation.frozen_norms
    except (KnowledgeError, UnknownError):
        return {}
    return {
        name: (mean, variance.clamp_min(LEAST_VARIANCE))
        for name, (mean, variance) in found.items()
        if name not in still
    }


def _of_images(
    network: nn.Module, x: Tensor, revealed: Mapping[str, tuple[Tensor, Tensor]]
) -> dict[str, Tensor]:
    """[N, 2, C] by layer: mean and mean square of each image's inputs, in ``revealed`` units."""

    def of(name: str, module: nn.Module, values: Tensor) -> Tensor:
        mean, variance = revealed[name]
        places = values.flatten(2) if values.ndim > 2 else values[:, :, None]
        units = (places - mean[:, None]) / variance.sqrt()[:, None]
        return torch.stack([units.mean(2), units.square().mean(2)], dim=1)

    return at_inputs(network, x, revealed, of)


def _pull(values: Tensor, target: Tensor, n: int) -> Tensor:
    usual = values[n:].mean(0)
    whitening = Whitening(values[n:] - usual, ridge=_RIDGE)
    own, pulled = whitening(values[:n] - usual), whitening(target - usual)
    return (own @ pulled) / (own.norm(dim=1) * pulled.norm()).clamp_min(1e-20)

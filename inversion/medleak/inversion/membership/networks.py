"""The networks that a score runs candidates through: before, on the way and after the round."""

from contextlib import suppress

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from medleak.custom.record import UnknownError
from medleak.inversion.knowledge import KnowledgeError
from medleak.inversion.observation import Observation

_LEAST_VARIANCE = 1e-6  # a revealed variance can come out below 0 where noise was added


def network_at(observation: Observation, progress: float) -> nn.Module:
    """In evaluation mode, with ``progress`` (0 to 1) of the round's weight update made.

    Running statistics are those that the update reveals of the round's batches, where it reveals
    them (clients train with batch statistics, so that their features had these); else the global
    model's.
    """
    network = observation.network().eval()
    update = observation.parameter_update
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.add_(update[name], alpha=progress)
    if observation.has_bn_statistics:
        # Without a known number of steps nothing is revealed: the global statistics stay.
        with suppress(KnowledgeError, UnknownError):
            _set_statistics(network, observation)
    return network.requires_grad_(False)


def mean_progress(observation: Observation) -> float:
    """How far the round had gone when its steps were made: 0 for one step, else half-way.

    The mean over K steps is (K - 1) / 2K, but the revealed statistics lean to the later ones; for
    4 steps half-way told members slightly better. Half-way also where K is not known.
    """
    try:
        steps = observation.n_steps
    except (KnowledgeError, UnknownError):
        return 0.5
    return 0.0 if steps == 1 else 0.5


def _set_statistics(network: nn.Module, observation: Observation) -> None:
    for name, (mean, variance) in observation.bn_statistics.items():
        layer = network.get_submodule(name)
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None:
            layer.running_mean.copy_(mean)
            assert layer.running_var is not None  # noqa: S101  the two come together
            layer.running_var.copy_(variance.clamp_min(_LEAST_VARIANCE))

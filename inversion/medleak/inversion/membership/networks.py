"""The networks that a score runs candidates through: before, on the way and after the round."""

import functools
from collections.abc import Callable, Iterable
from contextlib import suppress

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from medleak.custom.record import UnknownError
from medleak.inversion.knowledge import KnowledgeError
from medleak.inversion.observation import Observation

LEAST_VARIANCE = 1e-6
"""Of a norm's statistics: a revealed one can come out below 0 where noise was added."""

_AT_ONCE = 16  # images a forward pass: more save no time, and take memory


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


def at_inputs(
    network: nn.Module,
    x: Tensor,
    names: Iterable[str],
    of: Callable[[str, nn.Module, Tensor], Tensor],
) -> dict[str, Tensor]:
    """[N, ...] by name: what ``of`` makes of a layer's input, for all of ``x`` [N, ...].

    Args:
        network: Runs a few images at a time.
        x: In model units.
        names: Of layers.
        of: Given name, layer and its input [B, ...]; returns [B, ...].
    """
    found: dict[str, list[Tensor]] = {name: [] for name in names}

    def keep(name: str, module: nn.Module, args: tuple[Tensor, ...]) -> None:
        found[name].append(of(name, module, args[0]))

    hooks = [
        network.get_submodule(name).register_forward_pre_hook(functools.partial(keep, name))
        for name in found
    ]
    try:
        with torch.no_grad():
            for part in x.split(_AT_ONCE):
                network(part)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: torch.cat(parts) for name, parts in found.items() if parts}


def _set_statistics(network: nn.Module, observation: Observation) -> None:
    for name, (mean, variance) in observation.bn_statistics.items():
        layer = network.get_submodule(name)
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None:
            layer.running_mean.copy_(mean)
            assert layer.running_var is not None  # noqa: S101  the two come together
            layer.running_var.copy_(variance.clamp_min(LEAST_VARIANCE))

"""Local training without unrolling: gradients at weights between the two ends that are known.

The attacker has both ends of the client's path, θ0 and θK = θ0 + Δ. On the straight line between
them step k is near θ0 + k/K Δ; with the weights given, no step depends on another one's images,
and the graph is K separate pieces. Exact for one step. For many, the error is that of the line.

Zhu, Yao, Blaschko 2023, "Surrogate Model Extension (SME)", arXiv:2306.00127v1, which takes one
point of the line for all steps.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from medleak.inversion.client.batch_norm import (
    buffer_updates,
    moved_statistics,
    running_statistics,
)
from medleak.inversion.client.recompute import recomputed
from medleak.inversion.client.training import (
    Schedule,
    SimulatedUpdate,
    batch_gradient,
    batch_statistics,
)
from medleak.inversion.losses import Criterion

_MEAN = ".running_mean"


def surrogate_update(
    network: nn.Module,
    parameter_update: Mapping[str, Tensor],
    inputs: Tensor,
    labels: Tensor,
    schedule: Schedule,
    criterion: Criterion = "cross_entropy",
    *,
    positions: Tensor | None = None,
) -> SimulatedUpdate:
    """The update that ``inputs`` would cause along the line to the observed one.

    Memory of one step (each is computed again in the backward pass), whatever the schedule.

    Args:
        network: Global weights and buffers; not modified.
        parameter_update: The observed local - global, by parameter.
        inputs: [N, C, H, W] in model units.
        labels: [N] int64, or [N, K] probabilities.
        schedule: Steps and settings; momentum weighs each step by what becomes of it.
        criterion: The client's training loss.
        positions: [K] in [0, 1], where on the line each step is; default k / K. One value for
            all is the published form. May require grad.

    Returns:
        As :func:`medleak.inversion.client.training.simulate`, with a graph to inputs, labels,
        positions.

    Raises:
        ValueError: ``positions`` has another length than the schedule.
    """
    steps = len(schedule.batches)
    where = _positions(positions, steps, inputs)
    running = running_statistics(network)
    norms = [name.removesuffix(_MEAN) for name in running if name.endswith(_MEAN)]
    total = {name: torch.zeros_like(delta) for name, delta in parameter_update.items()}
    for k, batch in enumerate(schedule.batches):

        def piece(x: Tensor, y: Tensor, position: Tensor) -> tuple[Tensor, ...]:
            at = _weights(network, parameter_update, position)
            gradient, statistics = batch_gradient(network, at, x, y, criterion)
            if schedule.weight_decay:
                pairs = zip(gradient, at.values(), strict=True)
                gradient = [g + schedule.weight_decay * w for g, w in pairs]
            return (*gradient, *(v for name in norms for v in statistics[name]))

        index = torch.tensor(batch, device=inputs.device)
        found = recomputed(piece, inputs[index], labels[index], where[k])
        gradient, statistics = found[: len(total)], found[len(total) :]
        reach = schedule.lr * _geometric(schedule.momentum, steps - k)
        total = {
            name: value - reach * g
            for (name, value), g in zip(total.items(), gradient, strict=True)
        }
        pairs = dict(zip(norms, zip(statistics[::2], statistics[1::2], strict=True), strict=True))
        running = moved_statistics(network, running, pairs, k)
    return SimulatedUpdate(total, buffer_updates(network, running, steps))


def surrogate_statistics(
    network: nn.Module,
    parameter_update: Mapping[str, Tensor],
    inputs: Tensor,
    schedule: Schedule,
    *,
    positions: Tensor | None = None,
) -> dict[str, Tensor]:
    """The ``buffers`` of :func:`surrogate_update` alone, by forward passes alone.

    Args and errors: as there.
    """
    where = _positions(positions, len(schedule.batches), inputs)
    running = running_statistics(network)
    for k, batch in enumerate(schedule.batches):
        index = torch.tensor(batch, device=inputs.device)
        at = _weights(network, parameter_update, where[k])
        statistics = batch_statistics(network, at, inputs[index])
        running = moved_statistics(network, running, statistics, k)
    return buffer_updates(network, running, len(schedule.batches))


def _positions(positions: Tensor | None, steps: int, like: Tensor) -> Tensor:
    if positions is None:
        return torch.arange(steps, device=like.device, dtype=like.dtype) / steps
    if positions.shape != (steps,):
        raise ValueError(
            f"positions has shape {tuple(positions.shape)}, expected ({steps},): one point on the "
            "line for each local step."
        )
    return positions


def _weights(
    network: nn.Module, parameter_update: Mapping[str, Tensor], position: Tensor
) -> dict[str, Tensor]:
    weights = {name: weight.detach() for name, weight in network.named_parameters()}
    if not position.requires_grad and float(position) == 0:
        return weights  # the first step, and the only one of most rounds: no need to add 11 M zeros
    return {name: w + position * parameter_update[name] for name, w in weights.items()}


def _geometric(ratio: float, terms: int) -> float:
    """1 + ratio + … (``terms`` of them): how often momentum applies one step's gradient."""
    return (1 - ratio**terms) / (1 - ratio)

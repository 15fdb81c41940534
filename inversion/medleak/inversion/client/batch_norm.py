"""Running batch-norm statistics as functions of batch statistics, with a graph."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from medleak.inversion.losses import Statistics


def tracking_layers(network: nn.Module) -> Iterator[tuple[str, _BatchNorm]]:
    """Batch-norm layers that keep running statistics, by name, in the network's order."""
    for name, module in network.named_modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            yield name, module


def running_statistics(network: nn.Module) -> dict[str, Tensor]:
    """Running means and variances before the round, by buffer name."""
    return {
        f"{name}.{key}": getattr(layer, key).detach()
        for name, layer in tracking_layers(network)
        for key in ("running_mean", "running_var")
    }


def moved_statistics(
    network: nn.Module, running: Mapping[str, Tensor], statistics: Statistics, seen: int
) -> dict[str, Tensor]:
    """Running statistics, by buffer name, after one more batch than the ``seen`` of this round.

    Those of layers in evaluation mode do not move.
    """
    moved = dict(running)
    for name, layer in tracking_layers(network):
        if not layer.training:
            continue
        factor = layer.momentum
        if factor is None:  # PyTorch's cumulative average
            factor = 1 / (float(_counter(layer)) + seen + 1)
        for key, value in zip(("running_mean", "running_var"), statistics[name], strict=True):
            buffer = f"{name}.{key}"
            moved[buffer] = (1 - factor) * running[buffer] + factor * value
    return moved


def buffer_updates(
    network: nn.Module, running: Mapping[str, Tensor], steps: int
) -> dict[str, Tensor]:
    """What the client would send of its batch-norm buffers after ``steps`` steps."""
    before = running_statistics(network)
    counters = {
        f"{name}.num_batches_tracked": torch.full_like(_counter(layer), steps * layer.training)
        for name, layer in tracking_layers(network)
    }
    return {name: running[name] - before[name] for name in before} | counters


def mixed_statistics(
    network: nn.Module, buffers: Mapping[str, Tensor], steps: int
) -> dict[str, tuple[Tensor, Tensor]]:
    """The weighted mean of the steps' batch statistics that updated ``buffers`` amount to.

    What an observation's ``bn_statistics`` are to a real update: r_0 + (r_K - r_0) / (1 - kept),
    with ``kept`` the share of r_0 that K = ``steps`` leave, (1 - m)^K for momentum m.
    """
    before = running_statistics(network)
    found = {}
    for name, layer in tracking_layers(network):
        if layer.momentum is None:
            seen = float(_counter(layer))
            kept = seen / (seen + steps)
        else:
            kept = (1 - layer.momentum) ** steps
        mean, variance = (
            before[key] + buffers[key] / (1 - kept)
            for key in (f"{name}.running_mean", f"{name}.running_var")
        )
        found[name] = (mean, variance)
    return found


def _counter(layer: _BatchNorm) -> Tensor:
    return layer.num_batches_tracked  # type: ignore[return-value]


@contextmanager
def recorded_statistics(network: nn.Module) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """Collect, of forwards inside the context, every batch-norm layer's batch statistics.

    The mean and unbiased variance of the layer's input, with a graph to it, which the running
    statistics that native batch norm keeps do not have.
    """
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def recorder(name: str):
        def hook(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            x = arguments[0]
            dims = [d for d in range(x.dim()) if d != 1]
            variance, mean = torch.var_mean(x, dims, unbiased=True)
            found[name] = (mean, variance)

        return hook

    handles = [
        layer.register_forward_pre_hook(recorder(name)) for name, layer in tracking_layers(network)
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()

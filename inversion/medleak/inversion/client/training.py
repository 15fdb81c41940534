"""The client, differentiable: local SGD training with a graph from the update to the images.

What an attack that matches updates has to simulate. Every step is the real one: gradient at the
weights of that step, weight decay, momentum, batch norm in training mode with its running
statistics. The network is never changed, so a second simulation starts where the first did.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.dropout import _DropoutNd

from medleak.inversion.client.batch_norm import (
    buffer_updates,
    moved_statistics,
    recorded_statistics,
    running_statistics,
)
from medleak.inversion.client.recompute import recomputed
from medleak.inversion.losses import Criterion, Statistics, first_output, task_loss

Batches = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How the client trains: the images of each local step, in order, and plain SGD's settings.

    Attributes:
        batches: Indices into the client's images, one tuple a step; see :func:`epochs_of`.
        lr: Learning rate, positive.
        momentum: SGD momentum in [0, 1), no dampening, not Nesterov's.
        weight_decay: L2 coefficient, at least 0, on every parameter.
    """

    batches: Batches
    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Reject a schedule that no client can have run."""
        if not self.batches or not all(self.batches):
            raise ValueError(
                f"batches is {self.batches}: every local step needs at least one image, and there "
                "must be a step. Use epochs_of(n_images, batch_size)."
            )
        if not self.lr > 0:
            raise ValueError(f"lr must be positive, got {self.lr}: without it nothing is trained.")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}: SGD diverges else.")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay must be at least 0, got {self.weight_decay}.")


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedUpdate:
    """local - global, as the client would send it, with a graph to images and labels.

    Attributes:
        parameters: By name, as in ``named_parameters()``.
        buffers: Running statistics and step counters of the batch-norm layers, by name. Counters
            are integers and have no graph.
    """

    parameters: dict[str, Tensor]
    buffers: dict[str, Tensor]


def epochs_of(n_images: int, batch_size: int, epochs: int = 1) -> Batches:
    """Batches of ``epochs`` passes over images 0 … n_images - 1, in order; the last may be short.

    An attacker does not know the order, and need not: which of its images is which is free, as
    long as every epoch forms the same batches.

    Raises:
        ValueError: A number below 1.
    """
    for name, value in (("n_images", n_images), ("batch_size", batch_size), ("epochs", epochs)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}.")
    one = [tuple(range(i, min(i + batch_size, n_images))) for i in range(0, n_images, batch_size)]
    return tuple(one * epochs)


def simulate(
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    schedule: Schedule,
    criterion: Criterion = "cross_entropy",
    *,
    checkpoint: bool = False,
) -> SimulatedUpdate:
    """Train ``network`` on ``inputs`` and return what a client would send; nothing is modified.

    Equal to ``torch.optim.SGD`` on the same batches. The update is summed as steps, not taken as
    a difference of weights, so it does not carry the rounding that a real client's has.

    Args:
        network: Global weights and buffers. Runs in training mode whatever mode it is in.
        inputs: [N, C, H, W] in model units; dtype and device of the network.
        labels: [N] int64, or [N, K] probabilities with or without a graph.
        schedule: Steps and settings.
        criterion: The client's training loss.
        checkpoint: Keep only each step's weights and statistics and compute the step again in the
            backward pass: memory of one step instead of all, for about a third more time.

    Raises:
        ValueError: The schedule names an image that ``inputs`` does not hold, or labels do not
            go with the inputs.
    """
    _check(inputs, labels, schedule)
    weights = {name: w.detach() for name, w in network.named_parameters()}
    start = running_statistics(network)
    zeros = [torch.zeros_like(w) for w in weights.values()]
    state = (*zeros, *(zeros if schedule.momentum else ()), *start.values())
    for k, batch in enumerate(schedule.batches):
        step = partial(_step, network, weights, schedule, criterion, k)
        index = torch.tensor(batch, device=inputs.device)
        arguments = (inputs[index], labels[index], *state)
        state = recomputed(step, *arguments) if checkpoint else step(*arguments)
    deltas, _, running = _unpacked(state, weights, schedule, start)
    return SimulatedUpdate(deltas, buffer_updates(network, running, len(schedule.batches)))


def _step(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    schedule: Schedule,
    criterion: Criterion,
    number: int,
    inputs: Tensor,
    labels: Tensor,
    *state: Tensor,
) -> tuple[Tensor, ...]:
    """One step of SGD: deltas, velocities (none without momentum) and running statistics, flat."""
    deltas, velocity, running = _unpacked(state, weights, schedule, running_statistics(network))
    at = {name: w + deltas[name] for name, w in weights.items()}
    gradient, statistics = batch_gradient(network, at, inputs, labels, criterion)
    if schedule.weight_decay:
        gradient = [
            g + schedule.weight_decay * w for g, w in zip(gradient, at.values(), strict=True)
        ]
    if velocity:
        gradient = [schedule.momentum * v + g for v, g in zip(velocity, gradient, strict=True)]
    moved = [d - schedule.lr * g for d, g in zip(deltas.values(), gradient, strict=True)]
    running = moved_statistics(network, running, statistics, number)
    return (*moved, *(gradient if velocity else ()), *running.values())


def _unpacked(
    state: Sequence[Tensor],
    weights: Mapping[str, Tensor],
    schedule: Schedule,
    norms: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], Sequence[Tensor], dict[str, Tensor]]:
    n, end = len(weights), len(state) - len(norms)
    velocity = state[n:end] if schedule.momentum else ()
    deltas = dict(zip(weights, state[:n], strict=True))
    return deltas, velocity, dict(zip(norms, state[end:], strict=True))


def batch_gradient(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    inputs: Tensor,
    labels: Tensor,
    criterion: Criterion,
) -> tuple[list[Tensor], Statistics]:
    """One batch's gradient at ``weights``, and its batch-norm statistics from the same forward.

    With a graph to inputs, labels and weights where gradients are enabled. ``network`` lends its
    structure and buffers and is not modified.

    Returns:
        The gradient in the order of ``weights`` (0 for those that the network does not use); by
        norm layer the mean and unbiased variance of its input, what the running statistics are
        made of.
    """
    keep_graph = torch.is_grad_enabled()
    with torch.enable_grad(), training_mode(network), recorded_statistics(network) as statistics:
        at = {n: w if w.requires_grad else w.detach().requires_grad_() for n, w in weights.items()}
        # Batch norm writes to the buffers that it is given: copies.
        buffers = {n: b.detach().clone() for n, b in network.named_buffers()}
        with sdpa_kernel(SDPBackend.MATH):  # the only attention with a second derivative
            logits = first_output(functional_call(network, {**at, **buffers}, (inputs,)))
        loss = task_loss(criterion, logits, labels)
        gradient = torch.autograd.grad(
            loss, list(at.values()), create_graph=keep_graph, materialize_grads=True
        )
    if not keep_graph:
        statistics = {n: (m.detach(), v.detach()) for n, (m, v) in statistics.items()}
    return list(gradient), statistics


def batch_statistics(
    network: nn.Module, weights: Mapping[str, Tensor], inputs: Tensor
) -> Statistics:
    """Batch-norm statistics of :func:`batch_gradient` without its gradient: a fifth of the time."""
    with training_mode(network), recorded_statistics(network) as statistics:
        buffers = {n: b.detach().clone() for n, b in network.named_buffers()}
        functional_call(network, {**weights, **buffers}, (inputs,))
    return statistics


@contextmanager
def training_mode(network: nn.Module) -> Iterator[None]:
    """Put every module into training mode, and afterwards into the mode that it had.

    But for dropout, which is off: nobody knows which units the client dropped.
    """
    before = {module: module.training for module in network.modules()}
    network.train()
    for module in network.modules():
        if isinstance(module, _DropoutNd):
            module.eval()
    try:
        yield
    finally:
        for module, mode in before.items():
            module.training = mode


def _check(inputs: Tensor, labels: Tensor, schedule: Schedule) -> None:
    if len(labels) != len(inputs):
        raise ValueError(
            f"{len(labels)} labels for {len(inputs)} images: each image needs one, or the client's "
            "loss would be another."
        )
    indices = [i for batch in schedule.batches for i in batch]
    if min(indices) < 0 or max(indices) >= len(inputs):
        raise ValueError(
            f"The schedule trains on images {min(indices)} to {max(indices)}, but there are "
            f"{len(inputs)} (0 to {len(inputs) - 1}). Use epochs_of(n_images, batch_size)."
        )

"""The client, differentiable: local training with a graph from the update to the images.

What an attack that matches updates has to simulate. Every step is the real one: gradient at the
weights of that step, clipping, weight decay, momentum or Adam's moments, batch norm in training
mode with its running statistics. The network is never changed, so a second simulation starts where
the first did.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from medleak.inversion.client.batch_norm import (
    buffer_updates,
    moved_statistics,
    recorded_statistics,
    running_statistics,
)
from medleak.inversion.client.recompute import recomputed
from medleak.inversion.losses import Criterion, Statistics, first_output, task_loss
from medleak.inversion.optimisers.rule import Rule, rule_named

Batches = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How the client trains: the images of each forward pass, in order, and the optimiser.

    Attributes:
        batches: Indices into the client's images, one tuple a forward pass; see :func:`epochs_of`.
        lr: Learning rate, positive.
        momentum: SGD momentum in [0, 1), no dampening, not Nesterov's.
        weight_decay: Coefficient, at least 0, on every parameter; of SGD and Adam L2, of AdamW
            decoupled.
        optimizer: ``sgd``, ``adam`` or ``adamw``, from state that is zero.
        betas, eps: Of Adam.
        clip_norm: L2 norm that the gradient of a step is clipped to; None for none.
        accumulation: Forward passes whose mean gradient makes one optimiser step.
        rates: Learning rate of each optimiser step as a multiple of ``lr``; empty for 1 each.
    """

    batches: Batches
    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    optimizer: str = "sgd"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    clip_norm: float | None = None
    accumulation: int = 1
    rates: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Reject a schedule that no client can have run."""
        if not self.batches or not all(self.batches):
            raise ValueError(
                f"batches is {self.batches}: every local step needs at least one image, and there "
                "must be a step. Use epochs_of(n_images, batch_size)."
            )
        if self.accumulation < 1 or len(self.batches) % self.accumulation:
            raise ValueError(
                f"accumulation is {self.accumulation} for {len(self.batches)} forward passes: "
                "every optimiser step needs as many of them."
            )
        if self.rates and (len(self.rates) != self.steps or not any(self.rates)):
            raise ValueError(
                f"rates is {self.rates} for {self.steps} optimiser steps: each needs one, "
                "and one of them must move."
            )
        _ = self.rule  # which checks the settings

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return len(self.batches) // self.accumulation

    @property
    def rule(self) -> Rule:
        """The optimiser."""
        return rule_named(
            self.optimizer,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            betas=self.betas,
            eps=self.eps,
            clip_norm=self.clip_norm,
        )


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

    Equal to ``torch.optim``'s optimiser on the same batches. The update is summed as steps, not
    taken as a difference of weights, so it does not carry the rounding that a real client's has.

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
    state = (*zeros, *(zeros * schedule.rule.moments), *start.values())
    together = schedule.accumulation
    for k in range(schedule.steps):
        batches = schedule.batches[k * together : (k + 1) * together]
        sizes = tuple(len(batch) for batch in batches)
        step = partial(_step, network, weights, schedule, criterion, k, sizes)
        index = torch.tensor([i for batch in batches for i in batch], device=inputs.device)
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
    sizes: Sequence[int],
    inputs: Tensor,
    labels: Tensor,
    *state: Tensor,
) -> tuple[Tensor, ...]:
    """One optimiser step: deltas, its state and running statistics, flat.

    ``sizes``: images of each forward pass.
    """
    deltas, moments, running = _unpacked(state, weights, schedule, running_statistics(network))
    at = {name: w + deltas[name] for name, w in weights.items()}
    gradient: list[Tensor] = []
    passes = zip(inputs.split(list(sizes)), labels.split(list(sizes)), strict=True)
    for j, (x, y) in enumerate(passes):
        found, statistics = batch_gradient(network, at, x, y, criterion)
        gradient = [a + b for a, b in zip(gradient, found, strict=True)] if gradient else found
        seen = number * len(sizes) + j
        running = moved_statistics(network, running, statistics, seen)
    if len(sizes) > 1:
        gradient = [g / len(sizes) for g in gradient]
    rate = schedule.rates[number] if schedule.rates else 1.0
    moved, moments = schedule.rule.step(gradient, list(at.values()), moments, number, rate=rate)
    deltas = [d + m for d, m in zip(deltas.values(), moved, strict=True)]
    return (*deltas, *moments, *running.values())


def _unpacked(
    state: Sequence[Tensor],
    weights: Mapping[str, Tensor],
    schedule: Schedule,
    norms: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], Sequence[Tensor], dict[str, Tensor]]:
    n, end = len(weights), len(state) - len(norms)
    deltas = dict(zip(weights, state[:n], strict=True))
    return deltas, state[n:end], dict(zip(norms, state[end:], strict=True))


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

    But for dropout, which is off, as nobody knows which units the client dropped; and for norm
    layers in evaluation mode, which the client froze (`Observation.network`).
    """
    before = {module: module.training for module in network.modules()}
    network.train()
    for module, training in before.items():
        frozen = isinstance(module, _BatchNorm) and not training
        if frozen or isinstance(module, _DropoutNd):
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

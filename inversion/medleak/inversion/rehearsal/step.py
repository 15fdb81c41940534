"""One step on one batch, taken apart: what every image adds to the gradient of every layer.

The gradient of a linear layer is the sum of delta x^T over the images, and that of a convolution
likewise over images and places, whatever norms of batches do before or after. Nothing is trained.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from medleak.custom.record import Criterion
from medleak.inversion.losses import first_output, task_loss

Weighted = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Share:
    """One layer: ``inputs`` [B, ...] and ``deltas`` [B, ...], the loss's slope at its output."""

    name: str
    layer: nn.Module
    inputs: Tensor
    deltas: Tensor


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Step:
    """Losses [B] of the images and the layers' shares, of those that the loss depends on."""

    losses: Tensor
    shares: list[Share]


def rehearse(
    network: nn.Module, images: Tensor, labels: Tensor, criterion: Criterion = "cross_entropy"
) -> Step:
    """One backward pass of ``network``, as training makes it.

    Args:
        network: In train mode or not, as the client has it. It stays as it is, buffers included.
        images: [B, C, *size] as the network sees them.
        labels: [B].
        criterion: See `medleak.inversion.losses.task_loss`.

    Raises:
        ValueError: The loss is not known; or no layer that is looked at takes part in it.
    """
    seen: list[tuple[str, nn.Module, Tensor, Tensor]] = []

    def note(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen.append((name, layer, inputs[0].detach(), output))

        return hook

    layers = {n: m for n, m in network.named_modules() if isinstance(m, Weighted)}
    handles = [m.register_forward_hook(note(n)) for n, m in layers.items()]
    state: Mapping[str, Tensor] = {
        **{n: p.detach().clone().requires_grad_() for n, p in network.named_parameters()},
        **{n: b.detach().clone() for n, b in network.named_buffers()},
    }
    try:
        logits = first_output(functional_call(network, dict(state), (images,)))
    finally:
        for handle in handles:
            handle.remove()
    losses = torch.stack(
        [
            task_loss(criterion, one[None], label[None])
            for one, label in zip(logits, labels, strict=True)
        ]
    )
    slopes = torch.autograd.grad(losses.mean(), [s[3] for s in seen], allow_unused=True)
    shares = [
        Share(name=name, layer=layer, inputs=inputs, deltas=slope.detach())
        for (name, layer, inputs, _), slope in zip(seen, slopes, strict=True)
        if slope is not None
    ]
    if not shares:
        raise ValueError(
            "No linear layer or convolution takes part in the loss, so that nothing is known of "
            "what this model would tell."
        )
    return Step(losses=losses.detach(), shares=shares)


def as_rows(share: Share) -> tuple[Tensor, Tensor, Tensor] | None:
    """Inputs [N, D], deltas [N, R] and the image [N] of each, of a layer that sees them whole.

    Linear layers, and convolutions whose kernel is as large as what they see. Of tokens [B, T, D]
    each is one input. None: a convolution of patches.
    """
    inputs, deltas = share.inputs, share.deltas
    if not isinstance(share.layer, nn.Linear):
        if math.prod(deltas.shape[2:]) != 1:
            return None
        inputs, deltas = inputs.flatten(1), deltas.flatten(1)
        weight = next(share.layer.parameters())
        if inputs.shape[1] != weight[0].numel():
            return None  # padded, or in groups
    each = math.prod(inputs.shape[1:-1])
    image = torch.arange(len(inputs), device=inputs.device).repeat_interleave(each)
    return inputs.reshape(-1, inputs.shape[-1]), deltas.reshape(-1, deltas.shape[-1]), image

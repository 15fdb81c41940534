"""Inner products of images' gradients with each other and with an update, without the gradients.

The gradient of a convolution for one image is S^T A, from what came back to its L places [L, C] and
the input patches there [L, D]. The inner product of two is the sum of (S S'^T) * (A A'^T), so that
[L, C + D] numbers an image are kept instead of C x D, eleven million in a ResNet-18.
"""

import functools
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

from medleak.inversion.losses import first_output, task_loss
from medleak.inversion.membership.layers import has_patches, patches_of
from medleak.inversion.observation import Observation

_AT_ONCE = 16


def inner_products(
    observation: Observation, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """[N] of each image's gradient with the update, and [N, N] of the gradients with each other.

    At the global weights, each image by itself, over the kernels and matrices of the network.

    Args:
        observation: The update.
        images: [N, C, ...] in [0, 1].
        labels: [N].

    Raises:
        ValueError: The loss is not one of classes, or no layer is a plain convolution or matrix.
    """
    network = observation.network().eval()
    names = [n for n, m in network.named_modules() if has_patches(m)]
    parts = _captured(network, observation, images, labels, names)
    update = observation.parameter_update
    along = torch.zeros(len(images), dtype=torch.float64)
    gram = torch.zeros(len(images), len(images), dtype=torch.float64)
    for name, (signals, patches) in parts.items():
        if len(signals) != len(images) or signals.shape[1] != patches.shape[1]:
            continue  # it ran several times an image, or for a part of them
        weight = update[f"{name}.weight"].flatten(1)
        along += (signals * (patches @ weight.T)).sum((1, 2)).double().cpu()
        gram += _gram(signals, patches).double().cpu()
    if not gram.any():
        raise ValueError(
            "No gradient of a canary could be computed in the network's kernels and matrices: "
            "nothing can be guessed. Plant gradients instead of images."
        )
    return along, gram


def _gram(signals: Tensor, patches: Tensor) -> Tensor:
    length, outputs, inputs = signals.shape[1], signals.shape[2], patches.shape[2]
    if length * (outputs + inputs) > outputs * inputs:
        whole = torch.einsum("nlc,nld->ncd", signals, patches).flatten(1)
        return whole @ whole.T
    rows = []
    for s, a in zip(signals, patches, strict=True):  # one image against all: memory stays small
        rows.append(((signals @ s.T) * (patches @ a.T)).sum((1, 2)))
    return torch.stack(rows)


def _captured(
    network: nn.Module,
    observation: Observation,
    images: Tensor,
    labels: Tensor,
    names: list[str],
) -> dict[str, tuple[Tensor, Tensor]]:
    """By layer the signals [N, L, C] that came back and the patches [N, L, D] that went in."""
    inputs: dict[str, list[Tensor]] = defaultdict(list)
    signals: dict[str, list[Tensor]] = defaultdict(list)

    def keep(name: str, module: nn.Module, args: Any, output: Tensor) -> None:
        inputs[name].append(patches_of(module, args[0]).detach())
        output.register_hook(lambda grad: signals[name].append(_by_place(module, grad)))

    hooks = [
        network.get_submodule(n).register_forward_hook(functools.partial(keep, n)) for n in names
    ]
    try:
        for pixels, target in zip(images.split(_AT_ONCE), labels.split(_AT_ONCE), strict=True):
            x = observation.normalise(pixels.to(observation.device)).requires_grad_(True)
            out = first_output(network(x))
            loss = task_loss(observation.criterion, out, target.to(observation.device))
            (loss * len(pixels)).backward()
    finally:
        for hook in hooks:
            hook.remove()
    return {n: (torch.cat(signals[n]), torch.cat(inputs[n])) for n in names if signals[n]}


def _by_place(module: nn.Module, grad: Tensor) -> Tensor:
    if isinstance(module, nn.Linear):
        return grad.reshape(len(grad), -1, grad.shape[-1]).detach()
    return grad.flatten(2).transpose(1, 2).detach()

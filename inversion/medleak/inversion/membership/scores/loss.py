"""The task loss of a candidate, before and after the round, and its gradient.

The usual scores (Yeom et al. 2018, arXiv:1709.01604v5; Nasr et al. 2019, arXiv:1812.00910v2), to
compare with. They need labels, and each image goes through the network alone.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from medleak.inversion.losses import first_output, task_loss
from medleak.inversion.membership.networks import mean_progress, network_at
from medleak.inversion.observation import Observation


def loss_drop(
    observation: Observation, images: Tensor, labels: Tensor | None, background: Tensor
) -> Mapping[str, Tensor]:
    """[N] loss before the round minus loss after it.

    Raises:
        ValueError: There are no labels, or the task's loss is not one of classes.
    """
    before = _losses(observation, network_at(observation, 0.0), images, labels)
    return {
        "loss_drop": before - _losses(observation, network_at(observation, 1.0), images, labels)
    }


def loss_after(
    observation: Observation, images: Tensor, labels: Tensor | None, background: Tensor
) -> Mapping[str, Tensor]:
    """[N] minus the loss after the round; errors as `loss_drop`."""
    return {"loss_after": -_losses(observation, network_at(observation, 1.0), images, labels)}


def gradient_cosine(
    observation: Observation, images: Tensor, labels: Tensor | None, background: Tensor
) -> Mapping[str, Tensor]:
    """[N] cosine of minus the image's gradient and the update; errors as `loss_drop`."""
    network = network_at(observation, mean_progress(observation)).requires_grad_(True)
    update = observation.parameter_update
    names = [name for name, _ in network.named_parameters()]
    length = torch.stack([update[n].norm() for n in names]).norm()
    found = []
    for loss in _each_loss(observation, network, images, labels):
        gradients = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
        pairs = [(g, update[n]) for n, g in zip(names, gradients, strict=True) if g is not None]
        dot = torch.stack([(g * u).sum() for g, u in pairs]).sum()
        own = torch.stack([g.norm() for g, _ in pairs]).norm()
        found.append(-dot / (own * length).clamp_min(1e-20))
    return {"gradient_cosine": torch.stack(found)}


def _losses(
    observation: Observation, network: nn.Module, images: Tensor, labels: Tensor | None
) -> Tensor:
    with torch.no_grad():
        return torch.stack(list(_each_loss(observation, network, images, labels)))


def _each_loss(
    observation: Observation, network: nn.Module, images: Tensor, labels: Tensor | None
) -> Iterator[Tensor]:
    if labels is None or observation.criterion not in ("cross_entropy", "bce"):
        raise ValueError(
            "This score needs the class of each candidate and a loss of classes: without them it "
            "examines nothing. Give a datalist with labels, or choose --score row_space."
        )
    x = observation.normalise(images)
    for k, label in enumerate(labels.to(x.device)):
        yield task_loss(observation.criterion, first_output(network(x[k : k + 1])), label[None])

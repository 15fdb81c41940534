"""Read the labels off an update once the images are reconstructed."""

import functools
from collections.abc import Collection, Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from medleak.inversion.client.bounded_labels import bounded_label_scores
from medleak.inversion.client.labels import head, label_of_one, labels_of_features
from medleak.inversion.evidence.steps import LocalStep, network_at
from medleak.inversion.losses import REPLAYED, first_output
from medleak.inversion.observation import Observation
from medleak.inversion.optimisers.of_client import adds_gradients, undone_steps


def read_labels(
    observation: Observation,
    images: Tensor,
    steps: Sequence[LocalStep],
    *,
    frozen: Collection[str] = (),
) -> Tensor | None:
    """The class [N] of each reconstructed image, on the CPU.

    One image: the sign of the head's bias gradient. More: least squares on the head's gradient,
    with the features of the reconstructions. Known labels are given to the images that they fit
    best.

    Args:
        observation: Must grant the global model, and for several images the learning rate.
        images: [N, C, H, W] in [0, 1], batch by batch as in ``steps``.
        steps: The client's distinct batches.
        frozen: Norm layers that ran in evaluation mode.

    Returns:
        None where the network has no linear head with a bias, its gradient is zero or broken, or
        the training loss is not known or of another kind.
    """
    try:
        if observation.criterion not in REPLAYED:
            return None
        name = head(observation.network())
        if f"{name}.bias" not in observation.parameter_names:
            return None
        if len(images) == 1:
            if observation.knowledge.labels == "known":
                return observation.labels.cpu()
            return label_of_one(-observation.parameter_update[f"{name}.bias"]).cpu()
        scores = _scores(observation, images, steps, name, frozen)
    except ValueError:
        return None
    if observation.knowledge.labels == "known":
        return _assign(scores, observation.labels)
    if scores.shape[1] == 1:
        return (scores[:, 0] > 0.5).long().cpu()
    return scores.argmax(1).cpu()


def _scores(
    observation: Observation,
    images: Tensor,
    steps: Sequence[LocalStep],
    name: str,
    frozen: Collection[str],
) -> Tensor:
    features, outputs = [], []
    for step in steps:
        network = network_at(observation, step.progress)
        for norm in frozen:
            network.get_submodule(norm).eval()
        linear = network.get_submodule(name)
        seen: list[Tensor] = []
        linear.register_forward_pre_hook(functools.partial(_keep, seen))
        with torch.no_grad():
            shown = observation.normalise(images[step.images].to(observation.device))
            logits = first_output(network(shown))
        features.append(seen[-1].flatten(1))
        soft = logits.softmax(1) if observation.criterion == "cross_entropy" else logits.sigmoid()
        outputs.append(soft)
    inputs, soft = torch.cat(features), torch.cat(outputs)
    if not adds_gradients(observation):
        undone = undone_steps(observation)
        if undone is None:
            raise ValueError("The head's update is no sum of gradients: no label can be read.")
        head_seen = undone[f"{name}.weight"], undone[f"{name}.bias"]
        return bounded_label_scores(inputs, soft, *head_seen, observation.criterion)
    gradient, weight_of_all = observation.gradient, _weight_of_steps(observation)
    weight, bias = (gradient[f"{name}.{k}"] / weight_of_all for k in ("weight", "bias"))
    return labels_of_features(inputs, soft, weight, bias, observation.criterion)


def _weight_of_steps(observation: Observation) -> float:
    """How often the gradients of all steps are in the update: as many as they are without momentum.

    Momentum applies a step's gradient again in all later ones, each at its own learning rate.
    """
    factors, velocity, weight = observation.lr_factors, 0.0, 0.0
    for k in range(observation.n_steps):
        velocity = observation.momentum * velocity + 1
        weight += velocity * (factors[k] if factors else 1.0)
    return weight


def _keep(seen: list[Tensor], _: nn.Module, args: tuple[Tensor, ...]) -> None:
    seen.append(args[0])


def _assign(scores: Tensor, labels: Tensor) -> Tensor:
    """Known ``labels`` [N] in the order of the images, by the best total score."""
    if scores.shape[1] == 1:
        scores = torch.cat([1 - scores, scores], 1)
    images, known = linear_sum_assignment(-scores[:, labels.to(scores.device)].cpu().numpy())
    found = torch.empty_like(labels, device="cpu")
    found[torch.as_tensor(images)] = labels.cpu()[torch.as_tensor(known)]
    return found

"""Brightness and contrast of images whose shape is known but for them.

Row spaces do not see contrast: the first norm layer removes it. The first convolution's gradient
does: it shrinks as the image's contrast grows.
"""

import math

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.func import functional_call

from medleak.inversion.losses import task_loss
from medleak.inversion.observation import Observation


def fit_intensity(
    observation: Observation,
    images: Tensor,
    labels: Tensor,
    like: Tensor,
    *,
    evaluations: int = 60,
) -> tuple[Tensor, float]:
    """Choose gain and offset, common to ``images``, so that the first convolution's gradient fits.

    Args:
        observation: Must grant the global model and the learning rate.
        images: [N, C, H, W], one batch; right up to gain and offset, not clamped.
        labels: [N].
        like: An image whose mean and standard deviation are the first guess.
        evaluations: Gradients to compute at most, for two unknowns.

    Returns:
        Images clamped to [0, 1], and the relative distance of the gradient that is left.
    """
    network = observation.network()
    name = _first_convolution(network, observation)
    observed = observation.gradient[name] / observation.n_steps
    shape = (images - images.mean()) / images.std().clamp_min(1e-6) * like.std()

    def scaled(unknowns: np.ndarray) -> Tensor:
        return shape * math.exp(unknowns[0]) + like.mean() + unknowns[1]

    def misfit(unknowns: np.ndarray) -> float:
        found = _gradient(network, name, observation, scaled(unknowns), labels)
        return float((found - observed).norm() / observed.norm())

    # A mean image has less contrast than one image, hence the gain of e^0.15 to begin with.
    simplex = np.array([[0.15, 0.0], [0.45, 0.0], [0.15, 0.1]])
    options = {"maxfev": evaluations, "initial_simplex": simplex}
    found = minimize(misfit, simplex[0], method="Nelder-Mead", options=options)
    return scaled(found.x).clamp(0, 1), float(found.fun)


def _first_convolution(network: nn.Module, observation: Observation) -> str:
    for name in observation.parameter_names:
        if network.get_parameter(name).ndim == 4:
            return name
    raise ValueError(
        f"{type(network).__name__} has no convolution: brightness cannot be fitted on its gradient."
    )


def _gradient(
    network: nn.Module, name: str, observation: Observation, images: Tensor, labels: Tensor
) -> Tensor:
    buffers = {k: v.clone() for k, v in network.named_buffers()}
    weight = network.get_parameter(name).detach().clone().requires_grad_(True)
    state = {k: v.detach() for k, v in network.named_parameters()} | {name: weight} | buffers
    logits = functional_call(network, state, (observation.normalise(images),))
    return torch.autograd.grad(task_loss(observation.criterion, logits, labels), weight)[0]

"""DP-SGD (Abadi et al. 2016, arXiv:1607.00133v2) for the images of one site, on Opacus.

Opacus computes per-image gradients, clips and sums them; three things are done here, because its
``PrivacyEngine`` does them in a way that does not hold at a small site:

- **Sampling.** In every step each image is drawn with probability ``sample_rate``, independently
  of all others; how many come is random, and an empty batch is a step of noise alone.
- **Normaliser.** The noisy sum is divided by the expected batch size, sample_rate · images, as a
  real number. The engine rounds it down (Opacus issues 571 and 819): 1 for 1.8, or 0.
- **Noise.** From :mod:`medleak.filters.noise`: AES-256 keyed by the operating system, on a grid
  that hides the gaps of floating point. By default Opacus draws from torch's Mersenne Twister,
  whose state follows from its outputs; its ``secure_mode`` needs torchcsprng, of which
  there is no release for any Python that medleak runs on.

**Guarantee.** Clip, Gaussian noise, Poisson sampling: the event and relation of
:func:`medleak.filters.privacy.accounting.dp_sgd`, for one *record*, added or removed. It covers
the weights that leave after training. A patient with several images loses more, and so does an
image that two sites hold.

**Not covered.** The number of images, the sampling rate and the number of steps are sent in clear;
they count as public. Metrics and losses have no noise. Norms are float32: the clipping bound holds
to about 1e-6 of itself. :mod:`medleak.filters.noise` says what its noise does not cover.
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from opacus.grad_sample.gsm_exp_weights import GradSampleModuleExpandedWeights
from opacus.optimizers import DPOptimizer
from opacus.validators import ModuleValidator
from torch import Tensor, nn

from medleak.custom.data.transforms import network_input
from medleak.custom.training.sgd import LocalSGD, Normalisation
from medleak.filters.noise import NoiseSource, add_gaussian, uniform
from medleak.filters.privacy import accounting

# Per-image gradients of a ResNet-18 are 45 MB each: a drawn batch is worked through in parts.
_PART = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class DPSGD:
    """The mechanism, in Opacus' names.

    Attributes:
        noise_multiplier: Standard deviation of the noise over ``max_grad_norm``, > 0.
        max_grad_norm: Bound on the L2 norm of one image's gradient, over all parameters, > 0.
        sample_rate: Probability of an image in one step, in (0, 1]. At 1 every step takes all
            images: the plain Gaussian mechanism, without amplification by sampling.
    """

    noise_multiplier: float
    max_grad_norm: float
    sample_rate: float

    def __post_init__(self) -> None:
        """Reject what has no guarantee."""
        accounting.dp_sgd(
            noise_multiplier=self.noise_multiplier, sample_rate=self.sample_rate, steps=1
        )
        if not (math.isfinite(self.max_grad_norm) and self.max_grad_norm > 0):
            raise ValueError(
                f"max_grad_norm must be a finite number above 0, got {self.max_grad_norm!r}: it "
                "bounds what one image can change."
            )

    def steps(self, local_epochs: int) -> int:
        """Optimiser steps in which every image is expected ``local_epochs`` times."""
        return local_epochs * round(1 / self.sample_rate)

    def declaration(self, local_epochs: int) -> dict[str, Any]:
        """What :class:`medleak.filters.adapters.DeclareDPSGD` reads from a result's ``dp_sgd``."""
        return {
            "noise_multiplier": self.noise_multiplier,
            "sample_rate": self.sample_rate,
            "steps": self.steps(local_epochs),
        }


def sample_rate_for(n_images: int, batch_size: int) -> float:
    """1 / steps of an epoch, as Opacus: the expected batch is at most ``batch_size``."""
    if n_images < 1 or batch_size < 1:
        raise ValueError(
            f"{n_images} images in batches of {batch_size} give no sampling rate: a site needs at "
            "least one image, and so does a batch."
        )
    return 1 / math.ceil(n_images / batch_size)


def noise_multiplier_for(
    *, target_epsilon: float, target_delta: float, sample_rate: float, steps: int
) -> float:
    """The least noise_multiplier, to 0.1 %, with which ``steps`` steps stay within the target.

    Args:
        target_epsilon: ε > 0 after all steps, by
            :func:`medleak.filters.privacy.accounting.epsilon`, the accounting of the ledger: the
            ledger's limit is met, not missed by a rounding error.
        target_delta: δ in (0, 1).
        sample_rate: As :class:`DPSGD`'s.
        steps: Of all rounds together, >= 1.

    Raises:
        ValueError: A parameter is out of range, or ε is so small that no noise up to 1e6 reaches
            it.
    """
    if not (math.isfinite(target_epsilon) and target_epsilon > 0):
        raise ValueError(
            f"target_epsilon must be a finite number above 0, got {target_epsilon!r}: it is the "
            "privacy loss allowed."
        )

    def fits(multiplier: float) -> bool:
        one = accounting.dp_sgd(noise_multiplier=multiplier, sample_rate=sample_rate, steps=steps)
        return accounting.epsilon([one.event], target_delta) <= target_epsilon

    # dp_accounting warns of every Rényi order that it leaves out; leaving one out only raises ε.
    logger = logging.getLogger("absl")
    level, logger.level = logger.level, logging.ERROR
    try:
        low, high = 0.0, 1.0
        while not fits(high):
            low, high = high, high * 2
            if high > 1e6:
                raise ValueError(
                    f"No noise reaches target_epsilon={target_epsilon:g} at δ = {target_delta:g} "
                    f"in {steps} steps. Allow more, or train in fewer rounds."
                )
        while high - low > 1e-3 * high:
            middle = (low + high) / 2
            low, high = (low, middle) if fits(middle) else (middle, high)
        return high
    finally:
        logger.level = level


def train_dp_sgd(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    schedule: LocalSGD,
    mechanism: DPSGD,
    normalisation: Normalisation,
    source: NoiseSource,
) -> list[float]:
    """Train ``network`` in place with DP-SGD; return the loss of each step, NaN for no image.

    Args:
        network: Takes [B, 3, H, W] in model units, returns logits [B, classes]; no batch norm.
        images: [N, C, H, W] in [0, 1], C 1 or 3, N >= 1.
        labels: [N], class indices.
        schedule: Epochs and optimiser; its ``batch_size`` is not used, the mechanism has a rate.
        mechanism: Noise, clipping, sampling.
        normalisation: Applied to each batch.
        source: Of sampling and noise; :meth:`NoiseSource.secure` outside tests.

    Raises:
        ValueError: The network holds a layer with which DP-SGD bounds nothing (batch norm), or a
            loss is NaN or inf.
    """
    _check_network(network)
    device = next(network.parameters()).device
    sgd = torch.optim.SGD(
        network.parameters(),
        lr=schedule.lr,
        momentum=schedule.momentum,
        weight_decay=schedule.weight_decay,
    )
    optimizer = _Optimizer(sgd, mechanism, mechanism.sample_rate * len(images), source)
    # Torch's expanded weights: Opacus' default, backward hooks, fails on ResNet's in-place sums.
    per_image = GradSampleModuleExpandedWeights(network, loss_reduction="mean")
    network.train()
    losses = []
    for step in range(mechanism.steps(schedule.local_epochs)):
        batch = _poisson(len(images), mechanism.sample_rate, source)
        total = 0.0
        for part, is_last in _parts(batch):
            optimizer.signal_skip_step(not is_last)
            optimizer.zero_grad()
            if len(part):
                x = network_input(images[part].to(device), normalisation.mean, normalisation.std)
                loss = nn.functional.cross_entropy(per_image(x), labels[part].to(device))
                loss.backward()
                total += loss.item() * len(part)
            else:
                for p in network.parameters():
                    cast(Any, p).grad_sample = p.new_zeros((0, *p.shape))
            optimizer.step()
        if not math.isfinite(total):
            raise ValueError(
                f"The training loss is {total} in step {step}: the update would hold NaN. Lower "
                "the learning rate or look at the images."
            )
        losses.append(total / len(batch) if len(batch) else math.nan)
    return losses


class _Optimizer(DPOptimizer):
    """Opacus' optimiser with noise from a :class:`NoiseSource`."""

    def __init__(
        self,
        sgd: torch.optim.Optimizer,
        mechanism: DPSGD,
        expected_batch_size: float,
        source: NoiseSource,
    ) -> None:
        super().__init__(
            sgd,
            noise_multiplier=mechanism.noise_multiplier,
            max_grad_norm=mechanism.max_grad_norm,
            expected_batch_size=cast(int, expected_batch_size),  # it is only divided by
            loss_reduction="mean",
        )
        self._source = source

    def add_noise(self) -> None:
        """Put the clipped sum and its noise on one grid, and the result into ``p.grad``."""
        for p in self.params:
            summed = cast(Any, p).summed_grad.cpu().numpy()
            noisy = add_gaussian(summed, self.noise_multiplier * self.max_grad_norm, self._source)
            p.grad = torch.from_numpy(np.asarray(noisy)).to(p.device).view_as(p)


def _check_network(network: nn.Module) -> None:
    network.train()
    errors = ModuleValidator.validate(network, strict=False)
    if errors:
        raise ValueError(
            f"DP-SGD cannot train this network: {type(errors[0]).__name__}: "
            f"{str(errors[0]).split('. ')[0]}. Use resnet18_groupnorm, or replace the layer."
        )


def _poisson(n: int, sample_rate: float, source: NoiseSource) -> Tensor:
    """Indices of the images that one step takes."""
    return torch.from_numpy(np.flatnonzero(uniform(source, n) < sample_rate))


def _parts(batch: Tensor) -> Iterator[tuple[Tensor, bool]]:
    parts = batch.split(_PART)
    return ((part, i == len(parts) - 1) for i, part in enumerate(parts))

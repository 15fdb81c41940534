"""DP-SGD (Abadi et al. 2016, arXiv:1607.00133v2) for the images of one site, on Opacus.

Opacus clips and sums per-image gradients; four things are done here, because its ``PrivacyEngine``
does them in a way that does not hold at a small site, or not for every network:

- **Gradients.** Each image goes through the network alone, so that no layer can mix images, and
  every network that torch can train has per-image gradients. (Opacus' vectorised ones fail on
  DenseNet's and Swin's views; at batches of a few images on a CPU they are not faster.)
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
the whole model that leaves after training: what the mechanism did not noise must be as it came,
which is checked on the result (buffers and frozen weights included, whatever layer they are of). A
patient with several images loses more, and so does an image that two sites hold.

**Not covered.** The sampling rate and the number of steps are sent in clear, and the number of
images sets the scale of the update; they count as public. Metrics and losses have no noise. Norms
are float32: the clipping bound holds to about 1e-6 of itself. :mod:`medleak.filters.noise` says
what its noise does not cover.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from medleak.custom.data.transforms import network_input
from medleak.custom.training.planting import Planted
from medleak.custom.training.sgd import LocalSGD, Normalisation
from medleak.filters.noise import NoiseSource, add_gaussian, uniform
from medleak.filters.privacy import accounting

# Share of a tensor's numbers that rounding may leave as they were, as in filters.noise.
_UNTOUCHED = 2.0**-7


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


def train_dp_sgd(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    schedule: LocalSGD,
    mechanism: DPSGD,
    normalisation: Normalisation,
    source: NoiseSource,
    planted: Planted | None = None,
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
        planted: Canaries: records like the images, each clipped and drawn by itself. Scale and
            losses are as without.

    Raises:
        ValueError: The network holds a layer that keeps statistics of images, which no noise
            covers (batch norm, instance norm that tracks); a loss is NaN or inf; or something
            changed that the mechanism did not noise. The network must not be sent then.
    """
    network.train()
    check_network(network)
    before = {n: v.detach().clone() for n, v in _everything(network).items()}
    sgd = torch.optim.SGD(
        network.parameters(),
        lr=schedule.lr,
        momentum=schedule.momentum,
        weight_decay=schedule.weight_decay,
    )
    optimizer = _Optimizer(sgd, mechanism, mechanism.sample_rate * len(images), source)
    losses = []
    extra = 0 if planted is None else len(planted)
    for step in range(mechanism.steps(schedule.local_epochs)):
        batch = _poisson(len(images) + extra, mechanism.sample_rate, source).tolist()
        own = [k for k in batch if k < len(images)]
        total = 0.0
        # An empty batch is one part without a record: a step of noise alone.
        for i, record in enumerate(batch or [None]):
            optimizer.signal_skip_step(i + 1 < len(batch))
            optimizer.zero_grad()
            if record is not None:
                total += _gradient(network, images, labels, planted, record, normalisation)
            _as_sample(optimizer.params, record is not None)
            optimizer.step()
        if not math.isfinite(total):
            raise ValueError(
                f"The training loss is {total} in step {step}: the update would hold NaN. Lower "
                "the learning rate or look at the images."
            )
        losses.append(total / len(own) if own else math.nan)
    _check_change(network, before)
    return losses


def _gradient(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    planted: Planted | None,
    record: int,
    normalisation: Normalisation,
) -> float:
    """Put one record's gradient into ``network``; return its loss, 0 for a canary's."""
    pixels, target, which = images, labels, record
    own = planted is None or record < len(images)
    if planted is not None and not own:
        which = record - len(images)
        if planted.images is None or planted.labels is None:
            planted.add_gradient(network, which, 1.0)
            return 0.0
        pixels, target = planted.images, planted.labels
    device = next(network.parameters()).device
    x = network_input(pixels[[which]].to(device), normalisation.mean, normalisation.std)
    loss = nn.functional.cross_entropy(network(x), target[[which]].to(device))
    loss.backward()
    return loss.item() if own else 0.0


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


def check_network(network: nn.Module) -> None:
    """Raise ValueError if ``network`` keeps, or uses, statistics over images in training.

    Frozen layers and layers without weights too: it is their statistics that would leave.
    """
    for name, layer in network.named_modules():
        tracks = isinstance(layer, _NormBase) and layer.running_mean is not None
        if isinstance(layer, _BatchNorm) or tracks:
            raise ValueError(
                f"DP-SGD cannot train this network: {name or 'it'} is a {type(layer).__name__}, "
                "whose statistics of the images leave without noise, trainable or not. Use "
                "resnet18_groupnorm, densenet121_groupnorm, or replace the layer by group norm."
            )


def _everything(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, those too that ``state_dict()`` leaves out."""
    return {
        **dict(network.named_parameters(remove_duplicate=False)),
        **dict(network.named_buffers(remove_duplicate=False)),
        **network.state_dict(keep_vars=True),
    }


def _as_sample(params: list[nn.Parameter], any_image: bool) -> None:
    """Give Opacus each gradient as that of a batch of one image, or of none."""
    for p in params:
        gradient = torch.zeros_like(p) if p.grad is None else p.grad
        sample = gradient[None] if any_image else p.new_zeros((0, *p.shape))
        cast(Any, p).grad_sample = sample


def _check_change(network: nn.Module, before: Mapping[str, Tensor]) -> None:
    """What changed must have been noised, in all but the few numbers that chance leaves alone."""
    for name, now in _everything(network).items():
        same = int(torch.eq(now, before[name]).sum())
        if now.requires_grad:
            chance = now.numel() * _UNTOUCHED
            if same > chance + 6 * math.sqrt(chance) + 3:
                raise ValueError(
                    f"DP-SGD changed only {now.numel() - same} of {now.numel()} numbers of "
                    f"{name}: its noise was rounded away. Raise lr or noise_multiplier, or train "
                    "in float32."
                )
        elif same < now.numel():
            raise ValueError(
                f"Training changed {name}, which DP-SGD does not noise: it would leave as it was "
                "computed from the images. Replace the layer that keeps it."
            )


def _poisson(n: int, sample_rate: float, source: NoiseSource) -> Tensor:
    """Indices of the images that one step takes."""
    return torch.from_numpy(np.flatnonzero(uniform(source, n) < sample_rate))

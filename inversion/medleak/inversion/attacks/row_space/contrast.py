"""Contrast of images that are known but for it.

Where the first layers are a convolution and a batch norm, multiplying the pixels (about the level
of zero padding) changes neither the network's features nor any gradient: without norm statistics
an update cannot tell contrast. Brightness it can, because padding stays while the image moves. So
contrast is a guess, and this is the place where it is made. Where the network does see contrast (a
batch norm in evaluation mode, a short cut without a norm), what was found is kept. Where statistics
were seen, but mix visits at weights that are not known, those of the first norm tell it all the
same: they are many, and few numbers place the visits.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.func import functional_call

from medleak.inversion.evidence.probe import Probe
from medleak.inversion.evidence.steps import progress_of
from medleak.inversion.losses import statistics_distance
from medleak.inversion.observation import Observation

_EXTREME = 0.002  # share of the pixels at either end that may be the attack's overshoot
_NOTHING = 1e-9  # an image with nothing on one side of the level tells no gain there
_MOST = 6  # visits
_EVALUATIONS = 200  # for each unknown
_EXPLAINED = 0.05  # distance of the first norm's statistics; at the truth 0.01 was seen


_LESS, _SAME = 0.7, 0.999  # a gain, and the cosine of features up to which it was not seen


def sees_contrast(probe: Probe, layer: str, images: Tensor, level: float) -> bool:
    """Whether the input of ``layer`` changes by more than a factor when contrast does."""
    with torch.no_grad():
        there, less = (
            probe.run(x, inputs=[layer]).inputs[layer].flatten()
            for x in (images, (images - level) * _LESS + level)
        )
    cosine = there.double() @ less.double() / (there.double().norm() * less.double().norm() + 1e-30)
    return float(cosine) < _SAME


def guess_contrast(images: Tensor, level: float) -> Tensor:
    """Multiply ``images`` about ``level`` until they fill what [0, 1] has room for; clamp.

    Medical images have a black background or border, so the most contrast that pixels allow is
    close to the truth: the root mean square error of the gain's logarithm was 0.07 on X-rays (their
    brightest pixel tells it to 0.21, a public mean image's energy to 0.34), 0 on brain MRI and
    fundus images with their black surround, and 0.3 to 0.4 on dermoscopy, which has none and where
    the other two know no better.

    Args:
        images: [N, C, H, W], one gain for all: a batch norm ties the images of a batch together.
        level: Pixel value of zero padding, the mean of the input's normalisation.
    """
    offset = images - level
    darkest, brightest = np.quantile(offset.cpu().numpy(), (_EXTREME, 1 - _EXTREME))
    room = [
        limit / found
        for limit, found in ((-level, darkest), (1 - level, brightest))
        if limit * found > _NOTHING
    ]
    return (offset * min(room, default=1.0) + level).clamp(0, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What the first norm's statistics of several visits tell.

    Attributes:
        images: [N, C, ...] in [0, 1], with their gain and brightness.
        progress: Of the round, at each visit; the first was made at the global weights.
        misfit: Relative distance that is left.
    """

    images: Tensor
    progress: tuple[float, ...]
    misfit: float


def fit_contrast(observation: Observation, images: Tensor) -> Fitted | None:
    """Gain and brightness of ``images`` [N, C, ...] by the first norm's statistics; clamped.

    For one batch that was seen a few times. How far the round had gone at each visit is fitted
    with them; the first was made at the global weights.

    Returns:
        None where no statistics were seen, or none of these explains them.
    """
    visits = observation.n_passes
    if not observation.has_bn_statistics or not 2 <= visits <= _MOST:
        return None
    entrance = _Entrance(observation)
    if (norm := entrance.norm) is None:
        return None
    level = images.mean()
    offset = images - level
    weights = observation.bn_step_weights(norm)
    observed = {norm: observation.bn_statistics[norm]}

    def candidate(gain: float, brightness: float) -> Tensor:
        return gain * offset + brightness

    def distance(unknowns: Sequence[float]) -> float:
        gain, brightness, *later = unknowns
        inputs = observation.normalise(candidate(gain, brightness))
        pairs = [entrance.statistics(inputs, progress) for progress in (0.0, *later)]
        mean, variance = (torch.stack([p[k] for p in pairs], 1) @ weights for k in (0, 1))
        return float(statistics_distance({norm: (mean, variance)}, observed))

    line = progress_of(observation, visits)[1:]
    later = [progress**0.5 for progress in line]  # gradients of random weights are largest at first
    options = {"maxfev": _EVALUATIONS * visits, "xatol": 1e-3, "fatol": 1e-4}
    with torch.no_grad():
        ways = [
            minimize(distance, (1.0, float(level), *way), method="Nelder-Mead", options=options)
            for way in (line, later)
        ]
    found = min(ways, key=lambda way: way.fun)
    if not found.fun <= _EXPLAINED:
        return None
    gain, brightness, *later = map(float, found.x)
    images = candidate(gain, brightness).clamp(0, 1)
    return Fitted(images, (0.0, *later), float(found.fun))


class _Entrance:
    """What a network does up to its first batch norm, at weights on the line of a round.

    Attributes:
        norm: That layer's name; None where none runs.
    """

    norm: str | None

    def __init__(self, observation: Observation) -> None:
        self._network = observation.network()
        self._update: dict[str, Tensor] = {}
        self._weights = {n: p.detach() for n, p in self._network.named_parameters()}
        self._input: Tensor | None = None
        self.norm = None
        for name, module in self._network.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.register_forward_pre_hook(self._stop_at(name))
        size = (2, observation.image_channels, *observation.spatial_size)
        blank = torch.zeros(size, device=observation.device)
        with contextlib.suppress(_Reached), torch.enable_grad():
            self._network(observation.normalise(blank))
        if self._input is not None:
            self._update = self._used(self._input, observation.parameter_update)

    def _used(self, output: Tensor, update: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of ``update``, what changes ``output``: a step moves millions of others."""
        named = dict(self._network.named_parameters())
        total = output.sum()
        if not total.requires_grad:
            return {}
        gradients = torch.autograd.grad(total, list(named.values()), allow_unused=True)
        return {n: update[n] for n, g in zip(named, gradients, strict=True) if g is not None}

    def statistics(self, inputs: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        """Mean and unbiased variance of the first norm's input."""
        at = {n: self._weights[n] + progress * change for n, change in self._update.items()}
        with contextlib.suppress(_Reached), torch.no_grad():
            functional_call(self._network, at, (inputs,))
        if self._input is None:
            raise RuntimeError("No batch norm runs: there is nothing to take statistics of.")
        axes = (0, *range(2, self._input.ndim))
        variance, mean = torch.var_mean(self._input, axes)
        return mean, variance

    def _stop_at(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def stop(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            self.norm, self._input = name, args[0]
            raise _Reached

        return stop


class _Reached(Exception):
    """The first norm has its input."""

"""First linear layers that take the image itself: its update divided by its bias's is the image.

For one image dW = d x^T and db = d, so that every row of dW over its entry of db is x. For several
images rows are mixtures: each image that alone activates a unit still stands there.

Source: Phong et al. 2018, "Privacy-preserving deep learning via additively homomorphic encryption",
IEEE TIFS 13(5), section 3; Geiping et al. 2020, arXiv:2003.14053v2, proposition 3.1.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from medleak.inversion.evidence.algebra.rounding import rounding_variance
from medleak.inversion.evidence.reading import Reading
from medleak.inversion.evidence.source import Answer, Source, Told

_AGREE = 0.05  # relative spread of the rows' answers from which on they are not one image
_HALF = 0.7  # a spread from which on more than half of the rows' energy is of something else


@dataclass(frozen=True, slots=True, eq=False)
class _Image:
    """What the rows of one layer agree on."""

    pixels: Tensor  # [1, C, *size], not clamped
    misfit: float
    plain: bool  # nothing but rounding is in the rows, or several can tell

    @property
    def stuck(self) -> bool:
        """Noise, or several images."""
        return not (self.plain and self.misfit <= _AGREE)


def _entrances(reading: Reading) -> list[str]:
    """Linear layers with a bias that took the flattened image."""
    observation = reading.observation
    network = observation.network().eval()
    shape = (1, observation.image_channels, *observation.spatial_size)
    example = observation.normalise(torch.rand(shape).to(observation.device))
    found: list[str] = []

    def see(name: str, _: nn.Module, args: tuple[Tensor, ...]) -> None:
        x = args[0]
        if x.numel() == example.numel() and torch.equal(x.flatten(), example.flatten()):
            found.append(name)

    for name, module in network.named_modules():
        if isinstance(module, nn.Linear) and module.bias is not None:
            module.register_forward_pre_hook(functools.partial(see, name))
    with torch.no_grad():
        network(example)
    return found


def _has_wide_linear(reading: Reading) -> bool:
    """Whether any weight has as many columns as an image has values: no pass is needed else."""
    size = 1
    for side in (len(reading.observation.mean), *reading.observation.spatial_size):
        size *= side
    return any(u.ndim == 2 and u.shape[1] == size for u in reading.update.values())


def _answer(reading: Reading) -> Answer | None:
    if not _has_wide_linear(reading) or not _is_one(reading) or not reading.linear:
        return None
    for name in _entrances(reading):
        if reading.update[f"{name}.bias"].any():
            found = _solved(reading, name)
            images = found.pixels.clamp(0, 1)
            return Answer(images=images, misfit=found.misfit, stuck=found.stuck)
    return None


def _is_one(reading: Reading) -> bool:
    return reading.images == 1 and reading.observation.n_steps == 1


def _solved(reading: Reading, name: str) -> _Image:
    observation = reading.observation
    rows, bias = reading.update[f"{name}.weight"], reading.update[f"{name}.bias"]
    # The least squares answer over all rows: those of large bias count most.
    x = (bias @ rows) / bias.square().sum()
    misfit = float((rows - torch.outer(bias, x)).norm() / rows.norm())
    pixels = x.view(1, len(observation.mean), *observation.spatial_size)
    image = _pixels(pixels, observation.mean, observation.std)
    if observation.image_channels == 1:
        image = image.mean(1, keepdim=True)
    plain = len(rows) > 1 or _only_rounded(reading, f"{name}.weight")
    return _Image(image, misfit, plain)


def _only_rounded(reading: Reading, name: str) -> bool:
    """A single row agrees with itself, whatever was added to it."""
    update, weight = reading.update[name], reading.weights[name]
    return reading.undone is None and rounding_variance(weight, update) is not None


def _pixels(x: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    shape = (1, -1, *(1,) * (x.ndim - 2))
    return x * torch.tensor(std).to(x).view(shape) + torch.tensor(mean).to(x).view(shape)


def _tell(reading: Reading) -> Sequence[Told]:
    if not _has_wide_linear(reading):
        return []
    return [
        _told(reading, name) for name in _entrances(reading) if reading.update[f"{name}.bias"].any()
    ]


def _told(reading: Reading, name: str) -> Told:
    told = Told(source=SOURCE.name, layer=name, images=1, words="")
    if not reading.linear:
        how = f"the update of {reading.observation.optimizer} is no sum of gradients"
        return replace(told, useful=False, words=f"{how}: dW / db is no image")
    if not _is_one(reading):
        mixed = f"rows mix {reading.images} images in {reading.observation.n_steps} steps"
        return replace(told, words=f"{mixed}; one that alone activates a unit stands there")
    found = _solved(reading, name)
    if found.stuck:
        words = f"its rows do not agree on one image (misfit {found.misfit:.2g}): noise, or several"
        if not found.plain:
            words = "its only row holds more than one step's rounding: noise, or bounds of Adam's"
        some = found.plain and found.misfit <= _HALF
        noise = min(found.misfit**2, 1.0) if some else None
        return replace(told, useful=some, exact=False, noise=noise, words=words)
    return replace(told, exact=True, words="its update over its bias's is the image")


SOURCE = Source(
    name="first_linear",
    words="the image itself, from a linear layer that takes it, by dW / db",
    needs=("a linear layer with a bias that takes the flattened image",),
    tell=_tell,
    answer=_answer,
)

"""Does the update come from images of the size, number and normalisation that are declared?

The first convolution is linear, so the mean of its output, which the first batch norm's running
mean reveals, tells the mean of every network channel of the images, in model units. Declared mean
and standard deviation turn these into pixels: a gray image must have the same value in each
channel, and every value lies in [0, 1]. An attack that is told a wrong normalisation fails, and an
easy case that is made with the same wrong one does not.
"""

import functools
from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import lsq_linear
from scipy.stats import f as f_distribution
from torch import Tensor, nn

from medleak.custom.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from medleak.custom.record import Record
from medleak.inversion.evidence.ranks import beyond
from medleak.inversion.evidence.reading import Reading
from medleak.inversion.observation import Observation
from medleak.inversion.statement import contradictions

DOUBT = 1e-6
"""p of the F test below which the declaration is contradicted. On X-rays and brain slices right
declarations had F of at most 2, wrong ones of 100 to 10,000; this is F = 17."""

_KNOWN = (
    ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    (IMAGENET_MEAN, IMAGENET_STD),
)


class _ReachedError(Exception):
    """The first norm layer was reached: the rest of the pass is not needed."""


def disagreements(record: Record, observation: Observation) -> list[str]:
    """Where what was said and the update do not agree, a phrase each: its input, its schedule.

    Args:
        record: As recorded, with what the auditor says.
        observation: All of it.

    Raises:
        KnowledgeError: The global model is withheld.
    """
    return [*filter(None, [contradiction(observation)]), *contradictions(record)]


def contradiction(observation: Observation) -> str:
    """What in the update contradicts the declared input, for a sentence; empty: nothing.

    Its normalisation, by the statistics of the first norm, and its size and number, by ranks.

    Raises:
        KnowledgeError: The global model is withheld.
    """
    return "; ".join(filter(None, (_normalisation(observation), _extent(observation))))


def _extent(observation: Observation) -> str:
    """Are there more directions than images of that size, and as many, have patches?

    Nothing is said where their number is not known, or the update is no sum of gradients.
    """
    if observation.state_kept:  # momentum is of other rounds' images, too
        return ""
    reading = Reading(observation)
    try:
        if not reading.linear or reading.undone is not None:
            return ""
        batches = -(-observation.n_images // observation.batch_size)
        visits = max(1, round(observation.n_passes / batches)) * observation.n_images
        found = beyond(reading.convs, reading.update, visits)
    # Something is not known, or the network does not take that size, as whoever attacks will say.
    except (ValueError, RuntimeError, ArithmeticError):
        return ""
    if found is None:
        return ""
    name, rank, most = found
    size = " x ".join(map(str, observation.spatial_size))
    return (
        f"the update of {name} has {rank} directions, where {visits} image{'s' * (visits != 1)} of "
        f"{size}, every visit counted, have at most {most}: size, number or schedule are not as "
        "the attack takes them to be"
    )


def _normalisation(observation: Observation) -> str:
    """What in the update contradicts the declared normalisation.

    Nothing can be said, and nothing is, where no batch norm's statistics are seen, where another
    layer than linear ones comes before the first, where they did not move, or where noise hides
    them.

    It does not see a wrong declaration that pixels in [0, 1] could explain as well: of one channel,
    or of colour, all that do not put a mean outside of that range.
    """
    if not observation.has_bn_statistics:
        return ""
    shown = _linear_response(observation)
    if shown is None:
        return ""
    response, constant, name = shown
    if name not in observation.bn_statistics:
        return ""
    statistic = observation.bn_statistics[name][0]
    before = observation.network().get_buffer(f"{name}.running_mean")
    if torch.equal(statistic, before):  # frozen, or in evaluation mode: it tells of no image
        return ""
    observed = statistic.double().cpu().numpy() - constant
    channels = observation.image_channels
    declared = (observation.mean, observation.std)
    p = _p(response, observed, declared, channels)
    if p > DOUBT:
        return ""
    known = [(m[: len(declared[0])], s[: len(declared[0])]) for m, s in _KNOWN]
    better = [norm for norm in known if _p(response, observed, norm, channels) > DOUBT]
    fits = f"; they fit {_text(better[0])}" if len(better) == 1 else ""
    return (
        f"the statistics of the first norm layer ({name}) are of no images in [0, 1] that were "
        f"normalised with {_text(declared)}, as the attack takes them to be{fits}"
    )


def _p(
    response: np.ndarray,
    observed: np.ndarray,
    normalisation: tuple[Sequence[float], Sequence[float]],
    channels: int,
) -> float:
    """Of an F test: do means of pixels in [0, 1] explain the statistics as well as any means do?"""
    mean, std = (np.asarray(v, dtype=float) for v in normalisation)
    free = np.linalg.lstsq(response, observed, rcond=None)[0]
    residual = float(np.sum((observed - response @ free) ** 2))
    design = response / std
    if channels == 1:
        design = design.sum(1, keepdims=True)
    target = observed + response @ (mean / std)
    pixels = lsq_linear(design, target, bounds=(0, 1)).x
    bound = float(np.sum((target - design @ pixels) ** 2))
    outputs, inputs = response.shape
    left = outputs - inputs
    lost = max(inputs - channels, 1)
    if left < 1 or residual <= 0:
        return 1.0
    return float(
        f_distribution.sf(max(0.0, bound - residual) / lost / (residual / left), lost, left)
    )


def _linear_response(observation: Observation) -> tuple[np.ndarray, np.ndarray, str] | None:
    """What the first norm's mean gains by 1 in each network channel, its value at 0, its name.

    None: what comes before it is not linear.
    """
    network, n = observation.network(), len(observation.mean)
    blank = torch.zeros(1, n, *observation.spatial_size, device=observation.device)
    axes = blank.ndim - 2
    single = torch.eye(n, device=blank.device).view(n, n, *[1] * axes)
    single = single.expand(-1, -1, *observation.spatial_size)
    found = _first_norm_input(network, torch.cat([blank, single, 2 * single]))
    if found is None:
        return None
    name, means = found
    constant, once, twice = means[:1], means[1 : 1 + n], means[1 + n :]
    gained = once - constant
    if not torch.allclose(
        twice - constant, 2 * gained, rtol=1e-3, atol=1e-4 * float(gained.abs().max())
    ):
        return None
    return gained.T.numpy(), constant[0].numpy(), name


def _first_norm_input(network: nn.Module, images: Tensor) -> tuple[str, Tensor] | None:
    """Name of the first batch norm that runs, and the mean of its input [N, C] over positions."""
    found: list[tuple[str, Tensor]] = []

    def keep(name: str, _: nn.Module, args: tuple[Tensor, ...]) -> None:
        found.append((name, args[0].detach().double().flatten(2).mean(2).cpu()))
        raise _ReachedError

    for name, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.register_forward_pre_hook(functools.partial(keep, name))
    try:
        with torch.no_grad():
            network(images)
    except _ReachedError:
        return found[0]
    return None


def _text(normalisation: tuple[Sequence[float], Sequence[float]]) -> str:
    mean, std = (", ".join(f"{v:g}" for v in values) for values in normalisation)
    return f"mean ({mean}) and std ({std})"

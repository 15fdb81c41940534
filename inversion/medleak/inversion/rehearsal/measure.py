"""The measure of the filter `Rehearsal`: a site tries a step of a model before it trains it.

Named in a site's policy as ``"measure": "medleak.inversion.rehearsal.measure:measure"``; the filter
runs it in a process of its own and bounds its time.
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from medleak.custom.data.datalist import load_datalist
from medleak.custom.data.transforms import load_images, network_input
from medleak.custom.record import Criterion
from medleak.inversion.networks import build_network, load_global_state
from medleak.inversion.rehearsal.dominance import class_losses, ratios
from medleak.inversion.rehearsal.exposure import exposed
from medleak.inversion.rehearsal.step import rehearse


def measure(
    state: Mapping[str, np.ndarray],
    *,
    datalist: str,
    batch_size: int,
    spatial_size: Sequence[int],
    channels: int,
    mean: Sequence[float],
    std: Sequence[float],
    num_classes: int,
    model_path: str = "medleak.custom.networks.resnet18",
    allow_model: Sequence[str] = (),
    criterion: Criterion = "cross_entropy",
    norms: Literal["batch", "frozen"] = "batch",
    batches: int = 2,
) -> dict[str, Any]:
    """The worst over ``batches`` steps, on images that are drawn afresh each time.

    Args:
        state: The model that was sent.
        datalist: The site's list, as its client trains with it.
        batch_size: Images of a step; of a shorter list, all.
        spatial_size, channels, mean, std: See :class:`medleak.custom.record.InputSpec`.
        num_classes: Outputs of the network.
        model_path: Its factory. ``allow_model``: prefixes of factories that the site allows beside
            ours, MONAI's and torchvision's.
        criterion: The loss.
        norms: Whether batch norm takes the batch's statistics in training, or the model's.
        batches: How many are tried.

    Returns:
        ``images`` of a step; ``given_away``: how many of them one layer's gradient gives away, and
        ``given_away_at``: which layer; ``layers``: how many layers could be read so; ``dominance``
        and ``dominance_at``; ``class_loss`` and ``class``.

    Raises:
        ValueError: The list, the model or the loss cannot be used; or a step has a single image,
            which is all that its update tells of.
    """
    torch.set_num_threads(1)
    items = load_datalist(Path(datalist))["training"]
    count = min(batch_size, len(items))
    if count < 2:
        raise ValueError(
            f"A step of this site has {count} image(s): whatever its update tells is that image's "
            "own, under any model. Train on more images, or keep a bound (ε)."
        )
    network = build_network(
        model_path, {"num_classes": num_classes}, allowed_prefixes=tuple(allow_model)
    )
    load_global_state(network, {n: torch.from_numpy(np.array(v)) for n, v in state.items()})
    network.train(norms == "batch")
    draw = random.SystemRandom()  # which images are tried is not for a server to know
    worst: dict[str, Any] = {"images": count, "given_away": 0, "given_away_at": "", "layers": 0}
    worst |= {"dominance": 0.0, "dominance_at": "", "class_loss": 0.0, "class": 0}
    for _ in range(max(batches, 1)):
        chosen = [items[k] for k in draw.sample(range(len(items)), count)]
        images, labels = load_images(chosen, spatial_size=tuple(spatial_size), channels=channels)
        step = rehearse(network, network_input(images, mean, std), labels, criterion)
        layers = exposed(step)
        worst["layers"] = len(layers)
        _keep_worst(worst, "given_away", "given_away_at", layers)
        _keep_worst(worst, "dominance", "dominance_at", ratios(step))
        _keep_worst(worst, "class_loss", "class", class_losses(step, labels, num_classes))
    return worst


def _keep_worst(worst: dict[str, Any], what: str, where: str, found: Mapping[Any, float]) -> None:
    """NaN is worse than anything; JSON has neither it nor inf, so that both become 1e300."""
    for name, value in found.items():
        number = value if value < 1e300 else 1e300
        if number > worst[what]:
            worst[what], worst[where] = number, name

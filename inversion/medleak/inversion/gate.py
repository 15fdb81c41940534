"""The measure of the leakage gate: a site inverts its own update before it sends it.

Named in a site's policy as ``"measure": "medleak.inversion.gate:measure"`` of the filter
``LeakageGate``, which runs it in a process of its own and bounds its time.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from medleak.custom.record import InputSpec, Manifest, ModelSpec, Record, TaskSpec, UpdateInfo
from medleak.custom.record import utc_now as now
from medleak.inversion.attacks.row_space import RowSpace, run
from medleak.inversion.audit.health import easy_record
from medleak.inversion.images.prior import load_prior
from medleak.inversion.images.truth import Truth, load_truth, training_items
from medleak.inversion.measures.similarity import assign, rdlv, ssim
from medleak.inversion.observation import Knowledge, observe


def measure(
    update: Mapping[str, np.ndarray],
    global_state: Mapping[str, np.ndarray],
    *,
    datalist: str,
    batch_size: int,
    lr: float,
    spatial_size: Sequence[int],
    channels: Literal[1, 3],
    mean: Sequence[float],
    std: Sequence[float],
    num_classes: int,
    local_epochs: int = 1,
    model_path: str = "medleak.custom.networks.resnet18",
    prior: str = "gray",
    seconds: float = 40.0,
) -> dict[str, float | bool]:
    """Worst RDLV of the site's training images under the row-space attack that knows everything.

    Args:
        update: local - global, as it is about to leave.
        global_state: The model that the round started from.
        datalist: The site's list, as its client trained with it.
        batch_size, lr, local_epochs: The schedule.
        spatial_size, channels, mean, std: See :class:`medleak.custom.record.InputSpec`.
        num_classes: Outputs of the network.
        model_path: Its factory.
        prior: ``gray``, ``phantoms`` or a picture; what RDLV is relative to.
        seconds: CPU seconds of the attack; as many again for the health check.

    Returns:
        ``rdlv``, the worst over the images; ``healthy``: in this process and configuration the
        attack brought back the first image from an unprotected update of one step on it alone.
        Otherwise its failure on ``update`` would prove nothing.

    Raises:
        ValueError: The list, the model or the update cannot be used, or holds nothing that this
            attack can match (a network without batch norm, say).
    """
    torch.set_num_threads(1)  # small images are fastest with one, and training goes on beside
    size = (int(spatial_size[0]), int(spatial_size[1]))
    items = training_items(Path(datalist), "this site")
    truth = load_truth(items, size, channels)
    mean_image = load_prior(prior, size, channels)
    manifest = Manifest(
        job="gate",
        created=now(),
        model=ModelSpec(path=model_path, args={"num_classes": num_classes}),
        task=TaskSpec(num_classes=num_classes),
        input=InputSpec(spatial_size=size, channels=channels, mean=tuple(mean), std=tuple(std)),
    )
    info = UpdateInfo(
        round=0,
        site="gate",
        time=now(),
        n_images=len(items),
        n_steps=local_epochs * math.ceil(len(items) / batch_size),
        batch_size=min(batch_size, len(items)),
        local_epochs=local_epochs,
        lr=lr,
    )
    record = Record(manifest, info, dict(global_state), dict(update))
    first = Truth(truth.images[:1], truth.labels[:1], truth.names[:1])
    easy = _worst_rdlv(easy_record(record, first.images, first.labels), first, mean_image, seconds)
    worst = _worst_rdlv(record, truth, mean_image, seconds)
    return {"rdlv": worst, "healthy": easy > 0, "easy_rdlv": easy}


def _worst_rdlv(record: Record, truth: Truth, prior: Tensor, seconds: float) -> float:
    generator = torch.Generator().manual_seed(0)
    observation = observe(record, Knowledge(), device="cpu")
    found = run(RowSpace(seconds=seconds), observation, prior, generator=generator)
    pairs = assign(found.images, truth.images)
    of_prior = ssim(truth.images[pairs.truth], prior.expand_as(truth.images[pairs.truth]))
    values = rdlv(pairs.ssim, of_prior)
    if values.isnan().all():
        raise ValueError(
            "RDLV is undefined for every image, as the prior has nothing in common with them: "
            "name a prior of the same kind of image."
        )
    return float(values[~values.isnan()].max())

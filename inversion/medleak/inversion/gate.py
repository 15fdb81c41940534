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
from medleak.inversion.evidence.declared_input import contradiction
from medleak.inversion.images.prior import load_prior
from medleak.inversion.images.truth import Truth, load_truth, training_items
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.measures.registration import compare
from medleak.inversion.measures.seen import pair
from medleak.inversion.measures.similarity import rdlv, ssim
from medleak.inversion.observation import observe
from medleak.inversion.reconstruction import Reconstruction
from medleak.inversion.results.found import at_the_level_of_found


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
        ``rdlv``, the worst over the images, as they are listed or as augmentation may have shown
        them to the network; ``healthy``: in this process and configuration the attack brought back
        the first image from an unprotected update of one step on it alone, and ``update``
        contradicts no declared ``mean`` and ``std``. Otherwise its failure on ``update`` would
        prove nothing.

    Raises:
        ValueError: The list, the model or the update cannot be used, or holds nothing that this
            attack can match (a network without batch norm, say); or the attack found images by its
            own losses that are none of the list.
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
    easy_update = easy_record(record, first.images, first.labels)
    easy, easy_found = _attacked(easy_update, first, mean_image, seconds)
    worst, found = _attacked(record, truth, mean_image, seconds)
    losses, start = found.losses, found.start_losses
    if worst <= 0 and not found.stuck and at_the_level_of_found(losses, start, easy_found.losses):
        raise ValueError(
            "By its own losses the attack found images in this update that are none of the list, "
            "neither as they are nor as the usual augmentations show them: what leaks is not "
            "known. Name the list that this round was trained with."
        )
    sound = not contradiction(observe(record, Knowledge()))
    return {"rdlv": worst, "healthy": easy > 0 and sound, "easy_rdlv": easy}


def _attacked(
    record: Record, truth: Truth, prior: Tensor, seconds: float
) -> tuple[float, Reconstruction]:
    """The worst RDLV of ``truth``, and what the attack found."""
    generator = torch.Generator().manual_seed(0)
    observation = observe(record, Knowledge(), device="cpu")
    found = run(RowSpace(seconds=seconds), observation, prior, generator=generator)
    of_prior = ssim(truth.images, prior.expand_as(truth.images))

    def searched(t: int) -> dict[str, float]:
        return {"ssim_prior": compare(truth.images[t], prior[0]).ssim}

    pairs = pair(found.images, truth.images, of_prior, searched, stuck=found.stuck)
    priors = of_prior[pairs.truth]
    for p, k in enumerate(pairs.reconstruction.tolist()):
        if (seen := pairs.seen.get(k)) is not None:
            priors[p] = seen.nulls["ssim_prior"]
    values = rdlv(pairs.ssim, priors)
    if values.isnan().all():
        raise ValueError(
            "RDLV is undefined for every image, as the prior has nothing in common with them: "
            "name a prior of the same kind of image."
        )
    return float(values[~values.isnan()].max()), found

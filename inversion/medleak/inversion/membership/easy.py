"""The easy case: would the score know eight images that are certainly in an update?

A score that fails there is no evidence of protection anywhere: the layers may tell nothing, or a
declaration may be wrong.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from medleak.custom.record import Record
from medleak.inversion.losses import first_output, task_loss
from medleak.inversion.networks import build_network, load_global_state
from medleak.inversion.observation import Observation

MEMBERS = 8
REACHED = 0.95
"""AUC that counts as healthy: what leaks at all is known almost without error there."""

_LR = 0.01


def easy_record(
    record: Record,
    observation: Observation,
    images: Tensor,
    labels: Tensor,
    *,
    allowed_prefixes: Sequence[str] = (),
) -> Record:
    """The update of one plain step on ``images`` [B, C, ...] from ``record``'s global model.

    A network of masks, or of a loss without a name, learns the brighter half of each image, or its
    label if it has one output a class: the row space does not depend on what is learnt.

    Raises:
        ValueError: The network cannot be built, or the record is of another one.
    """
    spec = record.manifest.known_model()
    network = build_network(spec.path, spec.args, allowed_prefixes=allowed_prefixes)
    state: dict[str, Any] = {k: torch.as_tensor(v) for k, v in record.global_state.items()}
    load_global_state(network, state)
    network.train()
    lr = record.info.lr or _LR
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)
    _loss(first_output(network(observation.normalise(images))), images, labels).backward()
    optimizer.step()
    update = {k: (v - state[k]).numpy() for k, v in network.state_dict().items()}
    schedule = {"n_images": len(images), "n_steps": 1, "batch_size": len(images), "local_epochs": 1}
    plain = {"lr": lr, "momentum": 0.0, "weight_decay": 0.0, "optimizer": "sgd"}
    info = record.info.with_schedule("given", **schedule, **plain)
    return Record(record.manifest, info, record.global_state, update)


def _loss(output: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    if output.ndim == 2:
        criterion = "bce" if output.shape[1] == 1 else "cross_entropy"
        return task_loss(criterion, output, labels % max(output.shape[1], 2))
    gray = images.mean(1)
    mask = functional.interpolate(gray[:, None], output.shape[2:])[:, 0] > gray.mean()
    if output.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(output[:, 0], mask.float())
    return functional.cross_entropy(output, mask.long())

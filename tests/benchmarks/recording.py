"""A client trained for a round, and the record of it that an auditor would have."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medleak.custom.record import (
    InputSpec,
    Manifest,
    ModelSpec,
    Record,
    TaskSpec,
    UpdateInfo,
    read_record,
    utc_now,
    write_manifest,
    write_record,
)

Loss = Callable[[Tensor, Tensor], Tensor]
"""(output, labels) -> scalar: the client's training loss."""


def record_of_round(
    network: nn.Module,
    model: ModelSpec | None,
    batches: Sequence[tuple[Tensor, Tensor]],
    *,
    optimizer: torch.optim.Optimizer,
    loss: Loss = nn.functional.cross_entropy,
    accumulation: int = 1,
    frozen_norms: bool = False,
    declared: Mapping[str, Any] | None = None,
    criterion: str = "cross_entropy",
    classes: int = 2,
    channels: int = 1,
) -> Record:
    """Train ``network`` on ``batches`` (inputs as the network takes them, labels), in place.

    Args:
        network: With the global weights.
        model: How a record names it; None: not at all.
        batches: One forward pass each.
        optimizer: Of ``network``'s parameters; its learning rate is declared.
        loss: (output, labels) -> scalar.
        accumulation: Forward passes an optimiser step; gradients are their mean.
        frozen_norms: Batch norms stay in evaluation mode.
        declared: Fields of `UpdateInfo` beside the usual or instead.
        criterion: As the manifest names it.
        classes, channels: Of the task and of the images.

    Returns:
        As read back from the disk.
    """
    before = {k: v.clone() for k, v in network.state_dict().items()}
    network.train()
    for module in network.modules():
        if frozen_norms and isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    optimizer.zero_grad()
    for k, (x, y) in enumerate(batches):
        (loss(network(x), y) / accumulation).backward()
        if (k + 1) % accumulation == 0:
            optimizer.step()
            optimizer.zero_grad()
    update = {k: v.detach() - before[k] for k, v in network.state_dict().items()}
    images, first = sum(len(x) for x, _ in batches), batches[0][0]
    info: dict[str, Any] = {
        "round": 0,
        "site": "site-1",
        "time": utc_now(),
        "n_images": images,
        "n_steps": len(batches) // accumulation,
        "batch_size": len(first) * accumulation,
        "local_epochs": 1,
        "lr": optimizer.param_groups[0]["lr"],
    }
    manifest = Manifest(
        job="benchmark",
        created=utc_now(),
        model=model,  # pyright: ignore[reportArgumentType]  None from version 2 on
        task=TaskSpec(num_classes=classes, criterion=criterion),  # pyright: ignore[reportArgumentType]
        input=InputSpec(
            spatial_size=tuple(first.shape[2:]),  # pyright: ignore[reportArgumentType]
            channels=channels,  # pyright: ignore[reportArgumentType]
            mean=(0.0,) * first.shape[1],
            std=(1.0,) * first.shape[1],
        ),
    )
    with tempfile.TemporaryDirectory() as folder:
        write_manifest(Path(folder), manifest)
        write_record(
            Path(folder),
            UpdateInfo(**{**info, **(declared or {})}),
            {k: v.numpy() for k, v in before.items()},
            {k: v.numpy() for k, v in update.items()},
        )
        return read_record(Path(folder), 0, "site-1")

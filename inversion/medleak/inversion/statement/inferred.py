"""What an update tells of the training behind it, and where it contradicts what was said.

Adam's first step moves every weight that has a gradient by the learning rate, whatever the
gradient (Kingma & Ba, arXiv:1412.6980v9, section 2.1): the sizes of an update's entries pile up at
one value. No other of the usual optimisers does that. Batch norm counts the forward passes.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from medleak.custom.record import Record, UpdateInfo

_PILED = 0.3
"""Share of entries within 5 % of the median size from which they are Adam's: Gaussian ones have
0.04, Laplace's 0.03."""
_SPREAD = 0.12
"""Share below which they are not: the same, with room for layers that differ."""
_SAMPLE = 200_000  # entries of a tensor that are looked at
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def complete(record: Record) -> Record:
    """``record`` with what is unknown in its schedule and can be inferred from its update."""
    found = inferred(record)
    return dataclasses.replace(record, info=record.info.with_schedule("inferred", **found))


def inferred(record: Record) -> dict[str, Any]:
    """Fields of the schedule that nobody said and that follow from the update.

    Of an update that a defence changed, only what counters and the other fields tell.
    """
    said = record.info
    found: dict[str, Any] = {}
    if said.n_images == 1 and said.batch_size is None:
        found["batch_size"] = 1
        said = said.model_copy(update=found)

    def known(field: str) -> Any:
        return found.get(field, getattr(said, field))

    passes = forward_passes(record.update)
    if said.n_steps is None and passes is not None and passes % (said.accumulation_steps or 1) == 0:
        found["n_steps"] = passes // (said.accumulation_steps or 1)
    elif said.n_steps is None and passes is None and (steps := _steps_said(said)) is not None:
        found["n_steps"] = steps
    steps, shape = known("n_steps"), step_size(record)
    if shape is not None and said.optimizer is None and not said.defences:
        share, size = shape
        if share >= _PILED and steps == 1:
            found |= {"optimizer": "adam"} | ({} if said.lr else {"lr": size})
        elif share <= _SPREAD and steps == 1:
            found["optimizer"] = "sgd"
    if steps == 1 and (said.accumulation_steps or 1) == 1:
        for one, other in (("n_images", "batch_size"), ("batch_size", "n_images")):
            if getattr(said, one) is None and getattr(said, other) is not None:
                found[one] = getattr(said, other)
    if said.local_epochs is None and steps and known("n_images") and known("batch_size"):
        batches = -(-known("n_images") // known("batch_size"))
        if steps % batches == 0:
            found["local_epochs"] = steps // batches
    return found


def _steps_said(said: UpdateInfo) -> int | None:
    """Steps that images, batch and epochs make; None where a smaller batch may have been left out.

    Of DP-SGD, whose batches are drawn, they make none.
    """
    n, batch, epochs = said.n_images, said.batch_size, said.local_epochs
    if not (n and batch and epochs) or said.optimizer == "dp_sgd":
        return None
    if n < batch:  # the one batch there is
        return epochs
    return epochs * n // batch if n % batch == 0 else None


def carries_momentum(record: Record) -> bool:
    """Whether the site's SGD is said to have begun this round with momentum of earlier ones."""
    said = record.info
    kept = bool(said.state_kept) and said.round > 0
    return kept and said.optimizer in (None, "sgd") and bool(said.momentum)


def contradictions(record: Record) -> list[str]:
    """Where what was said and the update do not agree, or nothing in it confirms; a phrase each."""
    said, found = record.info, []
    accumulated = said.accumulation_steps or 1
    passes = forward_passes(record.update)
    if said.n_steps is not None and passes is not None and passes != said.n_steps * accumulated:
        times = f" of {accumulated} forward passes" if accumulated > 1 else ""
        found.append(
            f"batch norm counted {passes} forward passes, and n_steps is {said.n_steps}{times} "
            f"({_who(said, 'n_steps')})"
        )
    if record.unsent:
        found.append(
            f"{len(record.unsent)} of the model's weights were not sent, first "
            f"{record.unsent[0]!r}, and are taken as not trained: give --base FILE with them if "
            "that is so"
        )
    if carries_momentum(record):
        found.append(
            f"momentum of earlier rounds is said to have been kept ({_who(said, 'state_kept')}), "
            "and nothing in the update confirms it: taken off where it was not, it hides images"
        )
    found += _of_the_step(record)
    return found + _of_the_numbers(said)


def _of_the_step(record: Record) -> list[str]:
    said, shape = record.info, step_size(record)
    steps = said.n_steps or inferred(record).get("n_steps")
    if shape is None or said.defences or steps != 1 or said.optimizer is None:
        return []
    share, size = shape
    if said.optimizer == "sgd" and share >= _PILED:
        return [
            f"{share:.0%} of the update's entries have the size {size:.3g}, as after a step of "
            f"Adam, and the optimizer is sgd ({_who(said, 'optimizer')})"
        ]
    if said.optimizer in ("adam", "adamw") and not said.state_kept:
        # Far below eps, Adam's steps are spread like SGD's; above lr it takes none.
        if share <= _SPREAD and said.lr is not None and size > 1.5 * said.lr:
            return [
                "the sizes of the update's entries are spread as after a step of SGD and half are "
                f"above {size:.3g}, and the optimizer is {said.optimizer} with lr {said.lr:.3g} "
                f"({_who(said, 'optimizer')})"
            ]
        if said.lr is not None and share >= _PILED and not 0.8 < size / said.lr < 1.25:
            return [
                f"Adam's first step moves weights by lr, here by {size:.3g}, and lr is "
                f"{said.lr:.3g} ({_who(said, 'lr')})"
            ]
    return []


def _of_the_numbers(said: UpdateInfo) -> list[str]:
    n, batch, epochs, steps = said.n_images, said.batch_size, said.local_epochs, said.n_steps
    found = []
    if said.lr_schedule is not None and steps is not None and len(said.lr_schedule) != steps:
        rates = len(said.lr_schedule)
        found.append(f"lr_schedule has {rates} learning rates and n_steps is {steps}")
    if None not in (n, batch, epochs, steps) and n and batch and epochs and steps:
        whole, last_dropped = -(-n // batch), n // batch
        possible = {k * epochs for k in (whole, last_dropped) if k}
        if possible and steps not in possible and said.optimizer != "dp_sgd":
            found.append(
                f"{n} images in batches of {batch} make {whole * epochs} steps in {epochs} epochs, "
                f"and n_steps is {steps}"
            )
    return found


def _who(said: UpdateInfo, field: str) -> str:
    return said.sources[field]


def forward_passes(update: Mapping[str, np.ndarray]) -> int | None:
    """Forward passes in training mode, as batch norm counted them; None if it did not, or unlike.

    Layers that are used several times in a pass, or not at all, differ from the others.
    """
    counts = {float(v) for k, v in update.items() if k.endswith(_BUFFERS[2]) and np.size(v) == 1}
    if len(counts) != 1:
        return None
    (count,) = counts
    return round(count) if count >= 1 and abs(count - round(count)) < 1e-3 else None


def step_size(record: Record) -> tuple[float, float] | None:
    """Share of the weights' changes within 5 % of their median size, and that size.

    None: there are too few to tell.
    """
    parts = []
    for name, value in record.update.items():
        if value.dtype.kind == "f" and not name.endswith(_BUFFERS):
            flat = np.abs(value.ravel()[:: max(1, value.size // _SAMPLE)])
            parts.append(flat[flat > 0].astype(np.float64))
    sizes = np.concatenate(parts) if parts else np.empty(0)
    if len(sizes) < 200:
        return None
    middle = float(np.median(sizes))
    return float(np.mean(np.abs(sizes / middle - 1) < 0.05)), float(f"{middle:.4g}")

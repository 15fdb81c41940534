"""Reference models: networks of the same kind, trained on public images that are in no site's data.

Who holds the final model cannot see how it was before an image was used. What a model makes of an
image that it has *not* seen is known from models that were trained without it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medleak.custom.record import Criterion
from medleak.inversion.losses import first_output, task_loss

LEAST_IMAGES = 16
_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How references are trained: as the federation's model is thought to have been.

    Attributes:
        models: How many references; each sees a random half of the images.
        epochs: Passes over its half.
        lr: Of Adam.
        batch_size: Images a step.
    """

    models: int = 4
    epochs: int = 10
    lr: float = 1e-3
    batch_size: int = 8

    def __post_init__(self) -> None:
        """Refuse what trains nothing, or leaves nothing to compare with."""
        if self.models < 3 or self.epochs < 1 or self.batch_size < 2 or not 0 < self.lr < 1:
            raise ValueError(
                f"{self}: at least three reference models of one epoch, batches of two and a "
                "learning rate between 0 and 1 are needed; one of them stands in for a model that "
                "had none of the candidates."
            )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Task:
    """What all models have in common.

    Attributes:
        build: A new network with the weights that the federation began with, or its factory's.
        normalise: Images in [0, 1] to model units.
        criterion: Training loss, of classes.
    """

    build: Callable[[], nn.Module]
    normalise: Callable[[Tensor], Tensor]
    criterion: Criterion


def train_references(
    task: Task, images: Tensor, labels: Tensor, training: Training, generator: torch.Generator
) -> list[nn.Module]:
    """Networks in evaluation mode, each trained on a random half of ``images`` [N, C, ...].

    Raises:
        ValueError: There are too few images.
    """
    if len(images) < LEAST_IMAGES:
        raise ValueError(
            f"{len(images)} images for reference models: with fewer than {LEAST_IMAGES} they learn "
            "nothing that could be compared. Give more by --references."
        )
    found = []
    for _ in range(training.models):
        half = torch.randperm(len(images), generator=generator)[: len(images) // 2]
        found.append(trained(task, images[half], labels[half], training, generator))
    return found


def trained(
    task: Task,
    images: Tensor,
    labels: Tensor,
    training: Training,
    generator: torch.Generator,
    epochs: int | None = None,
) -> nn.Module:
    """One network trained on all of ``images``, in evaluation mode."""
    network = task.build().train()
    optimizer = torch.optim.Adam(network.parameters(), lr=training.lr)
    for _ in range(training.epochs if epochs is None else epochs):
        order = torch.randperm(len(images), generator=generator)
        batches = [b for b in order.split(training.batch_size) if len(b) > 1]  # batch norm
        for batch in batches:
            optimizer.zero_grad()
            out = first_output(network(task.normalise(images[batch])))
            _loss(task.criterion, out, labels[batch]).backward()
            optimizer.step()
    return network.eval().requires_grad_(False)


def confidences(
    task: Task, networks: Sequence[nn.Module], images: Tensor, labels: Tensor
) -> Tensor:
    """[M, N] log(p / (1 - p)) of the true class, by network and image.

    About normal where models are trained anew (Carlini et al. 2022, arXiv:2112.03570v2, IV.B).
    """
    rows = []
    for network in networks:
        parts = []
        for x, y in zip(images.split(_AT_ONCE), labels.split(_AT_ONCE), strict=True):
            with torch.no_grad():
                out = first_output(network(task.normalise(x))).double()
            parts.append(_log_odds(task.criterion, out, y))
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def _log_odds(criterion: Criterion, out: Tensor, labels: Tensor) -> Tensor:
    if criterion == "bce":
        if out.shape[1] == 1:
            return torch.where(labels == 1, out[:, 0], -out[:, 0])
        return out.gather(1, labels[:, None])[:, 0]
    own = out.gather(1, labels[:, None])[:, 0]
    others = out.scatter(1, labels[:, None], -torch.inf)
    return own - others.logsumexp(1)


def _loss(criterion: Criterion, out: Tensor, labels: Tensor) -> Tensor:
    if criterion not in ("cross_entropy", "bce"):
        raise ValueError(
            f"The loss {criterion!r} is not one of classes: reference models are not trained for "
            "it, so that membership in the final model is not tested."
        )
    return task_loss(criterion, out, labels)

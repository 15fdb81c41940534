"""Canaries on their way into a site's training: consent, the site's list, and what goes in.

Nothing here depends on the job's seed, and neither the number of images nor that of steps, which a
site declares, depends on how the coins fell.
"""

import logging
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from medleak.custom.data.datalist import DataError
from medleak.custom.sites import canaries
from medleak.custom.sites.canaries import CanaryList, Plan

ALLOW = "allow"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Planted:
    """The canaries whose coins chose them.

    Attributes:
        images: [K, C, H, W] in [0, 1], or None where they are gradients; ``labels`` [K] likewise.
        coordinates: (parameter, place in it when flat) of each gradient.
        norm: Length of such a gradient.
    """

    images: Tensor | None = None
    labels: Tensor | None = None
    coordinates: tuple[tuple[str, int], ...] = ()
    norm: float = 1.0

    def __len__(self) -> int:
        """Number of canaries that go in."""
        return len(self.coordinates) if self.images is None else len(self.images)

    def add_gradient(self, network: nn.Module, which: int, share: float) -> None:
        """Add ``share`` times the gradient of canary ``which`` to what ``network`` holds."""
        name, index = self.coordinates[which]
        parameter = network.get_parameter(name)
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        parameter.grad.view(-1)[index] += share * self.norm

    def spread(self, n_batches: int) -> list[list[int]]:
        """Which canaries join which batch of an epoch: each one of them, at random."""
        joined: list[list[int]] = [[] for _ in range(n_batches)]
        for k in range(len(self)):
            joined[secrets.randbelow(n_batches)].append(k)
        return joined


def site_canaries(
    plan: Plan, site: str, run_dir: Path, network: nn.Module, num_classes: int
) -> CanaryList:
    """The canaries of ``site``: drawn in the first round, kept in ``run_dir`` for the others.

    Raises:
        DataError: The site's operator has not allowed any, or the list there is of another plan.
    """
    if os.environ.get(canaries.VARIABLE) != ALLOW:
        raise DataError(
            f"{site}: the job wants {plan.count} canaries ({plan.kind}) planted in the training, "
            f"and this site's operator has not allowed any. Set {canaries.VARIABLE}={ALLOW} in the "
            "environment of the site to take part, or take --canaries out of the job."
        )
    path = run_dir / canaries.FILE
    if path.exists():
        kept = canaries.load(path)
        if kept.plan != plan or kept.site != site:
            raise DataError(
                f"{path} holds the canaries of another plan or site: a run plants one list. Use "
                "another run directory."
            )
        return kept
    shapes = {n: tuple(p.shape) for n, p in network.named_parameters() if p.requires_grad}
    try:
        made = canaries.drawn(plan, site, shapes=shapes, num_classes=num_classes)
    except ValueError as error:
        raise DataError(str(error)) from None
    canaries.save(path, made)
    return made


def planted(listed: CanaryList, images: Tensor) -> Planted:
    """What goes into the training beside ``images`` [N, C, H, W]."""
    chosen = [c for c in listed.canaries if c.planted]
    if listed.plan.kind == "gradients":
        coordinates = tuple((c.tensor, c.index) for c in chosen)
        return Planted(coordinates=coordinates, norm=listed.plan.norm)
    channels, size = images.shape[1], tuple(images.shape[2:])
    pictures = [torch.from_numpy(canaries.picture(c.seed, channels, size)) for c in chosen]
    made = torch.stack(pictures) if pictures else images[:0]
    return Planted(images=made, labels=torch.tensor([c.label for c in chosen], dtype=torch.int64))


def tell(site: str, plan: Plan, round: int) -> None:
    """Say loudly, in every round, that the update is not of this site's images alone."""
    logging.getLogger("medleak").warning(
        "%s, round %d: CANARIES are planted in this training (%s, by a coin each of %d): the "
        "update is not of this site's images alone, and its record says so.",
        site,
        round,
        plan.kind,
        plan.count,
    )


def with_canaries(
    batches: list[Tensor], extra: Planted | None
) -> Iterator[tuple[Tensor, list[int]]]:
    """The batches of one epoch, and which canaries join each."""
    joined = extra.spread(len(batches)) if extra is not None else [[] for _ in batches]
    yield from zip(batches, joined, strict=True)

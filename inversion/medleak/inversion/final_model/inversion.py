"""Model inversion: images that a trained network takes for a class, with its own statistics.

DeepInversion (Yin et al. 2020, arXiv:1912.08795v2): a batch of images is moved until the network is
sure of their classes and every batch norm sees the means and variances that it keeps from training;
without batch norm the class alone is left (Fredrikson et al. 2015). What comes back is compared
with the training images and, as chance, with as many images of nobody's.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from medleak.custom.intervals import wilson
from medleak.inversion.client.batch_norm import recorded_statistics, tracking_layers
from medleak.inversion.final_model.references import Task, Training, trained
from medleak.inversion.losses import first_output, statistics_distance, task_loss, total_variation
from medleak.inversion.measures.similarity import pairwise_ssim

KNOWN = 0.9
"""SSIM from which an image came back, as in MedPFL."""

LEAD = 0.15
"""Ahead of every image of nobody's, which unrelated ones never were: the margin of an audit."""

Kind = Literal["leaks", "no leak found", "not known"]
RULE = (
    "leaks: an image with an SSIM of 0.9 or more with a training image, and more than with any of "
    "as many images of nobody's; or 0.15 ahead of all of these. no leak found: neither, nor is any "
    "0.15 ahead where there are more training images than nobody's; the lists agree with the "
    "record; and the same descent found the one image that a network had learnt by heart. not "
    "known: all else."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inversion:
    """How images are looked for.

    Attributes:
        images: In one batch, whose statistics are matched together.
        iterations: Steps of Adam.
        lr: Of the pixels.
        statistics, variation: Weights of those terms beside the class's loss.
    """

    images: int = 16
    iterations: int = 300
    lr: float = 0.05
    statistics: float = 1.0
    variation: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What came out of a model.

    Attributes:
        best: Largest SSIM with a training image; ``nobody``: with one of as many of nobody's.
        lead: Largest lead of a reconstruction's best training image over its best of nobody's, of
            as many images each; ``ahead``: of all training images, which may be more.
        closer: Share of reconstructions that are nearer to a training image, and its interval;
            0.5 by chance.
        easy: SSIM of the easy case above what its start had.
        statistics: Whether the network has any to match.
        doubt: What speaks against the training images being those; empty: nothing.
    """

    best: float
    nobody: float
    lead: float
    ahead: float
    closer: float
    lower95: float
    upper95: float
    easy: float
    statistics: bool
    doubt: str = ""

    @property
    def kind(self) -> Kind:
        """By `RULE`."""
        if (self.best >= KNOWN and self.best > self.nobody) or self.lead >= LEAD:
            return "leaks"
        return "no leak found" if self._unknown is None else "not known"

    @property
    def _unknown(self) -> str | None:
        """Why low figures would be no evidence; None: they would be."""
        if not self.easy >= LEAD:
            why = "" if self.statistics else ", which keeps no statistics of its training"
            return f"inversion failed on an easy case of this network{why}"
        if not self.ahead < LEAD:
            return (
                f"a reconstruction is {self.ahead:.2f} nearer to a training image than to any of "
                "nobody's, which are fewer: give more of those"
            )
        return self.doubt or None

    def __str__(self) -> str:
        """In words."""
        seen = (
            f"the nearest reconstruction has SSIM {self.best:.2f} with a training image and "
            f"{self.nobody:.2f} with one of as many of nobody's; {self.closer:.0%} of them are "
            f"nearer to a training image ({self.lower95:.0%} to {self.upper95:.0%}, by chance 50%)"
        )
        if self.kind == "not known":
            return f"not known: {self._unknown}; {seen}"
        return f"{self.kind}: {seen}"

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        names = ("best", "nobody", "lead", "ahead", "closer", "lower95", "upper95", "easy")
        names += ("statistics", "doubt")
        own = {name: getattr(self, name) for name in names}
        return {"kind": self.kind, "verdict": str(self), "rule": RULE} | own


def invert(
    model: nn.Module,
    task: Task,
    labels: Tensor,
    prior: Tensor,
    settings: Inversion,
    generator: torch.Generator,
) -> Tensor:
    """[N, C, ...] in [0, 1]: a batch of images that ``model`` would have seen in training.

    Args:
        model: In evaluation mode; not modified.
        task: For normalisation and loss.
        labels: [N] the class of each.
        prior: [1, C, ...] to start from, with noise.
        settings: Of the descent.
        generator: Of the noise.
    """
    kept = {name: _kept(layer) for name, layer in tracking_layers(model)}
    start = prior.expand(len(labels), *prior.shape[1:])
    images = (start + 0.2 * torch.randn(start.shape, generator=generator)).clamp(0, 1)
    images = images.detach().requires_grad_(True)
    optimizer = torch.optim.Adam([images], lr=settings.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.iterations)
    for _ in range(settings.iterations):
        optimizer.zero_grad()
        with recorded_statistics(model) as seen:
            out = first_output(model(task.normalise(images)))
        loss = task_loss(task.criterion, out, labels)
        if kept:
            loss = loss + settings.statistics * statistics_distance(seen, kept)
        (loss + settings.variation * total_variation(images)).backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            images.clamp_(0, 1)
    return images.detach()


def examine(
    model: nn.Module,
    task: Task,
    members: Tensor,
    nobody: tuple[Tensor, Tensor],
    classes: int,
    prior: Tensor,
    settings: Inversion,
    training: Training,
    generator: torch.Generator,
) -> Found:
    """Invert ``model``, and compare with what it was trained on.

    Args:
        model: In evaluation mode.
        task: As `invert`.
        members: [M, C, ...] training images of all sites; to measure only.
        nobody: [Z, C, ...] images of nobody's, with labels [Z].
        classes: Of the task.
        prior: As `invert`.
        settings: As `invert`.
        training: How the network of the easy case learns.
        generator: Of all draws.
    """
    labels = torch.arange(settings.images) % classes
    images = invert(model, task, labels, prior, settings, generator)
    others, n = nobody[0], min(len(members), len(nobody[0]))
    some = [torch.randperm(len(x), generator=generator)[:n] for x in (members, others)]
    with_all = pairwise_ssim(images, members)
    near = with_all[:, some[0]].max(1).values
    far = pairwise_ssim(images, others[some[1]]).max(1).values
    closer = float((near > far).double().mean())
    low, high = wilson(closer, len(images))
    return Found(
        best=float(with_all.max()),
        nobody=float(far.max()),
        lead=float((near - far).max()),
        ahead=float((with_all.max(1).values - far).max()),
        closer=closer,
        lower95=low,
        upper95=high,
        easy=_easy(task, others[:1], nobody[1][:1], prior, settings, training, generator),
        statistics=any(True for _ in tracking_layers(model)),
    )


def _easy(
    task: Task,
    image: Tensor,
    label: Tensor,
    prior: Tensor,
    settings: Inversion,
    training: Training,
    generator: torch.Generator,
) -> float:
    """How far the one image that a network learnt by heart comes back, above the start."""
    twice = image.expand(2, *image.shape[1:])
    learnt = trained(task, twice, label.expand(2), training, generator, epochs=60)
    found = invert(learnt, task, label.expand(2), prior, settings, generator)
    return float(pairwise_ssim(found, image).max() - pairwise_ssim(prior, image).max())


def _kept(layer: Any) -> tuple[Tensor, Tensor]:
    return layer.running_mean, layer.running_var

"""The client as an attacker imagines it: schedule, labels, and its update for candidate images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medleak.inversion.client.batch_norm import mixed_statistics
from medleak.inversion.client.labels import (
    classes_of,
    head,
    label_counts,
    label_of_one,
    soft_labels,
)
from medleak.inversion.client.surrogate import surrogate_statistics, surrogate_update
from medleak.inversion.client.training import (
    Schedule,
    SimulatedUpdate,
    epochs_of,
    simulate,
)
from medleak.inversion.losses import Statistics, first_output
from medleak.inversion.networks import layout_of
from medleak.inversion.observation import Observation


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Simulation:
    """A client that trains on candidate images, and what it would then send.

    Attributes:
        observation: The update to explain.
        network: Where training starts: the global model, or a stand-in.
        schedule: Of the local steps.
        observed: The update, local - global by parameter.
        unrolled_steps: Longer schedules are not unrolled; see
            :mod:`medleak.inversion.client.surrogate`.
        layout: Of the network's inputs in memory.
    """

    observation: Observation
    network: nn.Module
    schedule: Schedule
    observed: Mapping[str, Tensor]
    unrolled_steps: int = 8
    layout: torch.memory_format = torch.channels_last

    def update(self, images: Tensor, labels: Tensor) -> tuple[list[Tensor], Statistics]:
        """Update by parameter and mixed batch statistics, with a graph to images and labels.

        Args:
            images: [N, C, H, W] in [0, 1].
            labels: [N] int64, or [N, K] probabilities.
        """
        inputs, steps = self._inputs(images), len(self.schedule.batches)
        # What a step of Adam adds depends on all before it: no sum over points of a line.
        whole = self.schedule.rule.adaptive or self.schedule.accumulation > 1
        whole = whole or bool(self.schedule.rates) or self.schedule.clip_norm is not None
        criterion = self.observation.criterion
        update: SimulatedUpdate
        if whole or steps <= self.unrolled_steps:
            update = simulate(
                self.network, inputs, labels, self.schedule, criterion, checkpoint=steps > 1
            )
        else:
            update = surrogate_update(
                self.network,
                self.observed,
                inputs,
                labels,
                self.schedule,
                criterion,
            )
        statistics = mixed_statistics(self.network, update.buffers, steps)
        return list(update.parameters.values()), statistics

    def statistics(self, images: Tensor) -> Statistics:
        """Mixed batch statistics alone, by forward passes; needs no labels.

        Weights of later steps are taken on the line to the observed update.
        """
        buffers = surrogate_statistics(
            self.network,
            self.observed,
            self._inputs(images),
            self.schedule,
        )
        return mixed_statistics(self.network, buffers, len(self.schedule.batches))

    def _inputs(self, images: Tensor) -> Tensor:
        return self.observation.normalise(images).contiguous(memory_format=self.layout)


def simulation_of(
    observation: Observation, *, global_model: bool = True, unrolled_steps: int = 8
) -> Simulation:
    """The client of ``observation``, from the global model or from the factory's own weights.

    Raises:
        KnowledgeError, ValueError: See :func:`schedule_of`; the global model is withheld.
    """
    network = observation.network() if global_model else observation.untrained_network()
    # At batch 1 and one thread the default layout takes a slow path: twice the time.
    blank = torch.zeros(2, *image_shape(observation)[1:], device=observation.device)
    layout = layout_of(network, observation.normalise(blank))
    network = network.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
    return Simulation(
        observation=observation,
        network=network,
        schedule=schedule_of(observation),
        observed=observation.parameter_update,
        unrolled_steps=unrolled_steps,
        layout=layout,
    )


def schedule_of(observation: Observation) -> Schedule:
    """The client's schedule, images numbered in the order of their batches.

    Clients shuffle, so that each epoch groups the images anew; here every epoch has the groups
    of the first. The error is that of the order of training, which a small learning rate forgives.

    Without the learning rate a single step can still be simulated, up to its length.

    Raises:
        KnowledgeError: Number of images or (for several steps) batch size or learning rate are
            withheld.
        ValueError: The images make more steps than the client made, or see
            :meth:`Observation.check_replay`.
    """
    observation.check_replay()
    steps, n = observation.n_passes, observation.n_images
    if steps == 1:
        batches = epochs_of(n, n)
        if not observation.knowledge.lr and observation.optimizer == "sgd":
            return Schedule(batches=batches, lr=1.0)
    else:
        one = epochs_of(n, observation.batch_size)
        if len(one) > steps:
            raise ValueError(
                f"{n} images in batches of {observation.batch_size} make {len(one)} steps, the "
                f"update counts {steps}: some images were not trained on, or the site's statement "
                "is wrong. Correct n_images or batch_size in its record."
            )
        batches = (one * -(-steps // len(one)))[:steps]
    return Schedule(
        batches=batches,
        lr=observation.lr,
        momentum=observation.momentum,
        weight_decay=observation.weight_decay,
        optimizer=observation.optimizer,
        betas=observation.betas,
        eps=observation.eps,
        clip_norm=observation.clip_norm,
        accumulation=observation.accumulation_steps,
        rates=observation.lr_factors,
    )


def image_shape(observation: Observation) -> tuple[int, ...]:
    """[N, C, *size] of the images to find."""
    return observation.n_images, observation.image_channels, *observation.spatial_size


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Labels as far as they are known: fixed [N], or unknowns to optimise [N, K]."""

    fixed: Tensor | None
    unknown: Sequence[Tensor]

    def of(self, others: Sequence[Tensor], observation: Observation) -> Tensor:
        """For the training loss, given the present values ``others`` of the unknowns."""
        if self.fixed is not None:
            return self.fixed
        return soft_labels(others[0], observation.criterion)

    def classes(self, others: Sequence[Tensor]) -> Tensor:
        """[N] int64 on the CPU, given the final values ``others`` of the unknowns."""
        return (classes_of(others[0]) if self.fixed is None else self.fixed).cpu()


def labels_of(simulation: Simulation, stand_in: Tensor, generator: torch.Generator) -> Labels:
    """Labels as the attacker's knowledge has them: known, inferred, or unknowns.

    Unknowns start uniform in [0, 1] (TMI 2023, arXiv:2202.06924v2, section II-B). Inferred ones
    are the sign rule for one image, and counts for several, spread evenly over the steps (which
    image has which is free within a step).

    Args:
        simulation: Of the client.
        stand_in: [N, C, H, W] in [0, 1], whose outputs stand for the unknown images' own.
        generator: Of unknowns.

    Raises:
        ValueError: Labels are to be inferred, and the network has no linear head with a bias or
            its gradient is broken.
    """
    observation, n = simulation.observation, len(stand_in)
    device = observation.device
    if observation.knowledge.labels == "known":
        return Labels(observation.labels, ())
    if observation.knowledge.labels == "optimised":
        shape = (n, observation.num_classes)
        unknown = torch.rand(shape, generator=generator, device=generator.device)
        return Labels(None, (unknown.to(device),))
    name = f"{head(simulation.network)}.bias"
    if name not in observation.parameter_names:
        raise ValueError(
            "The network's last linear layer has no bias: labels cannot be inferred from the "
            "update. Use Knowledge(labels='optimised') or known ones."
        )
    update = simulation.observed[name]
    if n == 1:
        return Labels(label_of_one(-update), ())
    with torch.no_grad():
        logits = first_output(simulation.network(observation.normalise(stand_in)))
    outputs = soft_labels(logits, observation.criterion).mean(0)
    if simulation.schedule.rule.adaptive:
        raise ValueError(
            f"Labels of several images cannot be counted from {observation.optimizer}'s update, "
            "whose entries are nearly signs. Use Knowledge(labels='optimised') or known ones, or "
            "row_space, which reads labels once it has the images."
        )
    schedule = simulation.schedule
    gradient = -update / (schedule.lr * (sum(schedule.rates) or schedule.steps))
    counts = label_counts(gradient, outputs, n, observation.criterion)
    labels = torch.arange(len(counts), device=device).repeat_interleave(counts)
    first_epoch = -(-n // len(simulation.schedule.batches[0]))
    spread = torch.cat([labels[k::first_epoch] for k in range(first_epoch)])
    return Labels(spread, ())

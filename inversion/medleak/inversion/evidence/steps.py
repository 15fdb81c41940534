"""The local steps of a round: their batches, and the weights at which each was made."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medleak.inversion.evidence.probe import Probe
from medleak.inversion.observation import Observation

_MAX_PROBES = 8  # Each is a copy of the network; steps beyond share the nearest one.


@dataclass(frozen=True, slots=True)
class LocalStep:
    """A local step: which images were its batch, and how far the round had gone.

    Attributes:
        images: Indices into the candidate images.
        progress: Share of the round's weight update already made, in [0, 1).
        visits: Times that the batch was seen in the round at weights so different that each visit
            has row-space directions of its own.
    """

    images: slice
    progress: float
    visits: int = 1

    @property
    def size(self) -> int:
        """Images in the batch."""
        return self.images.stop - self.images.start


def client_steps(observation: Observation) -> tuple[LocalStep, ...]:
    """The distinct batches of the round, each with the mean progress of its steps.

    Several epochs visit every batch again; the weights between barely move, so the visits count
    as one at their mean progress. How images were shuffled between epochs is not known: the
    grouping of the first is taken for all. Where an optimiser step has several forward passes, each
    pass is a batch of its own, and those of a step were made at one progress.
    """
    n, size, passes = observation.n_images, observation.batch_size, observation.n_passes
    batches = -(-n // size)
    epochs = max(1, round(passes / batches))
    made = progress_of(observation, epochs * batches)
    return tuple(
        LocalStep(
            images=slice(k * size, min((k + 1) * size, n)),
            progress=sum(made[e * batches + k] for e in range(epochs)) / epochs,
        )
        for k in range(batches)
    )


def apart(observation: Observation) -> tuple[LocalStep, ...] | None:
    """One batch seen several times, each visit for itself; None where the round is no such one.

    The first visit was made at the global weights, whatever became of them afterwards.
    """
    if observation.n_steps < 2 or observation.accumulation_steps > 1:
        return None
    first, *others = client_steps(observation)
    if others:
        return None
    return (LocalStep(images=first.images, progress=0.0, visits=observation.n_steps),)


def progress_of(observation: Observation, passes: int) -> list[float]:
    """Share of the round's update that was made before each forward pass.

    Passes of one optimiser step share their weights. Momentum makes later steps longer, and a
    schedule of the learning rate each step as it says.
    """
    together = observation.accumulation_steps
    steps = -(-passes // together)
    momentum = observation.momentum if observation.knowledge.lr else 0.0
    factors = observation.lr_factors
    lengths, velocity = [], 0.0
    for k in range(steps):
        velocity = momentum * velocity + 1
        lengths.append(velocity * (factors[min(k, len(factors) - 1)] if factors else 1.0))
    before = [sum(lengths[:k]) / sum(lengths) for k in range(steps)]
    return [before[p // together] for p in range(passes)]


def network_at(observation: Observation, progress: float) -> nn.Module:
    """The network with ``progress`` (0 to 1) of the round's weight update made."""
    network, update = observation.network(), observation.parameter_update
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.add_(update[name], alpha=progress)
    return network


def probes(
    observation: Observation,
    steps: Sequence[LocalStep],
    *,
    frozen: Collection[str] = (),
    branches: Mapping[str, float] | None = None,
) -> Mapping[float, Probe]:
    """A probe for the progress of every step; no more than a few different ones.

    Batch norms named in ``frozen`` were in evaluation mode; branches that are skipped at random
    had the factors ``branches``.
    """
    levels = sorted({s.progress for s in steps})
    stride = -(-len(levels) // _MAX_PROBES)
    found: dict[float, Probe] = {}
    for i in range(0, len(levels), stride):
        group = levels[i : i + stride]
        probe = Probe(
            network_at(observation, sum(group) / len(group)),
            mean=observation.mean,
            std=observation.std,
            image_shape=(observation.image_channels, *observation.spatial_size),
            frozen=frozen,
            branches=branches,
        )
        found |= dict.fromkeys(group, probe)
    return found


def batch_weights(observation: Observation, norm: str, batches: int) -> Tensor:
    """[batches] weights of the batches' statistics in the running statistics of ``norm``."""
    weights = observation.bn_step_weights(norm)
    padded = torch.zeros(-(-len(weights) // batches) * batches, device=weights.device)
    padded[: len(weights)] = weights
    return padded.view(-1, batches).sum(0)

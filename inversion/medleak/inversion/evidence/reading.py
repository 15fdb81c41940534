"""One update, laid out for the sources of evidence: steps, probes, layers, and what is known of it.

Everything is computed when a source first asks for it: an update whose images follow from algebra
never pays for a probe.
"""

import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from medleak.inversion.evidence.algebra.completion import completed, enough_known
from medleak.inversion.evidence.algebra.rounding import rounding_variance
from medleak.inversion.evidence.branches import factors, random_branches
from medleak.inversion.evidence.layers import ConvLayer
from medleak.inversion.evidence.linear.layers import LinearLayer, linear_layers
from medleak.inversion.evidence.probe import Probe
from medleak.inversion.evidence.ranks import (
    Span,
    fitting_ranks,
    ran_frozen,
    read_span,
    visits_show,
)
from medleak.inversion.evidence.steps import LocalStep, apart, client_steps, probes
from medleak.inversion.losses import Statistics
from medleak.inversion.observation import Observation
from medleak.inversion.optimisers.of_client import UndoneSteps, adds_gradients, undone_steps

_COMPLETED = 2  # row spaces of one rank: the first may have a stride, and then shows no features
_CLEAR = 3.0  # gap of a completion: below, its smallest directions are guessed
_MISFIT = 5.0  # mean square of a completion that fits is 1; of one with a rank too few, 40 and more


class Reading:
    """What sources read from.

    Attributes:
        observation: The update as the attacker sees it.
        max_noise: Row spaces and rows with more expected noise are left out of what is used.
        min_gap: Row spaces that stand out less are left out.
    """

    def __init__(
        self, observation: Observation, *, max_noise: float = 0.01, min_gap: float = 1.1
    ) -> None:
        """Nothing is read yet."""
        self.observation = observation
        self.max_noise, self.min_gap = max_noise, min_gap

    @cached_property
    def undone(self) -> UndoneSteps | None:
        """What undoing a first step of Adam tells, where the client made one and no more."""
        return undone_steps(self.observation)

    @cached_property
    def linear(self) -> bool:
        """Whether `update` is a sum of gradients, so that its rows mix the inputs of layers."""
        return self.undone is not None or adds_gradients(self.observation)

    @cached_property
    def update(self) -> Mapping[str, Tensor]:
        """By parameter, at any one scale: what the gradients of the steps add up to.

        Where the update is no sum of gradients (`linear`), it is the update itself.
        """
        return self.observation.parameter_update if self.undone is None else self.undone.gradient

    @cached_property
    def error(self) -> Mapping[str, Tensor]:
        """Standard deviation of each entry of `update`, where more is known than its rounding.

        Infinite where an entry is but a lower bound.
        """
        return {} if self.undone is None else self.undone.error

    def rounding(self, name: str) -> float:
        """Standard deviation that float32 left on an entry of `update`; 0 where that is not told.

        Every step rounds the weight itself. Of an update far below its last digit only a few
        entries are left, as behind the scale of 1e-6 that a ConvNeXt's branches begin with.
        """
        variance = rounding_variance(self.weights[name], self.update[name])
        if variance is None:
            return 0.0
        return float(self.observation.n_steps * variance.mean()) ** 0.5

    @cached_property
    def weights(self) -> Mapping[str, Tensor]:
        """Of the global model, by parameter."""
        return {n: p.detach() for n, p in self.observation.network().named_parameters()}

    @cached_property
    def steps(self) -> tuple[LocalStep, ...]:
        """The client's batches."""
        together, separate = client_steps(self.observation), apart(self.observation)
        if separate is None or not self.linear:
            return together
        convs = self._first_probe.convs
        shown = visits_show(convs, self.update, together, separate)
        return separate if shown else together

    @property
    def drifted(self) -> bool:
        """Whether weights moved so far within the round that its visits of a batch differ.

        Then only the first visit's weights are known: what all visits mix tells nothing.
        """
        return any(s.visits > 1 for s in self.steps)

    @property
    def images(self) -> int:
        """Of all batches."""
        return sum(s.size for s in self.steps)

    @cached_property
    def frozen(self) -> tuple[str, ...]:
        """Batch norms that ran in evaluation mode: running statistics that did not move say so.

        Where the attacker sees none, the ranks of the convolutions do.
        """
        if self.observation.has_bn_statistics:
            return self.observation.frozen_norms
        probe = self._first_probe
        if not probe.norms or not ran_frozen(probe.convs, self.update, self.steps):
            return ()
        return probe.norms

    @cached_property
    def _first_probe(self) -> Probe:
        """As if every batch norm had been in training mode."""
        steps = client_steps(self.observation)[:1]  # `steps` is read with it
        return next(iter(probes(self.observation, steps, branches=self.branches).values()))

    @cached_property
    def branches(self) -> Mapping[str, float]:
        """What the client multiplied the branches by that it skips at random."""
        network = self.observation.network()
        if not random_branches(network):
            return {}
        shape = (2, self.observation.image_channels, *self.observation.spatial_size)
        example = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        inputs = self.observation.normalise(example.to(self.observation.device))
        alone = self.observation.n_images == 1 and self.observation.n_steps == 1
        return factors(network, self.update, inputs, together=alone)

    @cached_property
    def probes(self) -> Mapping[float, Probe]:
        """Progress of a step -> the network at the weights that it had then."""
        return probes(self.observation, self.steps, frozen=self.frozen, branches=self.branches)

    @property
    def probe(self) -> Probe:
        """That of the first step."""
        return next(iter(self.probes.values()))

    @property
    def convs(self) -> tuple[ConvLayer, ...]:
        """Convolutions whose inputs the probes can show, as they run."""
        return self.probe.convs

    @cached_property
    def linear_layers(self) -> tuple[LinearLayer, ...]:
        """Layers that apply a matrix to vectors, and the two factors of a low-rank one."""
        observation = self.observation
        shape = (2, observation.image_channels, *observation.spatial_size)
        example = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        inputs = observation.normalise(example.to(observation.device))
        return linear_layers(observation.network().eval(), inputs)

    @cached_property
    def statistics(self) -> Statistics:
        """Batch statistics by norm layer in training mode; none where the attacker sees none."""
        if not self.observation.has_bn_statistics or self.drifted:
            return {}
        frozen = set(self.frozen)
        return {n: s for n, s in self.observation.bn_statistics.items() if n not in frozen}

    @cached_property
    def row_spaces(self) -> Mapping[str, Span]:
        """By convolution, as they run; noisy ones are among them."""
        if not self.linear:
            return {}
        if self.undone is not None:
            return self._completed(self.undone)
        found = {}
        for conv in self.convs:
            weight = f"{conv.name}.weight"
            update, rounding = self.update[weight], self.rounding(weight)
            found[conv.name] = read_span(conv, update, self.steps, rounding)
        return {name: span for name, span in found.items() if span is not None}

    def _completed(self, undone: UndoneSteps) -> Mapping[str, Span]:
        """Row spaces of gradients whose known entries tell the others.

        Of layers with one rank, the first few: each costs seconds, and later ones add little. Not
        of linear layers: a ViT's rank of hundreds would cost many minutes.
        """
        found: dict[str, Span] = {}
        done: Counter[int] = Counter()
        for conv in self.convs:
            ranks = fitting_ranks(conv, self.steps)
            if conv.kind == "linear" or conv.centred not in ranks:
                continue
            if done[ranks[conv.centred]] == _COMPLETED:
                continue
            entries = undone[f"{conv.name}.weight"].arranged(conv.matrix)
            for centred, rank in ranks.items():
                if not enough_known(entries.saturated, rank):
                    continue
                matrix = completed(entries, rank)
                if matrix.misfit > _MISFIT:
                    continue
                if matrix.space.gap >= _CLEAR:
                    found[conv.name] = Span(replace(conv, centred=centred), matrix.space)
                    done[ranks[conv.centred]] += 1
                break
        return found

    @cached_property
    def sigma(self) -> float | None:
        """Standard deviation of the noise on an entry of `update`; None where nothing tells it.

        From the singular values that should be zero, or the moves that no step of Adam makes.
        """
        if self.undone is not None:
            return self.undone.how.noise
        every = [s.space.sigma for s in self.row_spaces.values()]
        return statistics.median(every) if every else None

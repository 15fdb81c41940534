"""What an attacker may see of one recorded update, and nothing beside it."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from medleak.custom.record import InputSpec, Record
from medleak.inversion.knowledge import Knowledge, KnowledgeError
from medleak.inversion.losses import Statistics
from medleak.inversion.networks import build_network, load_global_state
from medleak.inversion.schedule import SeenSchedule


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Observation(SeenSchedule):
    """One update as the attacker sees it; made by :func:`observe`.

    Everything that knowledge may withhold is a method or property that raises
    :class:`KnowledgeError` where it does; what the record does not say raises
    :class:`medleak.custom.record.UnknownError` when it is asked for. All tensors are float32 on
    ``device``, and private copies: what an attack does to them, the record and other attacks do not
    see.

    Attributes:
        device: Where the tensors are.
        image_channels: Channels to look for: 1 if the images are known to be gray, else the
            network's.
        mean: Normalisation, one value a network channel; 0 where it is not known.
        std: Likewise, positive; 1 where it is not known.
        parameter_names: In the order of ``named_parameters()``.
    """

    device: torch.device
    image_channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    parameter_names: tuple[str, ...]
    _network: nn.Module
    _untrained: nn.Module
    _global: dict[str, Tensor]
    _input: InputSpec
    _labels: Tensor | None

    def network(self) -> nn.Module:
        """A new copy of the network with the global weights, in the mode in which it was trained.

        That is training mode, but for norm layers that are seen to have been in evaluation mode.
        """
        self._need(self.knowledge.global_model, "the global model", "global_model")
        return self._as_trained(self._network)

    def untrained_network(self) -> nn.Module:
        """A new copy with the factory's own weights: all there is without the global model."""
        return self._as_trained(self._untrained)

    @property
    def spatial_size(self) -> tuple[int, ...]:
        """(H, W) of an image, (H, W, D) of a volume."""
        return self._input.spatial_size

    @property
    def parameter_update(self) -> dict[str, Tensor]:
        """local - global by parameter; proportional to the gradient without the learning rate."""
        return {n: self._update[n].clone() for n in self.parameter_names}

    @property
    def silent(self) -> bool:
        """Whether every entry of all that was sent is zero: weights, statistics and counters."""
        return not any(bool(u.any()) for u in self._update.values())

    @property
    def gradient(self) -> dict[str, Tensor]:
        """-update / lr by parameter: for plain SGD the sum of the local steps' gradients."""
        return {n: -v / self.lr for n, v in self.parameter_update.items()}

    @property
    def has_bn_statistics(self) -> bool:
        """Whether the attacker sees running statistics of at least one norm layer."""
        return self.knowledge.bn_statistics and bool(self._norm_layers())

    @property
    def bn_statistics(self) -> Statistics:
        """The batch statistics that the update reveals, by norm layer.

        For K local steps with momentum m the running statistics give one weighted mean of the
        steps' batch statistics, sum_k w_k s_k = (r_K - (1-m)^K r_0) / (1 - (1-m)^K), with the
        weights of :meth:`bn_step_weights`. For K = 1 they are the statistics of the batch.
        """
        self._need(self.has_bn_statistics, "batch-norm statistics", "bn_statistics")
        found = {}
        for name, layer in self._norm_layers().items():
            kept = self._kept(name, layer)
            found[name] = tuple(
                self._global[key] + self._update[key] / (1 - kept)
                for key in (f"{name}.running_mean", f"{name}.running_var")
            )
        return found

    @property
    def frozen_norms(self) -> tuple[str, ...]:
        """Norm layers whose running statistics did not move at all: they ran in evaluation mode."""
        self._need(self.has_bn_statistics, "batch-norm statistics", "bn_statistics")
        still = frozen_norms(self._network, self._update)
        return tuple(name for name in self._norm_layers() if name in still)

    def bn_step_weights(self, layer: str) -> Tensor:
        """[K] weights, summing to 1, with which the passes' statistics mix in ``layer``."""
        self._need(self.has_bn_statistics, "batch-norm statistics", "bn_statistics")
        steps, momentum = self.n_passes, self._norm_layers()[layer].momentum
        if momentum is None:  # PyTorch's cumulative average: every step counts the same.
            return torch.full((steps,), 1 / steps, device=self.device)
        ages = torch.arange(steps - 1, -1, -1, device=self.device)
        weights = momentum * (1 - momentum) ** ages
        return weights / weights.sum()

    def bn_noise_gain(self, layer: str) -> float:
        """What noise on the update of a running statistic of ``layer`` is multiplied by here."""
        self._need(self.has_bn_statistics, "batch-norm statistics", "bn_statistics")
        return 1 / (1 - self._kept(layer, self._norm_layers()[layer]))

    @property
    def labels(self) -> Tensor:
        """[N] int64, where they are known."""
        if self._labels is None:
            raise KnowledgeError("the labels", "labels")
        return self._labels.clone()

    def normalise(self, images: Tensor) -> Tensor:
        """[B, C, H, W] pixels in [0, 1] to model units: gray is repeated, then (x - mean) / std.

        Volumes [B, C, H, W, D] likewise.
        """
        channels, axes = len(self.mean), images.ndim - 2
        mean, std = (
            torch.tensor(v, device=images.device).view(channels, *[1] * axes)
            for v in (self.mean, self.std)
        )
        return (images.expand(-1, channels, *[-1] * axes) - mean) / std

    def _as_trained(self, network: nn.Module) -> nn.Module:
        clone = copy.deepcopy(network).train()
        for name in self.frozen_norms if self.has_bn_statistics else ():
            clone.get_submodule(name).eval()
        return clone

    def _norm_layers(self) -> dict[str, nn.modules.batchnorm._BatchNorm]:
        return {
            name: module
            for name, module in self._network.named_modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm)
            and all(f"{name}.{k}" in s for k in _RUNNING for s in (self._update, self._global))
        }

    def _kept(self, name: str, layer: nn.modules.batchnorm._BatchNorm) -> float:
        """Share of the running statistic of before the round that is left after it."""
        if layer.momentum is None:
            seen = float(self._global.get(f"{name}.num_batches_tracked", torch.zeros(())))
            return seen / (seen + self.n_passes)
        return (1 - layer.momentum) ** self.n_passes


_RUNNING = ("running_mean", "running_var")


def frozen_norms(network: nn.Module, update: Mapping[str, Tensor | np.ndarray]) -> list[str]:
    """Norm layers of ``network`` whose running statistics are in ``update`` and did not move."""
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        and all(f"{name}.{k}" in update for k in _RUNNING)
        and not any(bool(update[f"{name}.{k}"].any()) for k in _RUNNING)
    ]


def network_channels(network: nn.Module) -> int | None:
    """Channels that the network's first convolution takes; None without one."""
    first = next((m for m in network.modules() if isinstance(m, nn.modules.conv._ConvNd)), None)
    return None if first is None else first.in_channels


def normalisation(
    spec: InputSpec, network: nn.Module
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std, a value a channel of ``network``; 0 and 1 where the record does not say.

    Raises:
        ValueError: The record has values for another number of channels.
    """
    said = len(spec.mean or spec.std or ())
    takes = network_channels(network) or said or max(spec.channels, 3)
    found = []
    for name, values, usual in (("mean", spec.mean, 0.0), ("std", spec.std, 1.0)):
        if values is None or len(set(values)) == 1:
            found.append((values[0] if values else usual,) * takes)
        elif len(values) != takes:
            raise ValueError(
                f"The record's input has {len(values)} values of {name} and the network takes "
                f"{takes} channels: no image would fit both. Give --mean and --std with {takes}."
            )
        else:
            found.append(values)
    if spec.channels not in (1, takes):
        raise ValueError(
            f"The record's images have {spec.channels} channels and the network takes {takes}: "
            "they do not belong together. Give --input HEIGHTxWIDTHxCHANNELS."
        )
    return found[0], found[1]


def observe(
    record: Record,
    knowledge: Knowledge,
    *,
    device: torch.device | str = "cpu",
    labels: Tensor | None = None,
    stale_global: Mapping[str, np.ndarray] | None = None,
    allowed_prefixes: Sequence[str] = (),
    network: nn.Module | None = None,
) -> Observation:
    """Show ``record`` to an attacker with ``knowledge``.

    Args:
        record: As read from disk; not modified, nothing of it shared.
        knowledge: What the attacker may see.
        device: Where the attack will run.
        labels: [N] classes of the client's images, if and only if ``knowledge.labels`` is
            ``known``.
        stale_global: The earlier round's global model that the attacker has instead of this
            round's, if and only if ``knowledge.model_round`` is not ``current``.
        allowed_prefixes: Origins of model factories that the caller trusts beside the usual
            (:func:`medleak.inversion.networks.build_network`).
        network: The record's network, where the caller has it: it is copied, and nothing is
            imported because the record says so.

    Raises:
        ValueError: The network cannot be built, the record is of another model, the update lacks
            a parameter, or ``labels`` or ``stale_global`` disagree with ``knowledge``.
    """
    if (knowledge.labels == "known") != (labels is not None):
        raise ValueError(
            f"labels are {'given' if labels is not None else 'missing'} while the attacker's "
            f"labels are {knowledge.labels!r}: results would state a wrong knowledge."
        )
    if (knowledge.model_round == "current") != (stale_global is None):
        raise ValueError(
            f"A stale global model is {'missing' if stale_global is None else 'given'} while the "
            f"attacker's model_round is {knowledge.model_round!r}: results would state a wrong "
            "knowledge."
        )
    target, manifest = torch.device(device), record.manifest
    spec = manifest.known_input()
    if network is None:
        model = manifest.known_model()
        network = build_network(model.path, model.args, allowed_prefixes=allowed_prefixes)
    network = copy.deepcopy(network).to(target)
    untrained = copy.deepcopy(network)
    known = record.global_state if stale_global is None else stale_global
    state, update = (_tensors(s, target) for s in (known, record.update))
    load_global_state(network, state)
    names = tuple(name for name, _ in network.named_parameters())
    if missing := [n for n in names if n not in update or update[n].shape != state[n].shape]:
        raise ValueError(
            f"The update of round {record.info.round}, site {record.info.site} lacks or misshapes "
            f"{len(missing)} parameters, first {missing[0]!r}: an attack would invert another "
            "update than the site sent. Only batch-norm statistics may be withheld."
        )
    mean, std = normalisation(spec, network)
    gray = knowledge.channels and spec.channels == 1
    return Observation(
        knowledge=knowledge,
        device=target,
        image_channels=1 if gray else len(mean),
        mean=mean,
        std=std,
        parameter_names=names,
        _network=network,
        _untrained=untrained,
        _global=state,
        _update=update,
        _info=record.info,
        _input=spec,
        _task=manifest.task,
        _labels=None if labels is None else labels.to(target, torch.int64, copy=True),
    )


def _tensors(arrays: Mapping[str, np.ndarray], device: torch.device) -> dict[str, Tensor]:
    return {
        name: torch.from_numpy(np.array(a, dtype=np.float32)).to(device)
        for name, a in arrays.items()
    }

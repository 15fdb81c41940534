"""What an attacker may see of one recorded update, and nothing beside it."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from medleak.custom.record import (
    OPTIMIZERS,
    SCHEDULE,
    InputSpec,
    Record,
    TaskSpec,
    UnknownError,
    UpdateInfo,
)
from medleak.inversion.losses import REPLAYED, Criterion, Statistics
from medleak.inversion.networks import build_network, load_global_state

LabelKnowledge = Literal["known", "inferred", "optimised"]
ModelRound = Literal["current", "previous", "initial"]
PriorImage = Literal["given", "gray", "other"]


class KnowledgeError(ValueError):
    """An attack asked for something that the attacker's declared knowledge withholds."""

    def __init__(self, need: str, field: str) -> None:
        """``need`` in words, ``field`` of :class:`Knowledge` that withholds it."""
        super().__init__(
            f"The attack needs {need}, which this attacker does not know ({field} is withheld): a "
            f"result would claim less knowledge than it used. Grant Knowledge({field}=...) or "
            "choose an attack that does without."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What the attacker knows beside the update's weights; part of every result.

    Attributes:
        global_model: The model that the round started from.
        bn_statistics: Running batch-norm statistics and step counters, before and after (an
            update under FedBN does not hold them, whatever is granted here).
        labels: ``known``: given to the attack. ``inferred``: computed from the update.
            ``optimised``: unknowns like the pixels.
        batch_size: Images in a local step.
        lr: Learning rate of the local steps.
        n_images: Images in the client's training set.
        prior: A mean image of public data.
        channels: Whether images are gray; without it the attack looks for colour images.
        model_round: Which global model the attacker takes for the round's own: ``current`` (it is),
            or, stale, that of the ``previous`` or of the first (``initial``) recorded round.
        prior_image: The prior that the attack gets: the ``given`` one, or a wrong one: ``gray``, or
            of an ``other`` kind of image. Measures stay relative to the given one.
    """

    global_model: bool = True
    bn_statistics: bool = True
    labels: LabelKnowledge = "inferred"
    batch_size: bool = True
    lr: bool = True
    n_images: bool = True
    prior: bool = True
    channels: bool = True
    model_round: ModelRound = "current"
    prior_image: PriorImage = "given"

    def __post_init__(self) -> None:
        """Reject kinds of knowledge that nothing implements."""
        if self.labels not in ("known", "inferred", "optimised"):
            raise ValueError(f"labels must be known, inferred or optimised, got {self.labels!r}.")
        for name, kinds in (("model_round", ModelRound), ("prior_image", PriorImage)):
            if (value := getattr(self, name)) not in get_args(kinds):
                raise ValueError(f"{name} must be {_or(get_args(kinds))}, got {value!r}.")

    def describe(self) -> str:
        """One line for a result: ``all, labels inferred``, or what is withheld or wrong."""
        off = [f.name for f in fields(self) if getattr(self, f.name) is False]
        text = f"{'without ' + '+'.join(off) if off else 'all'}, labels {self.labels}"
        text += "" if self.prior_image == "given" else f", prior {self.prior_image}"
        return text + ("" if self.model_round == "current" else f", model {self.model_round}")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Observation:
    """One update as the attacker sees it; made by :func:`observe`.

    Everything that knowledge may withhold is a method or property that raises
    :class:`KnowledgeError` where it does; what the record does not say raises
    :class:`medleak.custom.record.UnknownError` when it is asked for. All tensors are float32 on
    ``device``, and private copies: what an attack does to them, the record and other attacks do not
    see.

    Attributes:
        knowledge: What was granted.
        device: Where the tensors are.
        image_channels: Channels to look for: 1 if the images are known to be gray, else the
            network's.
        mean: Normalisation, one value a network channel; 0 where it is not known.
        std: Likewise, positive; 1 where it is not known.
        parameter_names: In the order of ``named_parameters()``.
    """

    knowledge: Knowledge
    device: torch.device
    image_channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    parameter_names: tuple[str, ...]
    _network: nn.Module
    _untrained: nn.Module
    _global: dict[str, Tensor]
    _update: dict[str, Tensor]
    _info: UpdateInfo
    _input: InputSpec
    _task: TaskSpec | None
    _labels: Tensor | None

    def network(self) -> nn.Module:
        """A new copy of the network with the global weights, in training mode."""
        self._need(self.knowledge.global_model, "the global model", "global_model")
        return copy.deepcopy(self._network).train()

    def untrained_network(self) -> nn.Module:
        """A new copy with the factory's own weights: all there is without the global model."""
        return copy.deepcopy(self._untrained).train()

    @property
    def spatial_size(self) -> tuple[int, ...]:
        """(H, W) of an image, (H, W, D) of a volume."""
        return self._input.spatial_size

    @property
    def criterion(self) -> Criterion:
        """The training loss's name."""
        return self._known_task.criterion

    @property
    def num_classes(self) -> int:
        """Outputs of the network."""
        return self._known_task.num_classes

    @property
    def _known_task(self) -> TaskSpec:
        if self._task is None:
            raise UnknownError("the training loss", "--task cross_entropy:CLASSES or the like")
        return self._task

    @property
    def parameter_update(self) -> dict[str, Tensor]:
        """local - global by parameter; proportional to the gradient without the learning rate."""
        return {n: self._update[n].clone() for n in self.parameter_names}

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
        return tuple(
            name
            for name in self._norm_layers()
            if not any(self._update[f"{name}.{k}"].any() for k in _RUNNING)
        )

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
    def n_passes(self) -> int:
        """Forward passes in training: from the norm layers' counters, else as the site declares."""
        return self._counted or self.n_steps * self.accumulation_steps

    @property
    def n_steps(self) -> int:
        """Local optimiser steps: from the norm layers' counters, else as the site declares."""
        if passes := self._counted:
            return -(-passes // self.accumulation_steps)
        self._need(self.knowledge.batch_size, "the number of local steps", "batch_size")
        return self._info.known("n_steps")

    @property
    def _counted(self) -> int | None:
        """Forward passes that norm layers in training mode counted."""
        if not self.knowledge.bn_statistics:
            return None
        counters = [v for k, v in self._update.items() if k.endswith("num_batches_tracked")]
        # Some norms may have been in evaluation mode, where nothing is counted.
        passes = round(max((float(c) for c in counters), default=0.0))
        return passes if passes >= 1 else None

    @property
    def local_epochs(self) -> int:
        """Passes over the client's images in this round."""
        self._need(self.knowledge.batch_size, "the number of local epochs", "batch_size")
        return self._info.known("local_epochs")

    @property
    def batch_size(self) -> int:
        """Images in a forward pass of a local step, at most ``n_images``.

        Where a step has several passes, sites declare the images of either; counters tell which.
        """
        self._need(self.knowledge.batch_size, "the batch size", "batch_size")
        n, size = self._info.n_images, self._info.known("batch_size")
        if n is None:
            return size
        if self.accumulation_steps > 1:
            passes, epochs = self.n_passes, self._info.local_epochs or 1
            if -(-n // size) * epochs != passes:
                size = max(1, -(-n * epochs // passes))
        return min(size, n)

    @property
    def n_images(self) -> int:
        """Images that the client trained on."""
        self._need(self.knowledge.n_images, "the number of images", "n_images")
        return self._info.known("n_images")

    @property
    def lr(self) -> float:
        """Learning rate of this round's local steps."""
        self._need(self.knowledge.lr, "the learning rate", "lr")
        return self._info.known("lr")

    @property
    def momentum(self) -> float:
        """SGD momentum of the local steps; 0 where it is not known, as of a first step."""
        return self._setting("momentum", 0.0)

    @property
    def weight_decay(self) -> float:
        """Weight decay of the local steps; 0 where it is not known."""
        return self._setting("weight_decay", 0.0)

    @property
    def optimizer(self) -> str:
        """``sgd``, ``adam``, ``adamw`` or another name; ``sgd`` where it is not known."""
        return self._setting("optimizer", "sgd")

    @property
    def betas(self) -> tuple[float, float]:
        """Adam's; PyTorch's defaults where they are not known."""
        return self._setting("betas", (0.9, 0.999))

    @property
    def eps(self) -> float:
        """Adam's; PyTorch's default where it is not known."""
        return self._setting("eps", 1e-8)

    @property
    def clip_norm(self) -> float | None:
        """L2 norm that each step's gradient was clipped to; None: to none, or it is not known."""
        return self._setting("clip_norm", None)

    @property
    def accumulation_steps(self) -> int:
        """Forward passes of an optimiser step.

        Where a site does not say, but norm layers counted several times the steps that it does
        declare, they counted passes; else 1.
        """
        if (said := self._info.accumulation_steps) is not None:
            return said
        steps, passes = self._info.n_steps, self._counted
        if not steps or not passes or not self.knowledge.batch_size or passes % steps:
            return 1
        return passes // steps

    @property
    def precision(self) -> str:
        """Numbers of the forward pass; ``float32`` where it is not known."""
        return self._setting("precision", "float32")

    @property
    def state_kept(self) -> bool:
        """Whether the optimiser went on with the last round's state; False where not known."""
        return self._setting("state_kept", False)

    @property
    def augmentation(self) -> tuple[str, ...] | None:
        """Names of what was done to the images before the network; None: it is not known."""
        return self._info.augmentation

    def source(self, field: str) -> str:
        """Who said a field of the schedule: ``declared``, ``given``, ``inferred``, ``unknown``."""
        return self._info.sources[field]

    def _setting(self, field: str, usual: Any) -> Any:
        """A setting of the optimiser, or what is usual where the record does not say."""
        if field in _OF_THE_STEP_SIZE:
            self._need(self.knowledge.lr, SCHEDULE[field], "lr")
        value = getattr(self._info, field)
        return usual if value is None else value

    @property
    def labels(self) -> Tensor:
        """[N] int64, where they are known."""
        if self._labels is None:
            raise KnowledgeError("the labels", "labels")
        return self._labels.clone()

    @property
    def fresh_state(self) -> bool:
        """Whether the optimiser began this round without any state, as far as is known."""
        return not self.state_kept or self._info.round == 0

    def check_replay(self) -> None:
        """Refuse clients whose local steps no attack here can repeat.

        Raises:
            ValueError: Labels that are masks, a loss or an optimiser that is not repeated here, or
                state of the optimiser from an earlier round.
        """
        if self.criterion == "segmentation_cross_entropy":
            raise ValueError(
                "The client was trained on masks, which this attack can neither infer nor know: "
                "it would match a loss that nobody computed. Use row_space, which needs no labels."
            )
        if self.criterion not in REPLAYED:
            raise ValueError(
                f"The client's loss is {self.criterion!r}, and this attack repeats "
                f"{' and '.join(REPLAYED)}: it would match a loss that nobody computed. Choose an "
                "attack that needs no labels."
            )
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(
                f"The client's optimizer is {self.optimizer!r}, and this attack repeats steps of "
                f"{', '.join(OPTIMIZERS)}: it would match an update that nobody computed. "
                "Use row_space: the batch-norm statistics that it uses do not depend on the "
                "optimiser."
            )
        if not self.fresh_state and (self.optimizer != "sgd" or self.momentum):
            raise ValueError(
                f"The client keeps {self.optimizer}'s state over rounds, and what it was before "
                "this round is not known: steps from zero would be another client's. Attack its "
                "first round, or use row_space, which uses batch-norm statistics all the same."
            )

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

    def _need(self, granted: bool, need: str, field: str) -> None:
        if not granted:
            raise KnowledgeError(need, field)


_OF_THE_STEP_SIZE = ("momentum", "weight_decay", "betas", "eps", "clip_norm")
"""Settings of the optimiser that go with knowing the learning rate."""

_RUNNING = ("running_mean", "running_var")


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


def _or(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _tensors(arrays: Mapping[str, np.ndarray], device: torch.device) -> dict[str, Tensor]:
    return {
        name: torch.from_numpy(np.array(a, dtype=np.float32)).to(device)
        for name, a in arrays.items()
    }

"""What an attacker sees of how the site trained: its loss, its local steps, its optimiser."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from medleak.custom.record import OPTIMIZERS, SCHEDULE, TaskSpec, UnknownError, UpdateInfo
from medleak.inversion.knowledge import Knowledge, KnowledgeError
from medleak.inversion.losses import REPLAYED, Criterion


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SeenSchedule:
    """How one site trained in one round, as the attacker sees it.

    The update's own counters come first, then what the site says. What knowledge withholds raises
    :class:`medleak.inversion.knowledge.KnowledgeError`, what nobody said
    :class:`medleak.custom.record.UnknownError`, each when it is asked for.

    Attributes:
        knowledge: What was granted.
    """

    knowledge: Knowledge
    _update: dict[str, Tensor]
    _info: UpdateInfo
    _task: TaskSpec | None

    @property
    def criterion(self) -> Criterion:
        """The training loss's name."""
        return self._known_task.criterion

    @property
    def num_classes(self) -> int:
        """Outputs of the network."""
        return self._known_task.num_classes

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
        """Learning rate of this round's local steps; of a schedule, the highest."""
        self._need(self.knowledge.lr, "the learning rate", "lr")
        if self._info.lr is None and self._info.lr_schedule:
            return max(self._info.lr_schedule)
        return self._info.known("lr")

    @property
    def lr_factors(self) -> tuple[float, ...]:
        """Learning rate of each local step as a share of `lr`; empty where there is no schedule.

        Raises:
            ValueError: The schedule has another number of steps than the update counts.
        """
        rates = self._info.lr_schedule
        if not rates or not self.knowledge.lr:
            return ()
        if len(rates) != self.n_steps:
            raise ValueError(
                f"lr_schedule has {len(rates)} learning rates for {self.n_steps} local steps: the "
                "weights between them would be nobody's. Correct it by --schedule lr_schedule=..."
            )
        return tuple(rate / self.lr for rate in rates)

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
                "this round is not known: steps from zero would be another client's. Of SGD it is "
                "where the round before is recorded, and both are one step. Attack the site's "
                "first round, or use row_space, which uses batch-norm statistics all the same."
            )

    @property
    def _known_task(self) -> TaskSpec:
        if self._task is None:
            raise UnknownError("the training loss", "--task cross_entropy:CLASSES or the like")
        return self._task

    @property
    def _counted(self) -> int | None:
        """Forward passes that norm layers in training mode counted."""
        if not self.knowledge.bn_statistics:
            return None
        counters = [v for k, v in self._update.items() if k.endswith("num_batches_tracked")]
        # Some norms may have been in evaluation mode, where nothing is counted.
        passes = round(max((float(c) for c in counters), default=0.0))
        return passes if passes >= 1 else None

    def _setting(self, field: str, usual: Any) -> Any:
        """A setting of the optimiser, or what is usual where the record does not say."""
        if field in _OF_THE_STEP_SIZE:
            self._need(self.knowledge.lr, SCHEDULE[field], "lr")
        value = getattr(self._info, field)
        return usual if value is None else value

    def _need(self, granted: bool, need: str, field: str) -> None:
        if not granted:
            raise KnowledgeError(need, field)


_OF_THE_STEP_SIZE = ("momentum", "weight_decay", "betas", "eps", "clip_norm")
"""Settings of the optimiser that go with knowing the learning rate."""

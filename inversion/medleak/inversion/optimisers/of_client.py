"""The optimiser of an observed client, and its first step undone where it took just one."""

from collections.abc import Iterator, Mapping

from torch import Tensor

from medleak.custom.record import UnknownError
from medleak.inversion.knowledge import KnowledgeError
from medleak.inversion.observation import Observation
from medleak.inversion.optimisers.first_step import (
    FirstStep,
    NotFirstStepError,
    Undone,
    read_first_step,
    shown_rate,
    undo,
)
from medleak.inversion.optimisers.rule import RULES, Rule, rule_named

_ANY_RATE = 1.0


def rule_of(observation: Observation) -> Rule:
    """The client's optimiser.

    Raises:
        KnowledgeError: The learning rate is withheld.
        medleak.custom.record.UnknownError: It was never said.
        ValueError: It is none that can be replayed.
    """
    return _rule(observation, observation.lr)


def adds_gradients(observation: Observation) -> bool:
    """Whether updates are sums of gradients, so that rows and ranks say what they do of SGD.

    SGD and its kin (``sgd_fedprox``, ``dp_sgd``); one that nobody named is taken for it.
    """
    return observation.optimizer.startswith(("sgd", "dp_sgd"))


class UndoneSteps(Mapping[str, Undone]):
    """By parameter, what undoing the client's only step tells; computed when asked for, not kept.

    Attributes:
        how: The rule, with the learning rate that the update shows, and noise.
    """

    def __init__(self, observation: Observation, how: FirstStep) -> None:
        """See :func:`undone_steps`."""
        self.how = how
        self._update = observation.parameter_update
        self._weights = dict(observation.network().named_parameters())

    def __getitem__(self, name: str) -> Undone:
        """Of one parameter."""
        weights = self._weights[name].detach()
        return undo(self._update[name], weights, self.how.rule, noise=self.how.noise)

    def __iter__(self) -> Iterator[str]:
        """In the order of the parameters."""
        return iter(self._update)

    def __len__(self) -> int:
        """Parameters."""
        return len(self._update)

    @property
    def gradient(self) -> Mapping[str, Tensor]:
        """Of the batch, by parameter, float32."""
        return _Parts(self, "gradient")

    @property
    def error(self) -> Mapping[str, Tensor]:
        """Standard deviation of its entries, float32; inf where they are but bounds."""
        return _Parts(self, "error")


class _Parts(Mapping[str, Tensor]):
    """One attribute of each: a large network's would not all fit into memory."""

    def __init__(self, undone: UndoneSteps, part: str) -> None:
        self._undone, self._part = undone, part

    def __getitem__(self, name: str) -> Tensor:
        return getattr(self._undone[name], self._part).float()

    def __iter__(self) -> Iterator[str]:
        return iter(self._undone)

    def __len__(self) -> int:
        return len(self._undone)


def undone_steps(observation: Observation) -> UndoneSteps | None:
    """What undoing Adam's first step tells; None where the client did another thing.

    Needs the global model. The learning rate is read from the update where it is not known.

    Raises:
        KnowledgeError: The global model is withheld.
    """
    if observation.optimizer not in ("adam", "adamw") or not observation.fresh_state:
        return None
    if observation.n_steps != 1:
        return None
    updates = observation.parameter_update
    weights = {n: p.detach() for n, p in observation.network().named_parameters()}
    try:
        rule = rule_of(observation)
    except (KnowledgeError, UnknownError):
        found = shown_rate(updates, weights, _rule(observation, _ANY_RATE))
        if found is None:
            return None
        rule = _rule(observation, found)
    try:
        return UndoneSteps(observation, read_first_step(updates, weights, rule))
    except NotFirstStepError:
        return None


def _rule(observation: Observation, lr: float) -> Rule:
    if not observation.knowledge.lr:  # which withholds the other settings, too
        return rule_named(observation.optimizer, lr=lr)
    return rule_named(
        observation.optimizer,
        lr=lr,
        momentum=observation.momentum,
        weight_decay=observation.weight_decay,
        betas=observation.betas,
        eps=observation.eps,
        clip_norm=observation.clip_norm,
    )


__all__ = ["RULES", "UndoneSteps", "adds_gradients", "rule_of", "undone_steps"]

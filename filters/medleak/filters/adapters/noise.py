"""Defences that add noise, as NVFlare filters."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from medleak.filters.adapters.defence import DefenceFilter
from medleak.filters.defences import (
    additive,
    clipped_gaussian,
    clipped_laplace,
    percentile_gaussian,
    perturbation,
)
from medleak.filters.defences.additive import Relation
from medleak.filters.privacy.accounting import noise_multiplier_for
from medleak.filters.update import Buffers


class PercentileGaussian(DefenceFilter):
    """:class:`~medleak.filters.defences.percentile_gaussian.PercentileGaussian`. ε: none."""

    _always_serialize_args: ClassVar = ("sigma0", "percentile", "scope", "buffers", "tasks")

    def __init__(
        self,
        sigma0: float,
        percentile: float = 95.0,
        scope: percentile_gaussian.Scope = "update",
        buffers: Buffers = "noise",
        tasks: Sequence[str] = ("train",),
        seed: int | None = None,
    ) -> None:
        """Take the defence's parameters, the protected tasks, and (tests only) a seed."""
        self.sigma0, self.percentile, self.scope, self.buffers = sigma0, percentile, scope, buffers
        super().__init__(
            percentile_gaussian.PercentileGaussian(
                sigma0=sigma0, percentile=percentile, scope=scope, buffers=buffers
            ),
            tasks=tasks,
            seed=seed,
        )


class Perturbation(DefenceFilter):
    """Noise of a fixed scale as a filter. Abstract: a subclass says of which law."""

    _always_serialize_args: ClassVar = ("scale", "level", "lr", "buffers", "tasks")
    _pure: ClassVar[type[additive.Perturbation]]

    def __init__(
        self,
        scale: float | None = None,
        level: float | None = None,
        lr: float = 1.0,
        buffers: Buffers = "noise",
        tasks: Sequence[str] = ("train",),
        seed: int | None = None,
    ) -> None:
        """Take the defence's parameters, the protected tasks, and (tests only) a seed."""
        self.scale, self.level, self.lr, self.buffers = scale, level, lr, buffers
        used = self._pure(scale=scale, level=level, lr=lr, buffers=buffers)
        super().__init__(used, tasks=tasks, seed=seed)


class LaplacePerturbation(Perturbation):
    """:class:`medleak.filters.defences.perturbation.LaplacePerturbation` as a filter. ε: none."""

    _pure: ClassVar = perturbation.LaplacePerturbation


class GaussianPerturbation(Perturbation):
    """:class:`medleak.filters.defences.perturbation.GaussianPerturbation` as a filter. ε: none."""

    _pure: ClassVar = perturbation.GaussianPerturbation


class ClippedMechanism(DefenceFilter):
    """Clip and noise as a filter, with a guarantee per client. Abstract: a subclass says which law.

    Give ``noise_multiplier``, or ``target_epsilon``, ``target_delta`` and ``rounds``, from which
    the least sufficient one is computed. To count ε over rounds, put
    :class:`medleak.filters.adapters.PrivacyLedger` after this filter.

    Only the noised update leaves, in a fixed form. ``disclose=["schedule"]`` lets the site's
    training schedule (number of images, steps, learning rate, …) out beside it, which an audit at
    the server needs, and ``metrics="pass"`` validation results, by which the server picks its best
    model. Both leave exactly: the guarantee then holds between data sets that are alike in them.
    """

    _always_serialize_args: ClassVar = (
        *("max_grad_norm", "noise_multiplier", "target_epsilon", "target_delta", "rounds"),
        *("relation", "buffers", "metrics", "tasks", "disclose"),
    )
    _pure: ClassVar[type[additive.ClippedMechanism]]
    _mechanism: ClassVar[Literal["gaussian", "laplace"]]

    def __init__(
        self,
        max_grad_norm: float,
        noise_multiplier: float | None = None,
        target_epsilon: float | None = None,
        target_delta: float | None = None,
        rounds: int | None = None,
        relation: Relation = "replace",
        buffers: Buffers = "drop",
        metrics: str = "drop",
        tasks: Sequence[str] = ("train",),
        seed: int | None = None,
        disclose: Sequence[str] = (),
    ) -> None:
        """Take the mechanism's parameters or targets, the policies and the protected tasks."""
        self.max_grad_norm, self.noise_multiplier = max_grad_norm, noise_multiplier
        self.target_epsilon, self.target_delta, self.rounds = target_epsilon, target_delta, rounds
        self.relation, self.buffers = relation, buffers
        targets = (noise_multiplier, target_epsilon, target_delta, rounds)
        used = self._pure(
            max_grad_norm=max_grad_norm,
            noise_multiplier=_multiplier(self._mechanism, *targets, relation),
            relation=relation,
            buffers=buffers,
        )
        super().__init__(used, tasks=tasks, seed=seed, metrics=metrics, disclose=disclose)


class ClippedGaussian(ClippedMechanism):
    """:class:`~medleak.filters.defences.clipped_gaussian.ClippedGaussian`: (ε, δ) per client."""

    _pure: ClassVar = clipped_gaussian.ClippedGaussian
    _mechanism: ClassVar = "gaussian"


class ClippedLaplace(ClippedMechanism):
    """:class:`medleak.filters.defences.clipped_laplace.ClippedLaplace` as a filter: ε per client.

    ``max_grad_norm`` bounds the L1 norm.
    """

    _pure: ClassVar = clipped_laplace.ClippedLaplace
    _mechanism: ClassVar = "laplace"


def _multiplier(
    mechanism: Literal["gaussian", "laplace"],
    given: float | None,
    target_epsilon: float | None,
    target_delta: float | None,
    rounds: int | None,
    relation: Relation,
) -> float:
    targets = (target_epsilon, target_delta, rounds)
    if given is not None and targets == (None, None, None):
        return given
    if given is None and target_epsilon is not None and target_delta is not None and rounds:
        return noise_multiplier_for(
            mechanism,
            target_epsilon=target_epsilon,
            target_delta=target_delta,
            rounds=rounds,
            relation=relation,
        )
    raise ValueError(
        f"Give either noise_multiplier or all of target_epsilon, target_delta and rounds; got "
        f"noise_multiplier={given}, target_epsilon={target_epsilon}, target_delta={target_delta}, "
        f"rounds={rounds}."
    )

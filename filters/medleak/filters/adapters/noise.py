"""Defences that add noise, as NVFlare filters."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from medleak.filters.adapters.defence import DefenceFilter
from medleak.filters.defences import (
    clipped_gaussian,
    clipped_laplace,
    percentile_gaussian,
    perturbation,
)
from medleak.filters.defences.clipped_gaussian import Relation
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


class LaplacePerturbation(DefenceFilter):
    """:class:`medleak.filters.defences.perturbation.LaplacePerturbation` as a filter. ε: none."""

    _always_serialize_args: ClassVar = ("scale", "level", "lr", "buffers", "tasks")

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
        super().__init__(
            perturbation.LaplacePerturbation(scale=scale, level=level, lr=lr, buffers=buffers),
            tasks=tasks,
            seed=seed,
        )


class GaussianPerturbation(DefenceFilter):
    """:class:`medleak.filters.defences.perturbation.GaussianPerturbation` as a filter. ε: none."""

    _always_serialize_args: ClassVar = ("scale", "level", "lr", "buffers", "tasks")

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
        super().__init__(
            perturbation.GaussianPerturbation(scale=scale, level=level, lr=lr, buffers=buffers),
            tasks=tasks,
            seed=seed,
        )


class ClippedGaussian(DefenceFilter):
    """:class:`~medleak.filters.defences.clipped_gaussian.ClippedGaussian`: (ε, δ) per client.

    Give ``noise_multiplier``, or ``target_epsilon``, ``target_delta`` and ``rounds``, from which
    the least sufficient one is computed. ``metrics="drop"`` removes validation results that travel
    beside the update without noise; the server then cannot pick its best model by them. To count
    ε over rounds, put :class:`medleak.filters.adapters.PrivacyLedger` after this filter.
    """

    _always_serialize_args: ClassVar = (
        *("max_grad_norm", "noise_multiplier", "target_epsilon", "target_delta", "rounds"),
        *("relation", "buffers", "metrics", "tasks"),
    )

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
    ) -> None:
        """Take the mechanism's parameters or targets, the policies and the protected tasks."""
        self.max_grad_norm, self.noise_multiplier = max_grad_norm, noise_multiplier
        self.target_epsilon, self.target_delta, self.rounds = target_epsilon, target_delta, rounds
        self.relation, self.buffers = relation, buffers
        super().__init__(
            clipped_gaussian.ClippedGaussian(
                max_grad_norm=max_grad_norm,
                noise_multiplier=_multiplier(
                    "gaussian", noise_multiplier, target_epsilon, target_delta, rounds, relation
                ),
                relation=relation,
                buffers=buffers,
            ),
            tasks=tasks,
            seed=seed,
            metrics=metrics,
        )


class ClippedLaplace(DefenceFilter):
    """:class:`medleak.filters.defences.clipped_laplace.ClippedLaplace` as a filter: ε per client.

    Arguments as :class:`ClippedGaussian`; ``max_grad_norm`` bounds the L1 norm.
    """

    _always_serialize_args: ClassVar = ClippedGaussian._always_serialize_args

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
    ) -> None:
        """Take the mechanism's parameters or targets, the policies and the protected tasks."""
        self.max_grad_norm, self.noise_multiplier = max_grad_norm, noise_multiplier
        self.target_epsilon, self.target_delta, self.rounds = target_epsilon, target_delta, rounds
        self.relation, self.buffers = relation, buffers
        super().__init__(
            clipped_laplace.ClippedLaplace(
                max_grad_norm=max_grad_norm,
                noise_multiplier=_multiplier(
                    "laplace", noise_multiplier, target_epsilon, target_delta, rounds, relation
                ),
                relation=relation,
                buffers=buffers,
            ),
            tasks=tasks,
            seed=seed,
            metrics=metrics,
        )


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

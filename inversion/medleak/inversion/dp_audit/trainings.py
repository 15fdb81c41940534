"""DP-SGD put to the test by many small trainings, with a canary and without.

Where planted canaries test a run, this tests the code that trains: the jobs' own
`medleak.custom.training.dp_sgd.train_dp_sgd`, on a network of one layer and an image of nothing.
The canary is the mechanism's worst case, a gradient of one coordinate, longer than any clip.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from medleak.custom.training.dp_sgd import DPSGD, train_dp_sgd
from medleak.custom.training.planting import Planted
from medleak.custom.training.sgd import LocalSGD, Normalisation
from medleak.filters.noise import NoiseSource
from medleak.filters.privacy import accounting
from medleak.filters.privacy.accounting import Guarantee
from medleak.filters.spec import Spec

NAME = "dp_sgd"
_LENGTH = 1000.0  # of the canary, over the clip
_SIDE = 4  # px: some hundred numbers, of which one is the canary's
_TENSOR = "1.weight"
_PLAIN = Normalisation((0.0,) * 3, (1.0,) * 3)
_KEYS = ("noise_multiplier", "sample_rate", "steps")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """Scores of many trainings, as `medleak.filters.doctor.neighbours.Releases` of filters."""

    scores: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
    guarantee: Guarantee
    relation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is tried: `DPSGD` over ``local_epochs``."""

    mechanism: DPSGD
    local_epochs: int

    @classmethod
    def parse(cls, text: str) -> "Trial":
        """Read ``dp_sgd:noise_multiplier=1,sample_rate=0.1,steps=10``; max_grad_norm is 1.

        Raises:
            ValueError: A number is missing, or is none that a mechanism has.
        """
        args: dict[str, Any] = Spec.parse(text).args
        if set(args) - {"max_grad_norm"} != set(_KEYS):
            raise ValueError(
                f"{text!r}: give {', '.join(_KEYS)} (and max_grad_norm), as "
                f"{NAME}:noise_multiplier=1,sample_rate=0.1,steps=10."
            )
        accounting.dp_sgd(**{key: args[key] for key in _KEYS})
        norm = args.get("max_grad_norm", 1.0)
        if isinstance(norm, bool) or not isinstance(norm, int | float):
            raise ValueError(f"max_grad_norm={norm!r} is no number: it bounds an image's gradient.")
        mechanism = DPSGD(
            noise_multiplier=args["noise_multiplier"],
            max_grad_norm=norm,
            sample_rate=args["sample_rate"],
        )
        epochs, rest = divmod(args["steps"], mechanism.steps(1))
        if rest:
            raise ValueError(
                f"{text!r}: at this sample_rate an epoch has {mechanism.steps(1)} steps, and only "
                "whole epochs are trained. Give a multiple as steps."
            )
        return cls(mechanism=mechanism, local_epochs=epochs)


def trained(trial: Trial, count: int) -> Trained:
    """Train ``count`` times with the canary and as often without.

    Half as many pairs follow each other directly, one with and one without: noise that is used
    twice cancels in their difference.
    """
    scores = {
        "release": _several(count, lambda canary: _score(trial, canary)),
        "repetition": _several(
            count // 2, lambda canary: _score(trial, canary) - _score(trial, not canary)
        ),
    }
    mechanism = trial.mechanism
    guarantee = accounting.dp_sgd(**mechanism.declaration(trial.local_epochs))
    return Trained(scores=scores, guarantee=guarantee, relation=guarantee.relation)


def _several(
    count: int, score: Callable[[bool], float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = (np.array([score(canary) for _ in range(count)]) for canary in (True, False))
    return first, second


def _score(trial: Trial, with_canary: bool) -> float:
    """Change of the canary's weight, about 1 a time that it was drawn."""
    mechanism = trial.mechanism
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * _SIDE * _SIDE, 2))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()  # no rounding hides a small step, and no drawing costs time
    images, labels = torch.zeros(1, 1, _SIDE, _SIDE), torch.zeros(1, dtype=torch.int64)
    coordinates = ((_TENSOR, 0),) if with_canary else ()
    train_dp_sgd(
        network,
        images,
        labels,
        LocalSGD(batch_size=1, local_epochs=trial.local_epochs, lr=mechanism.sample_rate),
        mechanism,
        _PLAIN,
        NoiseSource.secure(),
        Planted(coordinates=coordinates, norm=_LENGTH * mechanism.max_grad_norm),
    )
    changed = network.get_parameter(_TENSOR).detach().view(-1)[0]
    return -float(changed) / mechanism.max_grad_norm

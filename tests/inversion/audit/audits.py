"""Attacks that know the answer, and audits with them."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from medleak.inversion.attacks.registry import AttackKind
from medleak.inversion.audit.plan import Plan
from medleak.inversion.audit.run import audit
from medleak.inversion.reconstruction import Progress, Reconstruction

NOISY = "percentile_gaussian:sigma0=10"


@dataclass(frozen=True, kw_only=True)
class Fake:
    """An attack that knows the answer, for tests of everything around attacks."""

    error: float = 0.0
    stuck: bool = False


def fake(images_of, calls=None, fail=lambda observation: None, ending: Any = "finished"):
    """An attack table whose one attack returns ``images_of(observation)`` plus some error."""

    def run(attack, observation, prior, *, generator, on_progress=None):
        fail(observation)
        if calls is not None:
            calls.append((observation, prior, generator.initial_seed()))
        images = images_of(observation)
        noise = torch.randn(images.shape, generator=generator)
        if on_progress is not None:
            on_progress(Progress(iteration=1, total=1, loss=0.5, seconds=0.1))
        return Reconstruction(
            images=(images + attack.error * noise).clamp(0, 1),
            labels=torch.zeros(len(images), dtype=torch.int64),
            losses={"bn": 0.002, "span": 1e-7},
            history=torch.tensor([1.0, 0.5]),
            iterations=2,
            seconds=0.25,
            attempts=3,
            stuck=attack.stuck,
            ending=ending,
        )

    return {"fake": lambda: AttackKind(Fake, run)}


def plan_of(run, tmp_path, **changes):
    settings = {"attacks": ["fake"], "prior": "phantoms", "out": tmp_path / "audit", **changes}
    return Plan(records=run.records, **settings)


def outcomes(plan, table, **kwargs) -> list[Any]:
    kwargs.setdefault("health", False)
    return list(audit(plan, attacks=table, **kwargs))


@dataclass(frozen=True, kw_only=True)
class Steady:
    """An attack of fixed length, to be stopped on its way."""

    seconds: float = 0.03
    die: str = ""  # a file: it kills its own process once, and leaves the file behind


def steady(attack, observation, prior, *, generator, on_progress=None):
    """Smooth nonsense that depends on the seed alone, after ``seconds``."""
    for iteration in range(3):
        time.sleep(attack.seconds / 3)
        if on_progress is not None:
            state = Progress(iteration=iteration + 1, total=3, loss=0.5, seconds=0.0)
            on_progress(state)
    shape = (observation.n_images, observation.image_channels, *observation.spatial_size)
    if attack.die and not Path(attack.die).exists():
        Path(attack.die).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return Reconstruction(
        images=torch.rand(shape, generator=generator),
        labels=None,
        losses={"bn": 0.1},
        history=torch.zeros(3),
        iterations=3,
        seconds=attack.seconds,
    )


def _steady_kind() -> AttackKind:
    return AttackKind(Steady, steady)


STEADY = {"steady": _steady_kind}
"""Unlike what `fake` makes, this goes to other processes."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """An attack that has one image in a file, for processes: it is right for sites of one image."""

    file: str = ""


def known(attack, observation, prior, *, generator, on_progress=None):
    images = torch.full(
        (observation.n_images, observation.image_channels, *observation.spatial_size), 0.5
    )
    if observation.n_images == 1:
        images = torch.load(attack.file, weights_only=True)
    return Reconstruction(
        images=images,
        labels=None,
        losses={"bn": 0.1},
        history=torch.zeros(1),
        iterations=1,
        seconds=0.1,
    )


def _known_kind() -> AttackKind:
    return AttackKind(Known, known)


KNOWN = {"known": _known_kind}

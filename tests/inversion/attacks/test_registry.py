"""Tests of attacks by name."""

import dataclasses
import inspect
from dataclasses import dataclass

import pytest
from hypothesis import strategies as st

from medleak.inversion.attacks.registry import ATTACKS, AttackKind, attack_of


@dataclass(frozen=True, kw_only=True)
class Toy:
    steps: int = 3
    lr: float = 0.1
    levels: tuple[int, ...] = (4, 8)

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}.")


def run(*_, **__):
    raise AssertionError("a plan runs no attack")


TABLE = {"toy": lambda: AttackKind(Toy, run)}


texts = st.text(st.characters(codec="utf-8"), max_size=30)


def test_an_attack_is_its_name_and_its_settings():
    kind, settings = attack_of("toy:steps=7, lr=1e-3,levels=4|8|16", TABLE)
    assert kind.run is run
    assert settings == Toy(steps=7, lr=1e-3, levels=(4, 8, 16))
    assert attack_of("toy", TABLE)[1] == Toy()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("tox", "Unknown attack 'tox'; known are toy"),
        ("toy:stops=7", "has no 'stops'; it takes steps, lr, levels"),
        ("toy:steps", "'steps' is not of the form key=value"),
        ("toy:steps=many", "steps = 'many'"),
        ("toy:steps=0", "steps must be at least 1, got 0"),
    ],
)
def test_an_attack_that_cannot_be_is_refused_in_one_line(spec, message):
    with pytest.raises(ValueError, match=message) as caught:
        attack_of(spec, TABLE)
    assert "\n" not in str(caught.value)


def test_every_attack_of_the_table_can_be_had_with_its_defaults():
    for name in ATTACKS:
        kind, settings = attack_of(name)
        assert dataclasses.is_dataclass(settings)
        assert callable(kind.run)


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_every_attack_of_the_table_can_be_had_by_name(name):
    kind, settings = attack_of(name)
    assert isinstance(settings, kind.settings)
    parameters = list(inspect.signature(kind.run).parameters)
    assert parameters[1:] == ["observation", "prior", "generator", "on_progress"]

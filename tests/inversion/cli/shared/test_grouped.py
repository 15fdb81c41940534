"""Tests of medleak.inversion.cli.shared.grouped."""

import dataclasses
import inspect
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from medleak.inversion.cli.shared.grouped import grouped


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
    device: str = "cpu"
    names: Annotated[list[str], typer.Option("--name", help="Of the machine.")] = dataclasses.field(
        default_factory=lambda: ["one"]
    )


def app_of(command):
    app = typer.Typer()
    app.command()(command)
    return app


@pytest.fixture
def told():
    return []


@pytest.fixture
def train(told):
    def train(epochs: int = 1, *, machine: Machine, quick: bool = False) -> None:
        """Train."""
        told.append((epochs, machine, quick))

    return grouped(train)


def test_options_of_a_group_stand_where_the_group_stood(train):
    names = list(inspect.signature(train).parameters)
    assert names == ["epochs", "device", "names", "quick"]


def test_a_command_gets_the_record_that_the_options_make(train, told):
    args = ["--epochs", "2", "--device", "cuda", "--name", "a", "--name", "b", "--quick"]
    result = CliRunner().invoke(app_of(train), args)
    assert result.exit_code == 0, result.output
    assert told == [(2, Machine(device="cuda", names=["a", "b"]), True)]


def test_defaults_are_the_records_own(train, told):
    assert CliRunner().invoke(app_of(train), []).exit_code == 0
    assert told == [(1, Machine(), False)]


def test_help_of_a_field_is_that_of_its_option(train):
    shown = CliRunner().invoke(app_of(train), ["--help"], env={"COLUMNS": "200"}).output
    assert "--name" in shown
    assert "Of the machine." in shown
    assert "--names" not in shown


def test_two_options_of_one_name_are_refused_when_the_command_is_made():
    def twice(device: str = "", *, machine: Machine) -> None: ...

    with pytest.raises(ValueError, match="duplicate parameter name: 'device'"):
        grouped(twice)

"""Tests of medleak.inversion.evaluation; what needs a record is in test_audit."""

import pytest
import torch

from medleak.filters.registry import declaration, defence
from medleak.inversion.evaluation import defence_text
from medleak.inversion.metrics import as_channels


@pytest.mark.parametrize(
    "spec", ["percentile_gaussian:sigma0=10", "percentile_gaussian:sigma0=0.5,scope=group"]
)
def test_a_declared_defence_reads_as_the_text_that_replays_it(spec):
    used = defence(spec)
    assert defence(defence_text(declaration(used))) == used


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        ({"name": "mine", "args": {}}, "mine"),
        ({"name": "mine", "args": {"a": [1, 2], "b": "x", "c": True}}, "mine:a=1|2,b=x,c=true"),
        ({"who": "another framework"}, '{"who": "another framework"}'),
        ({"name": "mine", "args": 3}, '{"args": 3, "name": "mine"}'),
    ],
)
def test_what_another_framework_declares_is_quoted(declared, text):
    assert defence_text(declared) == text


def test_a_declaration_cannot_command_a_terminal():
    text = defence_text({"name": "\x1b[2Jmine", "args": {"a": "\n"}})
    assert text.isprintable()


def test_colour_is_averaged_to_gray_and_gray_repeated_to_colour():
    colour = torch.tensor([0.2, 0.4, 0.9]).view(1, 3, 1, 1).expand(2, 3, 4, 5)
    torch.testing.assert_close(as_channels(colour, 1), torch.full((2, 1, 4, 5), 0.5))
    gray = torch.rand(2, 1, 4, 5)
    assert torch.equal(as_channels(gray, 3), gray.repeat(1, 3, 1, 1))
    assert as_channels(gray, 1) is gray

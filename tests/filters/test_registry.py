"""Tests of medleak.filters.registry."""

import pytest

from medleak.filters.defences.composition import Composition
from medleak.filters.defences.percentile_gaussian import PercentileGaussian
from medleak.filters.privacy.accounting import guarantee_of
from medleak.filters.registry import (
    DEFENCES,
    ROWS,
    build,
    declaration,
    declared_text,
    defence,
    row_of,
)


def test_a_defence_is_built_from_text():
    assert defence("percentile_gaussian:sigma0=10, scope=group") == PercentileGaussian(
        sigma0=10, scope="group"
    )


def test_a_declaration_builds_the_same_defence():
    used = PercentileGaussian(sigma0=0.5, buffers="drop")
    assert build(**declaration(used)) == used


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("percentile:sigma0=1", "Unknown defence 'percentile'; known are"),
        ("percentile_gaussian", "needs sigma0"),
        ("percentile_gaussian:sigma=1", "has no parameter 'sigma'; it takes sigma0, percentile"),
        ("percentile_gaussian:sigma0", "not of the form key=value"),
        ("percentile_gaussian:sigma0=ten", "sigma0 must be a finite number above 0, got 'ten'"),
        ("percentile_gaussian:sigma0=-1", "got -1"),
    ],
)
def test_a_spec_that_names_no_defence_is_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        defence(spec)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_says_what_its_defence_does(row):
    assert row_of(row.name) is row
    assert DEFENCES[row.name] is row.make
    assert row.words
    assert row.source
    used = defence(row.example_text)
    assert (guarantee_of(used) is not None) == row.formal
    fields = row.make.__dataclass_fields__
    assert {s.parameter for s in row.strengths} <= set(fields)
    for strength in row.strengths:
        assert (strength.low is None) == (strength.high is None)
        assert (strength.nothing > (strength.high or 0)) == strength.less_protects


def test_what_is_not_in_the_table_has_no_row():
    assert row_of("prayer") is None
    assert len({row.name for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize(
    "spec", ["percentile_gaussian:sigma0=10", "percentile_gaussian:sigma0=0.5,scope=group"]
)
def test_a_declared_defence_reads_as_the_text_that_replays_it(spec):
    used = defence(spec)
    assert defence(declared_text([declaration(used)])) == used


def test_several_declared_defences_are_one_text_that_replays_them():
    used = defence("withhold:layers=fc.*+sign+top_k:fraction=0.5")
    assert isinstance(used, Composition)
    text = declared_text([declaration(step) for step in used.steps])
    assert text == (
        "withhold:batch_norm=withhold_statistics,layers=fc.*| + sign:buffers=noise + "
        "top_k:fraction=0.5,buffers=noise"
    )
    assert defence(text) == defence(declared_text([declaration(used)])) == used
    assert declared_text([]) == ""


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        ({"name": "mine", "args": {}}, "mine"),
        ({"name": "mine", "args": {"a": [1, 2], "b": "x", "c": True}}, "mine:a=1|2,b=x,c=true"),
        ({"name": "nvflare_guard", "args": {"s": {"p": 10}}}, 'nvflare_guard:s={"p": 10}'),
        ({"who": "another framework"}, '{"who": "another framework"}'),
        ({"name": "mine", "args": 3}, '{"args": 3, "name": "mine"}'),
        ({"name": "mine:x", "args": {}}, '{"args": {}, "name": "mine:x"}'),
        ({"name": "composition", "args": {}}, '{"args": {}, "name": "composition"}'),
        (
            {"name": "composition", "args": {"steps": 3}},
            '{"args": {"steps": 3}, "name": "composition"}',
        ),
    ],
)
def test_what_another_framework_declares_is_quoted(declared, text):
    assert declared_text([declared]) == text


def test_a_declaration_cannot_command_a_terminal():
    text = declared_text([{"name": "\x1b[2Jmine", "args": {"a": "\n"}}])
    assert text.isprintable()

"""Strengths are read from a defence's text, and ordered from weak to strong."""

import pytest

from medleak.filters.registry import ROWS, defence
from medleak.filters.spec import SpecChain
from medleak.inversion.report.strengths import families, names_of, strength_of


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("none", "", None),
        ("sign", "", None),
        ("percentile_gaussian:sigma0=10,scope=group", "sigma0", 10),
        ("clipped_gaussian:max_grad_norm=1.0,noise_multiplier=20", "noise_multiplier", 20),
        ("gaussian_perturbation:scale=1e-3", "scale", 0.001),
        ("laplace_perturbation:level=.5", "level", 0.5),
        ("top_k:fraction=0.1", "fraction", 0.1),
        ("quantisation:bits=4", "bits", 4),
        ("withhold+percentile_gaussian:sigma0=3,percentile=95.0", "sigma0", 3),
        ("top_k:fraction=0.1+percentile_gaussian:sigma0=3", "sigma0", 3),
        ("sigma0=x", "", None),
        ("", "", None),
    ],
)
def test_the_number_that_is_turned_is_found(text, key, value):
    found = strength_of(text)
    assert (found.key, found.value) == (key, value)


TURNED = [(row, strength) for row in ROWS for strength in row.strengths]


@pytest.mark.parametrize(("row", "strength"), TURNED, ids=lambda x: getattr(x, "name", ""))
def test_every_defence_with_a_number_to_turn_has_a_strength(row, strength):
    others = {s.parameter for s in row.strengths} - {strength.parameter}
    value = 2 if not strength.less_protects or (strength.high or 2) >= 2 else 0.5
    chain = SpecChain.parse(row.example_text).without(*others)
    text = str(chain.with_(**{strength.parameter: value}))
    defence(text)  # it is one that an audit can replay
    found = strength_of(text)
    assert (found.key, found.value) == (strength.parameter, value)
    assert found.less_protects == strength.less_protects


def test_families_run_from_no_protection_to_the_strongest():
    noise = [f"percentile_gaussian:sigma0={s}" for s in (10, 0.5, 2)]
    kept = [f"top_k:fraction={f}" for f in (0.01, 0.5)]
    found = families([*noise, "none", *kept])
    assert [[s.label for s in stops] for stops in found.values()] == [
        ["none", "0.5", "2", "10"],
        ["none", "0.5", "0.01"],
    ]


def test_a_higher_level_is_less_noise():
    levels = [f"laplace_perturbation:level={level}" for level in (400, 100, 200)]
    (stops,) = families(levels).values()
    assert [s.label for s in stops] == ["400", "200", "100"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_defence_with_a_strength_in_its_row_has_one_here(row):
    found = strength_of(row.example_text)
    assert (found.value is not None) == bool(row.strengths)
    assert found.key in {"", *(s.parameter for s in row.strengths)}


def test_kinds_are_the_names_alone():
    assert names_of("withhold + top_k:fraction=0.1") == ("withhold", "top_k")
    assert names_of("no: spec") == ("no: spec",)


@pytest.mark.parametrize("defences", [["none"], []])
def test_without_any_replayed_defence_there_is_one_family_or_none(defences):
    assert len(families(defences)) == len(defences)

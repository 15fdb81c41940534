"""Strengths are read from a defence's text, and ordered from weak to strong."""

import pytest
from tests.inversion.figures.sweeps import row

from medleak.filters.registry import ROWS, defence
from medleak.filters.spec import SpecChain
from medleak.inversion.results.strength import (
    curve_of,
    families,
    names_of,
    protection,
    same,
    short_names,
    strength_of,
)


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


def test_a_declared_defence_protects_as_a_replayed_one():
    noise, kept = "percentile_gaussian:sigma0=10", "top_k:fraction=0.1"
    assert protection(row(declared="none", defence="none")) == "none"
    assert protection(row(declared=noise, defence="none")) == noise
    assert protection(row(declared="none", defence=noise)) == noise
    assert protection(row(declared=noise, defence=kept)) == f"{noise} + {kept}"


def test_a_family_is_the_text_without_its_number_and_titles_leave_it_open():
    found = strength_of("top_k:fraction=0.1 + percentile_gaussian:sigma0=3,scope=group")
    assert found.family == "top_k:fraction=0.1 + percentile_gaussian:scope=group"
    assert found.opened == "top_k:fraction=0.1+percentile_gaussian:sigma0=…,scope=group"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("none", 0.0),
        ("percentile_gaussian:sigma0=10", 10.0),
        ("top_k:fraction=0.1", None),
        ("unheard_of:sigma0=3", 3.0),
        ("percentile_gaussian:sigma0=1+percentile_gaussian:sigma0=2", None),
        ("no: spec", None),
    ],
)
def test_of_a_named_parameter_one_number_counts_and_no_defence_stands_at_zero(text, at):
    assert strength_of(text, "sigma0").at == at


def test_families_of_a_named_parameter_leave_the_others_out():
    texts = ["none", "top_k:fraction=0.1", "sign", "percentile_gaussian:sigma0=2"]
    found = families(texts, "sigma0")
    assert [[s.at for s in stops] for stops in found.values()] == [[0.0, 2.0]]
    assert families(["none", "sign"], "sigma0") == {}


def test_a_curve_has_the_points_that_were_found_in_the_order_of_strength():
    (stops,) = families([f"percentile_gaussian:sigma0={s}" for s in (10, 1, 3)] + ["none"]).values()
    found = {"percentile_gaussian:sigma0=10": "b", "none": "a", "sign": "c"}
    assert [(s.label, v) for s, v in curve_of(stops, found)] == [("none", "a"), ("10", "b")]


def test_the_same_protection_has_the_same_defaults():
    assert same("percentile_gaussian:sigma0=10", "percentile_gaussian:sigma0=10.0,scope=update")
    assert not same("percentile_gaussian:sigma0=10", "percentile_gaussian:sigma0=10,scope=group")
    assert same("not ours", "not ours")


def test_short_names_leave_out_what_all_begin_with():
    kinds = ["percentile_gaussian:scope=update", "percentile_gaussian:scope=group"]
    assert list(short_names(kinds).values()) == ["scope=update", "scope=group"]
    assert short_names(kinds[:1]) == {kinds[0]: kinds[0]}

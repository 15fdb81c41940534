"""Tests of medleak.filters.spec: one text, one record."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medleak.filters import registry, spec
from medleak.filters.registry import ROWS, declaration, declared_text, defence, spec_of
from medleak.filters.spec import Spec, SpecChain, rounded

plain = (
    st.text(max_size=12)
    | st.sampled_from(
        ["10", "true", "a|b", "1e+3", ".5", "{", '{"a": [1, 2]}', '"', "[]", "Infinity"]
    )
    | st.integers()
    | st.floats(allow_nan=False)
    | st.booleans()
    | st.none()
)
values = (
    plain | st.lists(plain, max_size=4).map(tuple) | st.dictionaries(st.text(max_size=3), plain)
)
names = st.text(max_size=12).filter(lambda s: s == s.strip() and s and not set(s) & set(':=,|+"{}'))
specs = st.builds(Spec.of, names, st.dictionaries(names, values, max_size=4))
chains = st.lists(specs, min_size=1, max_size=3).map(lambda steps: SpecChain(tuple(steps)))


@pytest.mark.parametrize("module", [spec, registry])
def test_the_examples_are_true(module):
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


@given(specs)
def test_a_spec_is_what_its_text_says(spec):
    assert Spec.parse(str(spec)) == spec


@given(chains)
def test_a_chain_is_what_its_text_says_with_spaces_or_without(chain):
    assert SpecChain.parse(str(chain)) == chain
    assert SpecChain.parse(" + ".join(map(str, chain.steps))) == chain


@given(st.text(st.characters(codec="utf-8") | st.sampled_from(':=,|+"{}'), max_size=40))
def test_any_text_is_read_to_a_record_that_says_the_same_or_refused(text):
    try:
        chain = SpecChain.parse(text)
    except ValueError:
        return
    written = str(chain)
    assert str(SpecChain.parse(written)) == written


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_defence_survives_its_own_text(row):
    used = defence(row.example_text)
    assert SpecChain.parse(str(spec_of(used))) == spec_of(used)
    assert defence(str(spec_of(used))) == used
    assert defence(declared_text([declaration(used)])) == used


@given(
    st.floats(1e-300, 1e300),
    st.sampled_from(["update", "group", "tensor"]),
    st.lists(st.text(min_size=1, max_size=9), max_size=3),
)
def test_a_defence_with_any_values_survives_its_text(sigma0, scope, layers):
    used = defence("withhold+percentile_gaussian:sigma0=1")
    chain = SpecChain.parse(f"withhold+percentile_gaussian:scope={scope}").with_(sigma0=sigma0)
    chain = SpecChain((chain.steps[0].with_(layers=layers or ["*"]), chain.last))
    used = defence(str(chain))
    assert defence(str(spec_of(used))) == used
    assert spec_of(used).last.number("sigma0") == sigma0


@given(specs, names, values)
def test_an_argument_is_set_in_its_place_and_taken_away(spec, key, value):
    changed = spec.with_(**{key: value})
    assert list(changed.args) == list(dict.fromkeys([*spec.args, key]))
    assert changed.without(key) == spec.without(key)
    assert next(iter(spec.led_by(**{key: value}).args)) == key
    assert spec.led_by(**{key: value}).args == changed.args


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ("x", {}),
        ("x:", {}),
        (" x : a = 1 , b=two", {"a": 1, "b": "two"}),
        ("x:a=1|2.5|c", {"a": (1, 2.5, "c")}),
        ("x:a=1|", {"a": (1,)}),
        ("x:a=|", {"a": ()}),
        ("x:a=.5,b=1e-3,c=1e+3", {"a": 0.5, "b": 0.001, "c": 1000.0}),
        ('x:a="10",b="c,d+e|f"', {"a": "10", "b": "c,d+e|f"}),
        ('x:a={"p": 1, "q": "r,s"},b=true', {"a": '{"p": 1, "q": "r,s"}', "b": True}),
        ("x:a=b:c=d", {"a": "b:c=d"}),
        ('x:a=["fc.*"]', {"a": ("fc.*",)}),
        ("x:a=" + "[" * 100_000, {"a": "[" * 100_000}),
    ],
)
def test_values_are_json_where_they_can_be(text, args):
    chain = SpecChain.parse(text)
    assert (chain.names, chain.last.args) == (("x",), args)
    assert SpecChain.parse(str(chain)) == chain


def test_the_plus_of_an_exponent_joins_nothing():
    chain = SpecChain.parse("gaussian_perturbation:scale=1e+3+top_k:fraction=0.5")
    assert chain.names == ("gaussian_perturbation", "top_k")
    assert str(chain) == "gaussian_perturbation:scale=1000.0+top_k:fraction=0.5"
    assert str(Spec.of("x", {"a": 1e300})) == "x:a=1e300"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is no name"),
        (":a=1", "'' is no name"),
        ("a=1", "'a=1' is no name"),
        ("x+", "'' is no name"),
        ("x:a", "'a' is not of the form key=value"),
        ("x:a=", "'a=' is not of the form key=value"),
        ("x:=1", "'=1' is not of the form key=value"),
        ("x:a=1,a=2", "a is given twice"),
        ("x:a b|c=1", "is no key"),
    ],
)
def test_what_is_no_spec_is_refused_with_the_part_that_is_wrong(text, message):
    with pytest.raises(ValueError, match=message):
        SpecChain.parse(text)


def test_an_empty_chain_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        SpecChain(())


def test_a_number_is_no_truth_and_no_text():
    spec = Spec.parse("x:a=3,b=true,c=three,d=0.5")
    assert [spec.number(k) for k in "abcde"] == [3.0, None, None, 0.5, None]
    assert Spec.of("x", {"a": 10**400}).number("a") is None


def test_strengths_are_written_as_people_do():
    assert [str(rounded(v)) for v in (10.0, 0.1, 1e-6, 1 / 3)] == ["10", "0.1", "1e-06", "0.333333"]

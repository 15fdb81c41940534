"""Tests of medleak.inversion.audit.plan."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medleak.inversion.attacks.registry import AttackKind
from medleak.inversion.audit.plan import Plan, knowledge_of
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.results.case import Case


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


@pytest.mark.parametrize("text", ["all", "", " "])
def test_all_knowledge_is_the_default(text):
    assert knowledge_of(text) == Knowledge()


def test_knowledge_is_given_by_what_is_withheld():
    text = "bn_statistics=false,labels=known"
    assert knowledge_of(text) == Knowledge(bn_statistics=False, labels="known")
    with pytest.raises(ValueError, match="labels"):
        knowledge_of("labels=guessed")


def test_the_cases_are_the_grid_in_order_of_round_and_site(make_run, tmp_path):
    run = make_run({"site-10": 1, "site-2": 1}, rounds=(0, 1))
    plan = Plan(
        records=run.records,
        out=tmp_path / "audit",
        rounds=[1],
        attacks=["toy"],
        defences=["none", "percentile_gaussian:sigma0=1"],
        seeds=[0, 5],
    )
    cases = plan.cases()
    assert [(c.site, c.defence, c.seed) for c in cases[:4]] == [
        ("site-2", "none", 0),
        ("site-2", "none", 5),
        ("site-2", "percentile_gaussian:sigma0=1", 0),
        ("site-2", "percentile_gaussian:sigma0=1", 5),
    ]
    assert len(cases) == 8
    assert {c.round for c in cases} == {1}
    assert len({c.name for c in cases}) == len({c.stream for c in cases}) == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rounds": [7]}, "Round 7 is not in .*recorded are rounds 0, 1"),
        ({"sites": ["site-7"]}, "Site site-7 is not in .*recorded are sites site-2"),
        ({"defences": ["percentile_gaussian:sigma0=-1"]}, "sigma0"),
        ({"defences": ["percentile_gaussian:sigma0=NaN"]}, "sigma0"),
        ({"defences": ["percentile_gaussian:sigma0=1,percentile=101"]}, "percentile"),
        ({"defences": ["prayer"]}, "Unknown defence 'prayer'"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(make_run, tmp_path, changes, message):
    run = make_run({"site-2": 1}, rounds=(0, 1))
    with pytest.raises(ValueError, match=message):
        Plan(records=run.records, out=tmp_path, **changes).cases()


@given(st.integers(0, 10**6), texts, texts, texts, texts, st.integers(0, 2**63))
def test_a_cases_name_is_a_plain_file_name_and_its_stream_a_seed(r, site, attack, text, know, seed):
    case = Case(r, site, attack, text, know, seed)
    assert case.name.isascii()
    assert len(case.name) < 200
    assert not set(case.name) & set('/\\:*?"<>| \n\0')
    assert 0 <= case.stream < 2**63
    assert case.stream == Case(r, site, attack, text, know, seed).stream
    assert case.stream != Case(r, site, attack, text, know, seed + 1).stream

"""Tests of medleak.inversion.results.verdict."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.inversion.rows import ROW

from medleak.inversion.results.summary import summarise
from medleak.inversion.results.verdict import KINDS, Extent, Verdict, as_json, read

EXTENT = Extent(images=12, patients=12, runs=2, seeds=1, over="patients")
FOUND = Verdict(
    kind="inconclusive",
    reasons=("the attack was stuck by its own loss", "RDLV is undefined"),
    attack="dlg",
    knowledge="all (labels inferred)",
    extent=EXTENT,
)
words = st.text(st.characters(codec="utf-8"), max_size=30)
verdicts = st.builds(
    Verdict,
    kind=st.sampled_from(KINDS),
    reasons=st.lists(words, max_size=3).map(tuple),
    attack=words,
    knowledge=words,
    extent=st.builds(
        Extent,
        images=st.integers(0, 10**6),
        patients=st.integers(0, 10**6),
        runs=st.integers(0, 10**6),
        seeds=st.integers(0, 10**6),
        over=st.sampled_from(["patients", "runs", None]),
    ),
)


def group_of(verdict: Verdict) -> dict:
    """As it stands in summary.json."""
    assert verdict.extent is not None
    about = {"attack": verdict.attack, "knowledge": verdict.knowledge}
    group = {**about, **dataclasses.asdict(verdict.extent), **as_json(verdict)}
    return json.loads(json.dumps(group))


@given(verdicts)
def test_a_verdict_is_read_back_as_it_was_written(verdict):
    assert read(group_of(verdict)) == verdict


def test_the_sentence_names_kind_reasons_attacker_and_extent():
    assert str(FOUND) == (
        "inconclusive: the attack was stuck by its own loss; RDLV is undefined "
        "(by dlg knowing all (labels inferred); 12 images, 12 patients, 2 runs, 1 seed)"
    )


@given(verdicts)
def test_no_sentence_but_that_of_no_leak_found_begins_like_it(verdict):
    all_clear = str(verdict).startswith("no leak found")
    assert all_clear is (verdict.kind == "no_leak_found")


@pytest.mark.parametrize("kind", KINDS)
def test_an_older_summary_has_the_sentence_alone(kind):
    group = group_of(dataclasses.replace(FOUND, kind=kind))
    old = {k: v for k, v in group.items() if not k.startswith("verdict_")}
    found = read(old)
    assert found is not None
    assert found.kind == kind
    assert found.extent == EXTENT
    if kind == "inconclusive":
        # The sentence does not tell where one reason ends.
        assert "; ".join(found.reasons).startswith("; ".join(FOUND.reasons))


@pytest.mark.parametrize("sentence", ["", "certified safe", "leaked: no", "No leak found", 3, None])
def test_an_unknown_sentence_is_no_verdict(sentence):
    assert read({"verdict": sentence}) is None


@pytest.mark.parametrize("said", KINDS)
@pytest.mark.parametrize("kind", [*KINDS, "safe", None, 1, ["no_leak_found"]])
def test_where_record_and_sentence_are_at_odds_the_worse_one_counts(said, kind):
    group = group_of(dataclasses.replace(FOUND, kind=said)) | {"verdict_kind": kind}
    found = read(group)
    if kind == said == "no_leak_found":
        assert found is not None
        assert found.kind == "no_leak_found"
    else:
        assert found is None or found.kind != "no_leak_found"
    if "leaks" in (said, kind):
        assert found is not None
        assert found.kind == "leaks"


@pytest.mark.parametrize("reasons", [None, "text", {"a": 1}, [1], [None, "a"]])
def test_damaged_reasons_never_leave_an_all_clear(reasons):
    group = group_of(dataclasses.replace(FOUND, kind="no_leak_found"))
    assert read(group | {"verdict_reasons": reasons}) is None


@pytest.mark.parametrize("lost", ["images", "patients", "runs", "seeds"])
def test_an_extent_of_which_a_number_is_missing_is_not_made_up(lost):
    found = read({k: v for k, v in group_of(FOUND).items() if k != lost})
    assert found is not None
    assert found.extent is None


@pytest.mark.parametrize(
    ("extent", "words"),
    [
        (dataclasses.replace(EXTENT, patients=3), "few patients: the interval is rough"),
        (dataclasses.replace(EXTENT, over="runs"), "covers runs, not other images"),
        (Extent(images=1, patients=1, runs=1, seeds=1), "1 image, 1 patient, 1 run, 1 seed"),
    ],
)
def test_an_extent_says_what_its_interval_leans_on(extent, words):
    assert str(extent).endswith(words)


def test_a_summary_holds_kind_and_reasons_beside_the_sentence():
    row = dataclasses.replace(ROW, truth_image="training[0]", ssim=0.95, ssim_prior=0.4, rdlv=1.375)
    (group,) = summarise([row], [])["sites"]
    assert group["verdict_kind"] == "leaks"
    assert group["verdict"] == str(read(group))


def test_what_was_found_and_not_identified_is_worse_than_not_known_and_better_than_a_leak():
    assert KINDS == (
        "leaks", "found_not_identified", "inconclusive", "not_measured", "no_leak_found"
    )  # fmt: skip
    text = str(dataclasses.replace(FOUND, kind="found_not_identified"))
    assert text.startswith("found, not identified: the attack was stuck")

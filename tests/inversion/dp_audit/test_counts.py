import pytest

from medleak.inversion.dp_audit.counts import judge
from medleak.inversion.dp_audit.estimates import one_run

SETTINGS = {"delta": 1e-5, "confidence": 0.95}


@pytest.mark.parametrize(
    ("text", "claimed", "kind"),
    [
        ("canaries:planted=1000,guessed=500,right=450", 1.0, "refuted"),
        ("canaries:planted=1000,guessed=500,right=450", 3.0, "not refuted"),
        ("canaries:planted=1000,guessed=500,right=250", 0.0, "not refuted"),
        ("canaries:planted=100,guessed=5,right=5", 8.0, "out of reach"),
        ("canaries:planted=1000,guessed=500,right=450", None, "no claim"),
    ],
)
def test_counts_refute_what_they_bound_and_nothing_that_they_could_not(text, claimed, kind):
    found = judge(text, **SETTINGS, claimed=claimed)
    assert found.kind == kind
    assert found.bound == one_run(found.planted, found.guessed, found.right, **SETTINGS)
    assert 0 <= found.bound <= found.most
    assert f"{found.right} rightly" in str(found)
    assert found.as_json()["kind"] == kind


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("canaries:planted=10,guessed=5", "give all of planted, guessed, right"),
        ("canaries:planted=10,guessed=5,right=2.5", "whole numbers"),
        ("canaries:planted=10,guessed=5,right=3,lucky=1", "give all of"),
        ("canaries:planted=10,guessed=5,right=6", "impossible"),
        ("canaries:planted=4,guessed=5,right=3", "impossible"),
    ],
)
def test_counts_that_cannot_be_are_refused(text, why):
    with pytest.raises(ValueError, match=why):
        judge(text, **SETTINGS, claimed=1.0)


def test_an_epsilon_below_0_is_none():
    with pytest.raises(ValueError, match="0 or more"):
        judge("canaries:planted=10,guessed=5,right=3", **SETTINGS, claimed=-1.0)

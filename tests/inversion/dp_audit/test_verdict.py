import numpy as np
import pytest

from medleak.filters.privacy import accounting
from medleak.filters.privacy.accounting import Guarantee
from medleak.inversion.dp_audit.verdict import judge

DELTA = 1e-5


def scores(mu, n=2000, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(mu, 1, n), rng.normal(0, 1, n)


def claimed(multiplier):
    return Guarantee(event=accounting.gaussian(multiplier), unit="client", relation="replace")


def tried(pairs, guarantee, **more):
    return judge(pairs, guarantee, relation="replace", delta=DELTA, **more)


def test_a_claim_that_holds_is_not_refuted_and_half_of_it_is_seen():
    found = tried({"release": scores(1.0)}, claimed(1.0))
    assert found.kind == "not refuted"
    assert found.bounds[0].claimed == pytest.approx(4.377, abs=1e-3)
    assert found.bounds[0].epsilon > 4.377 / 2
    assert "not refuted: the ledger claims ε = 4.38" in str(found)


def test_a_claim_of_more_noise_than_there_is_is_refuted():
    found = tried({"release": scores(2.0)}, claimed(1.0))
    assert found.kind == "refuted"
    assert "REFUTED" in str(found)
    assert found.as_json()["bounds"][0]["refuted"]


def test_two_releases_in_a_row_may_tell_what_two_cost():
    assert tried({"repetition": scores(2**0.5)}, claimed(1.0)).kind == "not refuted"
    assert tried({"repetition": scores(2.5)}, claimed(1.0)).kind == "refuted"


def test_where_nothing_is_claimed_the_bound_holds_for_any_mechanism():
    found = tried({"release": scores(3.0)}, None)
    assert found.kind == "heuristic"
    assert found.bounds[0].gaussian is None
    assert "no ε is claimed" in str(found)


def test_a_claim_for_another_mechanism_is_not_judged_as_a_gaussian():
    laplace = Guarantee(
        event={"event": "Laplace", "noise_multiplier": 1.0}, unit="client", relation="replace"
    )
    assert tried({"release": scores(1.0)}, laplace).bounds[0].gaussian is None


def test_too_few_scores_and_scores_that_are_none_are_refused():
    with pytest.raises(ValueError, match="at least 100"):
        tried({"release": scores(1.0, n=20)}, claimed(1.0))
    with pytest.raises(ValueError, match="NaN"):
        tried({"release": (np.full(100, np.nan), np.zeros(100))}, claimed(1.0))


def test_a_claim_that_so_few_releases_could_never_refute_is_not_said_to_have_held():
    # Told apart without an error, and still no more can be shown than some 25.
    bare = np.ones(300), np.zeros(300)
    found = tried({"release": bare}, claimed(0.05))
    assert found.kind == "out of reach"
    assert str(found).startswith("not known: the ledger claims ε = 284")
    (said,) = found.as_json()["bounds"]
    assert said["out_of_reach"]
    assert said["most"] == pytest.approx(said["gaussian"])
    # The same releases refute what is within their reach.
    assert tried({"release": bare}, claimed(0.5)).kind == "refuted"
    assert tried({"release": scores(2.0, n=300)}, claimed(0.5)).kind == "not refuted"


def test_one_look_out_of_reach_is_enough():
    few = scores(1.0), scores(1.0, n=100)
    looks = {"release": few[0], "repetition": few[1]}
    assert tried(looks, claimed(1.0)).kind == "not refuted"
    assert tried(looks, claimed(0.3)).kind == "out of reach"

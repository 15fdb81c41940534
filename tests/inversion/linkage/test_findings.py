import numpy as np
import pytest

from medleak.inversion.linkage.findings import attribute, shares_of, whose


def rounds(signal, sites=5, n=4, seed=0):
    rng = np.random.default_rng(seed)
    own = rng.normal(size=(sites, 30))
    return [
        (signal * own[order] + rng.normal(size=(sites, 30)), order.tolist())
        for order in (rng.permutation(sites) for _ in range(n))
    ]


def test_updates_of_one_site_find_each_other_whatever_their_order():
    found = whose(rounds(3.0), 5)
    assert found.kind == "told"
    assert found.value == 1
    assert found.chance == pytest.approx(0.2, abs=0.05)
    assert str(found).startswith("whose an update is: told (share given to their site 1.00")


def test_updates_that_know_nothing_of_their_site_are_not_told():
    kinds = [whose(rounds(0.0, seed=seed), 5).kind for seed in range(10)]
    assert kinds.count("told") == 0
    assert kinds.count("not told") >= 6


def test_neighbours_of_the_same_round_do_not_count():
    # Each round has a mark of its own, by which its updates are nearest to each other.
    marked = [(x + 50 * np.eye(30)[k], of) for k, (x, of) in enumerate(rounds(3.0))]
    centred = [(x - x.mean(0), of) for x, of in marked]
    assert whose(centred, 5).value == 1


@pytest.mark.parametrize(("n", "sites"), [(1, 5), (4, 1)])
def test_one_round_or_one_site_has_nothing_to_compare(n, sites):
    with pytest.raises(ValueError, match="at least two sites sent in at least two rounds"):
        whose(rounds(1.0, sites=sites, n=n), sites)


def test_sites_whose_updates_differ_as_their_patients_do_are_told():
    rng = np.random.default_rng(0)
    share = np.linspace(0, 1, 8)[:, None]
    points = share @ rng.normal(size=(1, 20)) + 0.02 * rng.normal(size=(8, 20))
    assert attribute("women", points, share).kind == "told"
    assert attribute("women", rng.normal(size=(8, 20)), share).kind != "told"


def test_few_sites_are_never_said_to_tell_nothing():
    rng = np.random.default_rng(0)
    found = attribute("women", rng.normal(size=(3, 5)), np.array([[0.1], [0.5], [0.9]]))
    assert found.kind == "not known"
    assert "with so few sites p is at least 0.17" in str(found)


@pytest.mark.parametrize(
    ("n", "shares", "why"), [(2, [[0.1], [0.5]], "at least three"), (3, [[0.5]] * 3, "the same")]
)
def test_what_cannot_be_compared_is_said(n, shares, why):
    with pytest.raises(ValueError, match=why):
        attribute("women", np.zeros((n, 4)), np.array(shares))


def test_shares_are_of_all_classes_that_any_site_has():
    table = shares_of({"a": {0: 3, 1: 1}, "b": {2: 2}}, ["a", "b"])
    assert table.tolist() == [[0.75, 0.25, 0], [0, 0, 1]]

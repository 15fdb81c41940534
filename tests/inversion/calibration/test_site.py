"""Tests of medleak.inversion.calibration.site: what a site's probes are taken to mean."""

from dataclasses import replace

import pytest

from medleak.inversion.audit.health import Health
from medleak.inversion.calibration.goal import NoImages
from medleak.inversion.calibration.probe import Attacked, Found
from medleak.inversion.calibration.search import mechanism
from medleak.inversion.calibration.site import FRESH, Calibration, search_all, search_site
from medleak.inversion.results.rows import Row

NOISE = mechanism("percentile_gaussian")
HEALTHY = {"a|all": Health(reached=True, round=0, ssim=0.9, ssim_prior=0.5, rdlv=0.8)}


def row(rdlv, seed=0, image=0, attack="a", patient=None, round=0, knowledge="all"):
    return Row(
        round=round,
        site="s",
        attack=attack,
        defence="none",
        declared="none",
        knowledge=knowledge,
        seed=seed,
        reconstruction=image,
        truth_image=f"training[{image}]",
        patient=image if patient is None else patient,
        rdlv=rdlv,
        seconds=1.0,
        iterations=1,
        attempts=1,
        stuck=False,
        losses="",
        picture="",
    )


def of(rows, alone=-0.2, health=HEALTHY, **options):
    """``rows``, and beside each what its attack makes of noise alone."""
    nothing = Attacked(rows=[replace(r, rdlv=alone) for r in rows])
    return Found(update=Attacked(rows=rows), alone=nothing, health=health, **options)


def answer(
    rdlv_at, health=HEALTHY, seeds=(0, 1, 2), chosen=NOISE, asked=None, alone=-0.2, **options
):
    """The answer for a site where ``rdlv_at(strength or None, seed)`` is what leaks.

    ``alone`` is RDLV on noise alone.

    A string instead of a number is why the case was refused.
    """
    search = search_site("s", chosen, seeds, NoImages(**options))
    wanted = next(search)
    while True:
        if asked is not None:
            asked.append(wanted)
        values = {seed: rdlv_at(wanted.strength, seed) for seed in wanted.seeds}
        refused = {(0, seed): v for seed, v in values.items() if isinstance(v, str)}
        rows = [row(v, seed) for seed, v in values.items() if not isinstance(v, str)]
        update = Attacked(rows=rows, refused={("a", "all"): refused} if refused else {})
        nothing = Attacked(rows=[row(alone, seed) for seed in wanted.seeds])
        found = Found(update=update, alone=nothing, health=health)
        try:
            wanted = search.send(found)
        except StopIteration as end:
            return end.value


def test_the_least_protecting_strength_is_found_and_confirmed_with_fresh_seeds():
    asked = []
    found = answer(lambda s, seed: 0.8 if (s or 0) < 3 else -0.2, asked=asked)
    assert isinstance(found, Calibration)
    assert found.strength == 3.16
    assert "confirmed with 3 fresh seeds" in found.why
    assert "over runs" in found.why
    assert asked[0].strength is None
    assert asked[-1].seeds == (FRESH, FRESH + 1, FRESH + 2)
    assert all(w.seeds == (0, 1, 2) for w in asked[:-1])
    assert [p.fresh for p in found.searched] == [False] * (len(found.searched) - 1) + [True]
    assert found.searched[0].strength == 0
    assert found.searched[0].columns()["RDLV"] == "+0.800"


def test_fresh_seeds_that_refute_it_send_the_search_up():
    def at(strength, seed):
        limit = 3 if seed < FRESH else 3.5
        return 0.8 if (strength or 0) < limit else -0.2

    found = answer(at)
    assert found.strength is not None
    assert 3.5 <= found.strength <= 3.5 * 1.25
    assert "fresh seeds refuted 1 weaker" in found.why
    seeds = [p.seeds[0] for p in found.searched if p.fresh]
    assert seeds == [FRESH, 2 * FRESH]


def test_a_bound_not_the_mean_decides():
    # Mean -0.1, but three runs that differ so much say little.
    scattered = (-0.4, -0.1, 0.2)
    found = answer(lambda s, seed: 0.8 if s is None else scattered[seed % FRESH % 3], alone=-0.1)
    assert found.strength is None
    assert found.why.startswith("none in range: at sigma0=100 the mean RDLV may still be +0.7")


def test_with_an_attack_that_fails_its_easy_case_there_is_no_number():
    ill = {"a|all": Health(reached=False, round=0, ssim=0.4, ssim_prior=0.5, rdlv=-0.2)}
    found = answer(lambda s, seed: 0.8 if (s or 0) < 3 else -0.2, health=ill)
    assert found.strength is None
    assert found.why.startswith("inconclusive: no attack is in working order")
    found = answer(lambda s, seed: 0.8 if (s or 0) < 3 else -0.2, health={})
    assert found.strength is None


def test_a_site_that_leaks_nothing_undefended_gets_no_number_either():
    found = answer(lambda s, seed: -0.3)
    assert (found.strength, len(found.searched)) == (None, 1)
    assert "even the undefended update gives these attacks nothing" in found.why


def test_a_refusal_under_noise_leaves_the_prior_and_is_said():
    found = answer(lambda s, seed: 0.8 if (s or 0) < 3 else "nothing to match")
    assert found.strength == 3.16
    assert "in 3 runs the attack found nothing left to match" in found.why
    assert found.searched[-1].rdlv_upper95 == 0
    assert found.searched[-1].refused == 3


def test_a_refusal_of_the_bare_update_is_no_protection():
    found = answer(lambda s, seed: "the record is damaged")
    assert (found.strength, found.why) == (None, "inconclusive: the record is damaged")
    found = answer(lambda s, seed: None)
    assert found.why.startswith("inconclusive: there is no truth to compare with")


def test_a_margin_counts_small_leaks_as_none():
    def at(strength, seed):
        return 0.8 if (strength or 0) < 3 else 0.004

    assert answer(at, alone=0.0, margin=0.003).strength is None
    assert answer(at, alone=0.0, margin=0.005).strength == 3.16
    assert answer(at, alone=0.0).strength == 3.16  # the usual margin
    assert answer(at, alone=-0.2).strength is None  # it is told from noise


def test_what_is_told_from_noise_alone_does_not_protect_though_it_is_worse_than_the_prior():
    def at(strength, seed):
        return 0.8 if (strength or 0) < 3 else -0.1 if strength < 30 else -0.3

    found = answer(at, alone=-0.3)
    assert found.strength is not None
    assert found.strength >= 30
    assert found.searched[-1].alone_mean == pytest.approx(-0.3)
    assert found.searched[-1].excess_upper95 <= 0.05


def test_where_less_protects_the_answer_is_the_largest():
    chosen = mechanism("top_k")
    found = answer(lambda s, seed: 0.8 if (s or 1) > 0.02 else -0.2, chosen=chosen)
    assert found.strength is not None
    assert 0.02 / 1.25 <= found.strength <= 0.02
    none = answer(lambda s, seed: 0.8, chosen=chosen)
    assert "at fraction=0.0001" in none.why


def test_the_strongest_attack_decides_and_hidden_images_are_counted():
    search = search_site("s", NOISE, (0, 1), NoImages(margin=-0.15))
    next(search)
    rows = [
        *(row(-0.5, seed, image, "weak") for seed in (0, 1) for image in range(4)),
        *(row(v, s, i, "a") for s in (0, 1) for i, v in enumerate((0.9, -0.4, -0.5, -0.6))),
    ]
    search.send(of(rows))
    bare_mean = (0.9 - 0.4 - 0.5 - 0.6) / 4
    search.send(of(rows[:8]))
    with pytest.raises(StopIteration) as end:
        search.send(of(rows[:8]))
    bare = end.value.value.searched[0]
    assert bare.attack == "a"
    assert bare.rdlv_mean == pytest.approx(bare_mean)
    assert (bare.above, bare.images, bare.over) == (1, 4, "patients")
    assert end.value.value.searched[1].attack == "weak"


def test_an_attacker_who_knows_less_does_not_hide_one_who_knows_more():
    def leaking(what):
        known = (("all", what), ("little", -0.9))
        rows = [row(v, s, knowledge=k) for k, v in known for s in (0, 1)]
        return of(rows)

    search = search_site("s", NOISE, (0, 1), NoImages())
    next(search)
    search.send(leaking(0.4))  # pooled, -0.25 would have been "nothing leaks" at once
    search.send(leaking(-0.2))  # the least strength of the range does, once more with fresh seeds
    with pytest.raises(StopIteration) as end:
        search.send(leaking(-0.2))
    searched = end.value.value.searched
    assert [(p.knowledge, p.n, p.rdlv_mean) for p in searched] == [
        ("all", 2, 0.4),
        ("all", 2, -0.2),
        ("all", 2, -0.2),
    ]


def test_sites_are_searched_side_by_side():
    steps = []

    def run(wanted):
        steps.append([w.site for w in wanted])
        return [
            of(
                [
                    replace(
                        row(0.8 if (w.strength or 0) < limit[w.site] else -0.2, seed), site=w.site
                    )
                    for seed in w.seeds
                ]
            )
            for w in wanted
        ]

    limit = {"x": 0.001, "y": 3.0}
    searches = {site: search_site(site, NOISE, (0, 1), NoImages()) for site in limit}
    found = {c.site: c.strength for c in search_all(searches, run)}
    assert found == {"x": 0.01, "y": 3.16}
    assert steps[:3] == [["x", "y"]] * 3
    assert steps[3:] == [["y"]] * len(steps[3:])


def test_a_strength_under_which_images_are_found_that_match_no_list_does_not_protect():
    """They were flipped in training, say: RDLV is low, and the attack's losses are not."""
    easy = replace(HEALTHY["a|all"], losses={"span": 1e-4})
    losses = {True: {"losses": "span=0.001"}, False: {"losses": "span=0.2"}}

    def search(protects_from):
        asked = search_site("s", NOISE, (0, 1, 2), NoImages())
        wanted = next(asked)
        while True:
            found = (wanted.strength or 0) < protects_from
            rows = [
                replace(
                    row(0.8 if wanted.strength is None else -0.3 - seed % 3 / 100, seed),
                    start_losses="span=0.5",
                    **losses[found],
                )
                for seed in wanted.seeds
            ]
            try:
                wanted = asked.send(of(rows, health={"a|all": easy}))
            except StopIteration as end:
                return end.value

    answer = search(3)
    assert answer.strength == 3.16
    assert [p.found for p in answer.searched if p.strength < 3] != [0]
    assert search(1e9).strength is None


def test_an_undefended_update_with_images_of_no_list_is_inconclusive():
    health = {"a|all": replace(HEALTHY["a|all"], losses={"span": 1e-4})}
    asked = search_site("s", NOISE, (0, 1, 2), NoImages())
    next(asked)
    found = {"losses": "span=0.001", "start_losses": "span=0.5"}
    rows = [replace(row(-0.3 - seed / 100, seed), **found) for seed in (0, 1, 2)]
    with pytest.raises(StopIteration) as end:
        asked.send(of(rows, health=health))
    assert end.value.value.why.startswith("inconclusive: by its own losses the attack found images")


def test_an_update_that_contradicts_what_was_said_of_it_has_no_strength_whatever_leaks():
    asked = search_site("s", NOISE, (0, 1, 2), NoImages())
    next(asked)
    rows = [row(0.8, seed) for seed in (0, 1, 2)]
    with pytest.raises(StopIteration) as end:
        asked.send(of(rows, contradicted=["n_steps is 9"]))
    assert end.value.value.strength is None
    assert end.value.value.why.startswith("inconclusive: the update contradicts what was said")
    assert "n_steps is 9" in end.value.value.why

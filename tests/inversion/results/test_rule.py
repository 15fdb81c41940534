"""Tests of medleak.inversion.results.rule, through the figures it reads and its sentence."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.stats import binom
from tests.inversion.rows import ROW as A_ROW

from medleak.inversion.results.group import figures_of
from medleak.inversion.results.rule import MARGIN, judge, settled_at

ROW = dataclasses.replace(
    A_ROW,
    site="site-9",
    attack="row_space:attempts=2",
    knowledge="all, labels inferred",
    seconds=2.0,
)
HEALTHY = {"ssim": 0.93, "reached": True}


def row(ssim=0.3, prior=0.4, k=0, **changes):
    rdlv = (ssim - prior) / prior if prior >= 0.05 else None
    return dataclasses.replace(
        ROW, truth_image=f"training[{k}]", patient=k, ssim=ssim, ssim_prior=prior, rdlv=rdlv,
        **{"reconstruction": k, **changes},
    )  # fmt: skip


def spread(values, **changes):
    return [row(v, k=k, **changes) for k, v in enumerate(values)]


def verdict(rows, health=HEALTHY):
    return str(judge(rows, figures_of(rows), health))


@pytest.mark.parametrize(
    ("rows", "start"),
    [
        ([row(0.95, 0.4)], "leaks: 1 of 1 reconstructions are closer"),
        ([row(0.9, 0.4), row(0.3, 0.4, k=1)], "leaks: 1 of 2 reconstructions are closer"),
        ([row(0.5, 0.01)], "leaks: 1 of 1"),
        ([row(0.95, 0.94)], "leaks: 1 of 1 reconstructions have SSIM >= 0.9"),
        (spread([0.42, 0.422, 0.421, 0.423] * 5), "leaks: RDLV +0.05, above 0"),
        ([row(0.3, 0.4)], "no leak found by row_space"),
        ([row(0.95, 0.96)], "no leak found by row_space"),  # a dark border alone has 0.9
        (spread([0.3, 0.31, 0.32]), "no leak found by row_space"),
        (spread([0.3, 0.31, 0.35]), "inconclusive: RDLV upper 95 %"),  # three patients
        (spread([0.2, 0.42, 0.42]), "inconclusive: RDLV upper 95 %"),
        ([row(0.41, 0.4)], "inconclusive: RDLV +0.02, one image: no interval"),
        ([row(0.02, 0.01)], "inconclusive: RDLV is undefined"),
        ([row(0.3, 0.4, stuck=True)], "inconclusive: the attack was stuck"),
        ([ROW], "not measured"),
    ],
)
def test_the_rule_is_followed_and_attack_and_knowledge_are_named(rows, start):
    text = verdict(rows)
    assert text.startswith(start)
    assert "by row_space:attempts=2 knowing all, labels inferred" in text
    assert "safe" not in text


def test_a_failure_without_a_health_check_is_called_no_evidence():
    text = verdict([row(0.3)], None)
    assert text.startswith("inconclusive")
    assert "no evidence of protection" in text


def test_a_failure_of_an_attack_that_failed_an_easy_case_is_no_evidence_either():
    text = verdict([row(0.3)], {"ssim": 0.41, "reached": False})
    assert text.startswith("inconclusive: the attack did not recover an easy case (SSIM 0.41)")


def test_a_leak_needs_no_health_check():
    assert verdict([row(0.95)], None).startswith("leaks")
    assert verdict([row(0.95, stuck=True)], None).startswith("leaks")


def test_no_leak_is_said_with_its_bound_the_health_and_the_number_of_images():
    text = verdict(spread([0.3, 0.31, 0.32]))
    assert "RDLV upper 95 % -0.1" in text
    assert "attack healthy: easy case SSIM 0.93" in text
    assert "3 images, 3 patients, 1 run, 1 seed; few patients" in text
    text = verdict([row(0.3)])
    assert "RDLV -0.25, one image: no interval" in text


@pytest.mark.parametrize("null", ["ssim_class_mean", "ssim_nonmember", "ssim_other"])
def test_what_an_unrelated_image_also_reaches_is_no_leak_and_no_all_clear(null):
    text = verdict(spread([0.50, 0.52, 0.51, 0.53, 0.5], **{null: 0.55}))
    assert text.startswith("inconclusive: closer than the prior (RDLV")
    assert "measure against a better prior" in text
    ahead = {null: 0.55, "gallery": 205, "site_images": 5}
    beyond = verdict(spread([0.60, 0.62, 0.61, 0.63, 0.6], **ahead))
    assert "closer to the image than the prior and every null" in beyond


def test_unrelated_images_seldom_leak_though_the_assignment_sees_the_truth():
    """Points in a plane for images, nearness for SSIM: what a failed attack made of 20 images."""
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(200):
        truths, found, others = (rng.normal(size=(n, 2)) for n in (20, 20, 200))
        near = 0.6 - 0.1 * np.linalg.norm(truths[:, None] - found, axis=2)
        null = 0.6 - 0.1 * np.linalg.norm(truths[:, None] - others, axis=2).min(1)
        pairs = zip(*linear_sum_assignment(near, maximize=True), strict=True)
        rows = [
            row(near[t, f] + MARGIN, 0.3, k=t, ssim_nonmember=null[t], gallery=220, site_images=20)
            for t, f in pairs
        ]
        alarms += verdict(rows).startswith("leaks")
    assert alarms <= 4


def led(leads, gallery, seed=0):
    return [
        row(0.5 + lead, k=k, seed=seed, ssim_nonmember=0.5, gallery=gallery, site_images=len(leads))
        for k, lead in enumerate(leads)
    ]


def test_a_lead_over_the_gallery_counts_by_how_seldom_unrelated_images_have_one():
    # One image ahead of 200 others: chance 1/201.
    assert verdict(led([0.05], 201)).startswith("leaks: 1 of 1")
    assert verdict(led([0.05], 51)).startswith("inconclusive")
    assert verdict(led([0.05] + [-0.3] * 9, 210)).startswith("inconclusive")
    # Of 10 reconstructions each image got one of the most similar: 10/210, twice among 10 images.
    assert verdict(led([0.05, 0.05] + [-0.3] * 8, 210)).startswith("inconclusive")
    assert verdict(led([0.05, 0.05] + [-0.3] * 8, 1010)).startswith("leaks: 2 of 10")
    # A long lead is none by chance, whatever the gallery.
    assert verdict(led([0.2] + [-0.3] * 9, 15)).startswith("leaks: 1 of 10")
    # A lead within the scatter of attacks is none.
    assert verdict(led([0.02], 2001)).startswith("inconclusive")


def test_ten_runs_of_one_image_are_one_image():
    ten = [r for seed in range(10) for r in led([0.05], 151, seed)]
    assert verdict(ten).startswith("inconclusive")  # 2/151
    ten = [r for seed in range(10) for r in led([0.05], 301, seed)]
    assert verdict(ten).startswith("leaks: 10 of 10")
    few = [r for seed in range(10) for r in led([0.05 if seed < 4 else -0.3], 301, seed)]
    assert verdict(few).startswith("inconclusive")


def test_identification_is_a_leak_whatever_the_ssim():
    def found(match, class_mates):
        place = "17" if match else "-"
        return row(0.2, iip_match=match, iip_site_match=match, neighbours=place, gallery=400,
                   class_mates=class_mates, embedding="resnet18", site_images=1)  # fmt: skip

    text = verdict([found(True, 300)])
    assert text.startswith("leaks: IIP 1.00 of a gallery of 400, p = 0.0033")
    assert verdict([found(True, 50)]).startswith("no leak found")  # 1 in 50 may be chance
    assert verdict([found(False, 300)]).startswith("no leak found")


def test_an_interval_over_the_runs_of_one_image_says_that_it_is_one():
    runs = [row(0.3 + s / 100, seed=s) for s in range(5)]
    assert "1 image, 1 patient, 5 runs, 5 seeds; the interval covers runs" in verdict(runs)


LOSSES: dict[str, Any] = {
    "losses": "statistics=0.002 span=5e-05",
    "start_losses": "statistics=0.6 span=0.17",
}
EASY = HEALTHY | {"losses": {"statistics": 0.0034, "span": 0.00045}}


def test_images_that_were_found_and_match_no_truth_are_no_all_clear():
    text = verdict([row(0.3, 0.4, **LOSSES)], EASY)
    assert text.startswith("found, not identified: by its own losses the attack found images (")
    assert "statistics 0.002, easy case 0.0034, prior 0.6" in text
    assert "they match no listed image" in text
    kind = judge([row(0.3, 0.4, **LOSSES)], figures_of([row(0.3, 0.4)]), EASY).kind
    assert kind == "found_not_identified"


def test_one_found_case_of_several_takes_the_all_clear_from_the_group():
    rows = [row(0.3, 0.4, seed=0), row(0.3, 0.4, seed=1, **LOSSES)]
    assert "in 1 of 2 runs" in verdict(rows, EASY)


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({"losses": "statistics=0.3 span=0.1"}, "no leak found"),  # drowned in noise
        ({"start_losses": ""}, "no leak found"),  # it tells nothing of itself
        ({"stuck": True}, "inconclusive: the attack was stuck"),
    ],
)
def test_losses_of_nothing_found_are_no_find(changes, start):
    assert verdict([row(0.3, 0.4, **{**LOSSES, **changes})], EASY).startswith(start)


def test_a_leak_that_was_identified_is_a_leak_and_says_how_it_was_seen():
    seen: dict[str, Any] = {
        "transformation": "flipped left-right",
        "ssim_listed": 0.14,
        "ssim_coarse": 0.6,
    }
    text = verdict([row(0.99, 0.4, **LOSSES, **seen)], EASY)
    assert text.startswith("leaks: 1 of 1 reconstructions are closer")
    assert "1 of 1 as the network saw them: flipped left-right" in text
    two = [row(0.99, 0.4, **LOSSES, **seen), row(0.98, 0.4, k=1, **seen | {"transformation": "x"})]
    assert ", and 1 other ways" in verdict(two, EASY)


def test_found_without_a_list_is_not_measured_and_said():
    text = verdict([dataclasses.replace(ROW, **LOSSES)], EASY)
    assert text.startswith("not measured: no truth to compare with; by its own losses the attack")


def test_a_stuck_result_leaks_by_no_lead_over_a_poor_prior():
    """SSIM 0.16 to 0.28 over priors of 0.03 to 0.16 were called leaks; unrelated films have 0.4."""
    coarse: dict[str, Any] = {"stuck": True, "ssim_coarse": 0.7}
    for ssim, prior in ((0.26, 0.16), (0.158, 0.03), (0.225, 0.16)):
        assert verdict([row(ssim, prior, **coarse)]).startswith("inconclusive")
    assert verdict(spread([0.26, 0.27, 0.26, 0.28] * 3, prior=0.16, **coarse)).startswith("inconcl")
    assert verdict([row(0.84, 0.16, **coarse)]).startswith("leaks")
    # Not marked stuck, but the losses say that nothing was found.
    lost: dict[str, Any] = {
        "losses": "statistics=0.3 span=0.1",
        "start_losses": LOSSES["start_losses"],
    }
    unmarked = row(0.158, 0.03, ssim_coarse=0.7, **lost)
    assert verdict([unmarked], EASY).startswith("inconclusive")
    # Found, and a list of other images of the kind: 0.2 and 0.52 over made-up priors.
    for ssim, prior in ((0.2, 0.1), (0.52, 0.4)):
        text = verdict(spread([ssim] * 3, prior=prior, ssim_coarse=0.7, **LOSSES), EASY)
        assert text.startswith("found, not identified")


def test_looking_for_transformations_doubles_the_chance_of_a_lead():
    searched = [dataclasses.replace(r, ssim_listed=0.5) for r in led([0.05], 151)]
    assert verdict(led([0.05], 151)).startswith("leaks")  # 1/151
    assert verdict(searched).startswith("inconclusive")  # 2/151
    searched = [dataclasses.replace(r, ssim_listed=0.5) for r in led([0.05], 251)]
    assert verdict(searched).startswith("leaks")


def test_an_easy_case_that_shares_an_error_of_the_declaration_proves_nothing():
    health = {"ssim": 0.97, "reached": False, "contradiction": "the statistics fit another std"}
    text = verdict([row(0.3)], health)
    assert text.startswith("inconclusive: the easy case shares an error of the declaration: the st")


def test_an_update_that_contradicts_what_was_said_of_it_is_no_all_clear():
    rows = [row(0.3, 0.4)]
    why = ["the counters grew by 3 and the schedule says 1 step", "another"]
    found = judge(rows, figures_of(rows), HEALTHY, contradicted=why)
    assert found.kind == "inconclusive"
    assert str(found).startswith(
        f"inconclusive: the update contradicts what was said of it: {why[0]}"
    )
    assert "and 1 more" in str(found)
    leaking = [row(0.95, 0.4)]
    assert judge(leaking, figures_of(leaking), HEALTHY, contradicted=why).kind == "leaks"


def test_what_cannot_be_taken_back_settles_at_any_level():
    assert settled_at([row(0.95, 0.4)], 1e-9)
    assert not settled_at([row(0.95, 0.96)], 1e-9)  # the prior has it as well
    far = {"ssim_nonmember": 0.5, "gallery": 2, "site_images": 1}
    assert settled_at([row(0.7, 0.4, **far)], 1e-9)
    assert not settled_at([row(0.6, 0.4, **far)], 1e-9)


def test_a_test_settles_at_half_the_level_it_is_given():
    """Each of two images beats 99 non-members, with a chance of 1 / 100 + 1 / 100 each."""
    two = {"ssim_nonmember": 0.5, "gallery": 100, "site_images": 2}
    rows = [row(0.56, 0.4, k=k, seed=k, **two) for k in range(2)]
    p = float(binom.sf(1, 2, 1 / 99))
    assert settled_at(rows, 2.01 * p)
    assert not settled_at(rows, 1.99 * p)

"""The gate lets nothing by that meets the condition or cannot be decided, and runs no code."""

import pytest
from tests.inversion.report.directories import a_figure, a_group, grid

from medleak.inversion.report.fail_if import failures, parse
from medleak.inversion.report.reading import read_audit


def failed(directory, condition, groups, refused=()):
    audit = read_audit(directory.write([], groups, refused=refused, pictures=False))
    return failures(audit, parse(condition))


@pytest.mark.parametrize(
    ("condition", "sites"),
    [
        ("rdlv.upper95 > 0", {"bad"}),
        ("rdlv.upper95 >= -0.05", {"bad", "good"}),
        ("rdlv.mean<0", {"good"}),
        ("ssim.max > .64 and rdlv.mean > 0", {"bad"}),
        ("ssim.max > .99 or rdlv.mean > 0", {"bad"}),
        ("rdlv.mean > 1e3 or ssim.n == 4 and rdlv.lower95 < 0", {"good"}),
        ("rdlv.mean != 0.2", {"good"}),
        ("  ssim.min   <=   0.55  ", {"bad", "good"}),
        ("rdlv.mean > +5", set()),
    ],
)
def test_sites_that_meet_the_condition_are_named(directory, condition, sites):
    groups = [a_group("bad", rdlv=a_figure(0.2)), a_group("good", rdlv=a_figure(-0.1))]
    assert {f.site for f in failed(directory, condition, groups)} == sites


@pytest.mark.parametrize(
    "condition",
    [
        "",
        "rdlv",
        "rdlv > 0",
        "rdlv.upper95",
        "rdlv.upper95 > ",
        "rdlv.upper95 > x",
        "rdlv.upper95 => 0",
        "rdlv.upper95 > 0 and",
        "rdlv.upper95 > 0 or or ssim.mean > 0",
        "(rdlv.upper95 > 0)",
        "not rdlv.upper95 > 0",
        "rdlv.upper95 > 0; ssim.mean > 0",
        "rdlv.__class__ > 0",
        "__import__('os').system('true')",
        "rdlv.upper95 > nan",
        "rdlv.upper95 > 0x1",
        "rdlv.upper95 > 1 and 1",
        "rdlv.median > 0",
        "accuracy.mean > 0",
        "ｒdlv.mean > 0",  # noqa: RUF001 -- letters that look alike
        "rdlv.mean > 0 or " * 200 + "rdlv.mean > 0",
    ],
)
def test_anything_else_is_refused_and_never_run(condition):
    with pytest.raises(ValueError, match=r"[Cc]ondition"):
        parse(condition)


@pytest.mark.parametrize(
    ("group", "why"),
    [
        ({"rdlv": None}, "undefined: rdlv.upper95, as the audit has no rdlv for it"),
        ({"rdlv": None, "ssim": None}, "as there is no original to compare with"),
        ({"rdlv": a_figure(-0.5, n=1)}, "as no interval was computed from 1 image"),
        ({"rdlv": {"mean": -0.5, "n": 4}}, "as no interval was computed from 4 images"),
    ],
)
def test_what_is_undefined_fails_with_its_reason(directory, group, why):
    (failure,) = failed(directory, "rdlv.upper95 > 0", [a_group("site-1", **group)])
    assert why in failure.why


@pytest.mark.parametrize(
    ("condition", "fails"),
    [
        ("rdlv.mean > 0 and ssim.mean > 0.9", False),  # undefined and false
        ("rdlv.mean > 0 and ssim.mean > 0.1", True),  # undefined and true
        ("rdlv.mean > 0 or ssim.mean > 0.1", True),  # undefined or true
        ("rdlv.mean > 0 or ssim.mean > 0.9", True),  # undefined or false
    ],
)
def test_undefined_parts_decide_only_where_the_others_do_not(directory, condition, fails):
    found = failed(directory, condition, [a_group("s", rdlv=None)])
    assert bool(found) is fails


def test_a_refused_case_fails(directory):
    refused = [{"case": {"round": 2, "site": "site-3"}, "why": "hashes differ"}]
    (failure,) = failed(directory, "rdlv.mean > 9", [a_group("site-1")], refused)
    assert (failure.site, failure.round) == ("site-3", 2)
    assert "hashes differ" in failure.why


def test_an_audit_without_any_group_fails(directory):
    (failure,) = failed(directory, "rdlv.mean > 0", [])
    assert failure.why == "undefined: the audit attacked nothing"


def test_a_leaking_round_does_not_hide_behind_the_mean_of_all(directory):
    groups = [a_group("s", rdlv=a_figure(-0.1)), a_group("s", round=3, rdlv=a_figure(0.3))]
    (failure,) = failed(directory, "rdlv.upper95 > 0", groups)
    assert failure.round == 3


def test_a_round_without_an_interval_leaves_the_decision_to_all_rounds(directory):
    one = {"rdlv": a_figure(-0.2, n=1), "ssim": a_figure(0.4, n=1)}
    groups = [a_group("s", rdlv=a_figure(-0.1)), a_group("s", round=3, **one)]
    assert failed(directory, "rdlv.upper95 > 0", groups) == []


def test_a_condition_can_be_met_by_figures_counted_from_rows(directory):
    folder = directory.write(grid(["site-1"]), pictures=False)
    (folder / "summary.json").unlink()
    assert failures(read_audit(folder), parse("asr.mean > 0.5"))


def test_figures_of_an_attack_that_was_told_something_false_decide_nothing(directory):
    why = "batch norm counted 9 forward passes, and n_steps is 1 (declared)"
    said = {"1/bad": {"schedule": {}, "contradictions": [why]}, "1/good": {"contradictions": []}}
    low = {"rdlv": a_figure(-0.5), "verdict": "inconclusive: x (row_space)"}
    groups = [a_group(site, round=r, **low) for r in ("all", 0, 1) for site in ("bad", "good")]
    folder = directory.write([], groups, config={"said": said}, pictures=False)
    found = failures(read_audit(folder), parse("rdlv.upper95 > 0"))
    assert [(f.site, f.round) for f in found] == [("bad", None), ("bad", 1)]
    assert all(f"contradicts what was said of it ({why})" in f.why for f in found)


def test_figures_of_images_that_match_no_listed_one_decide_nothing(directory):
    """RDLV is far below 0 where the network saw the image flipped, and the gate must not open."""
    sentence = "found, not identified: by its own losses the attack found images (row_space)"
    low = a_group("site-1", verdict=sentence, rdlv=a_figure(-0.5), ssim=a_figure(0.2))
    (failure,) = failed(directory, "rdlv.upper95 > 0", [low])
    assert "undefined: images were found that match no listed one" in failure.why
    by_round = [{**low, "round": 0}]
    audit = read_audit(directory.write([], [{**low, "verdict": ""}], pictures=False))
    assert failures(audit, parse("rdlv.upper95 > 0")) == []
    assert failed(directory, "rdlv.upper95 > 0", by_round)

import pytest
from tests.inversion.report.attack_classes.audits import HEALTHY, NINE, by, interval, summing
from tests.inversion.report.directories import a_figure, a_group, grid

from medleak.inversion.report.attack_classes.answer import Recipient
from medleak.inversion.report.attack_classes.reconstruction import answers
from medleak.inversion.report.verdicts import Light

NOTHING = {"rdlv": a_figure(-0.3), "ssim": a_figure(0.3)}


def test_the_largest_stands_beside_the_mean_of_all_sites_with_its_interval(audited):
    rows = grid(["a", "b"], rounds=3, images=2, leak={"a": 0.97, "b": 0.1})
    (answer,) = answers(audited(rows))
    assert answer.recipient is Recipient.SERVER
    assert answer.light is Light.LEAKS
    assert answer.words.startswith("1 of 2 sites: an image came back almost whole")
    values = [row.ssim for row in rows if row.ssim is not None]
    assert answer.worst.mean == pytest.approx(max(values), abs=1e-3)
    assert answer.where == "a"
    lower, mean, upper = interval(answer.mean)
    assert mean == pytest.approx(sum(values) / len(values))
    assert lower < mean < upper
    assert answer.chance == pytest.approx(0.5)


def test_without_rows_the_mean_is_that_of_the_groups_and_has_no_interval(audited):
    groups = [a_group("a", n=1, ssim=a_figure(0.9)), a_group("b", n=3, ssim=a_figure(0.5))]
    (answer,) = answers(audited((), groups))
    assert answer.mean.mean == pytest.approx(0.6)
    assert answer.mean.lower95 is None


def test_who_was_in_does_not_change_the_light_of_the_images(audited):
    from tests.inversion.report.answers import an_answer

    groups = [a_group("site-1", **NOTHING)]
    (answer,) = answers(audited((), groups, health=HEALTHY, membership=[an_answer("site-1")]))
    assert answer.light is Light.NONE_FOUND


def test_a_replayed_protection_is_no_answer_about_what_was_sent(audited):
    assert answers(audited((), [a_group("a", defence="top_k:fraction=0.1")])) == []


def test_updates_that_could_not_be_attacked_are_not_known(audited):
    refused = [{"case": {"site": "a", "defence": "none"}, "why": "no such model"}]
    (answer,) = answers(audited((), [], refused=refused))
    assert answer.light is Light.NOT_KNOWN
    assert "no such model" in answer.words
    assert not answer.measure


def test_each_sum_is_an_answer_about_a_server_that_sees_no_more(audited):
    groups = [
        a_group("a"),
        a_group("a", defence=summing(2)),
        a_group("a", defence=summing(5), **NOTHING),
    ]
    found = answers(audited((), groups, health=HEALTHY, config=NINE))
    sums = by(found, Recipient.SUM)
    assert [a.light for a in sums] == [Light.LEAKS, Light.NONE_FOUND]
    assert "sum over 5 sites" in sums[1].words
    assert not by(found, Recipient.SITES)


def test_a_sum_that_could_not_be_attacked_somewhere_is_not_called_clean(audited):
    refused = [{"case": {"site": "b", "defence": summing(5)}, "why": "a damaged record"}]
    groups = [a_group("a", defence=summing(5), **NOTHING)]
    found = answers(audited((), groups, health=HEALTHY, refused=refused))
    assert [a.light for a in by(found, Recipient.SUM)] == [Light.NOT_KNOWN]


def test_a_sum_of_which_not_every_case_was_examined_is_not_called_clean(audited):
    clean = [a_group("a", defence=summing(5), **NOTHING)]
    case = {"site": "a", "round": 1, "attack": "row_space", "defence": summing(5)}
    for more in ({"left": [case]}, {"settled": [{"case": case, "why": "settled"}]}):
        found = answers(audited((), clean, health=HEALTHY, **more))
        assert [a.light for a in by(found, Recipient.SUM)] == [Light.NOT_KNOWN]
    found = answers(audited((), [*clean, a_group("b", **NOTHING)], health=HEALTHY))
    assert [a.light for a in by(found, Recipient.SUM)] == [Light.NOT_KNOWN]


def test_a_site_that_was_attacked_behind_a_protection_alone_keeps_it_open(audited):
    groups = [a_group("a", **NOTHING), a_group("b", defence="top_k:fraction=0.1", **NOTHING)]
    (answer,) = answers(audited((), groups, health=HEALTHY))
    assert answer.light is Light.NOT_KNOWN
    assert "of 1 nothing was attacked as it was sent" in answer.words


def test_the_sum_over_all_others_is_what_another_site_sees(audited):
    found = answers(audited((), [a_group("a", defence=summing(8))], config=NINE))
    assert [a.light for a in by(found, Recipient.SITES)] == [Light.LEAKS]

"""Tests of medleak.inversion.card.examine: what could not be tried is not known."""

import time

import pytest
from tests.inversion.card.descriptions import SMALL

from medleak.inversion.card.config import CardConfig
from medleak.inversion.card.examine import examine
from medleak.inversion.card.page import headline, page
from medleak.inversion.card.simulate import simulate
from medleak.inversion.report.reading import read_audit
from medleak.inversion.report.verdicts import Light

pytestmark = pytest.mark.slow


def test_an_attack_that_could_not_be_made_is_not_known_and_no_all_clear(tmp_path, monkeypatch):
    config = CardConfig.model_validate(SMALL)
    made = simulate(config, tmp_path / "simulation")

    def refuse(*args, **kwargs):
        raise ValueError("nothing to match")

    monkeypatch.setattr("medleak.inversion.attacks.row_space.run", refuse)
    monkeypatch.setattr("medleak.inversion.membership.assessor.Assessor.assess", refuse)
    found = examine(config, made, tmp_path / "audit")
    assert found.recipients[0].light is Light.NOT_KNOWN
    assert not found.known
    assert found.membership.untested == "nothing to match"
    assert "Not tested: nothing to match" in page(found)
    assert headline(found).startswith("Not known")
    assert found.recipients[0].members == "not tested"


def test_who_was_in_is_asked_behind_every_defence_and_its_audit_has_it(tmp_path):
    config = CardConfig.model_validate(SMALL | {"sums": [2]})
    made = simulate(config, tmp_path / "simulation")
    found = examine(config, made, tmp_path / "audit")
    assert len(found.membership.kinds) == config.sites
    assert [r.members != "not tested" for r in found.recipients] == [True, True]
    kept = read_audit(tmp_path / "audit")
    assert {m.defence for m in kept.membership} == {r.defence for r in found.recipients}
    assert found.late == ""
    assert "Cut short" not in page(found)
    # A sum of other sites may hold the very image: it is no null.
    assert all((row.ssim_other is None) == (row.defence != "none") for row in kept.rows)


def test_images_that_nobody_can_be_asked_about_are_not_tested_and_the_rest_is(tmp_path):
    config = CardConfig.model_validate(SMALL)
    made = simulate(config, tmp_path / "simulation")
    made.candidates.write_text("{}")
    found = examine(config, made, tmp_path / "audit")
    assert found.membership.untested
    assert found.recipients[0].members == "not tested"
    assert found.recipients[0].ssim is not None


def test_past_its_time_a_card_begins_nothing_and_says_what_it_left_out(tmp_path):
    config = CardConfig.model_validate(SMALL | {"defences": ["withhold"]})
    made = simulate(config, tmp_path / "simulation")
    found = examine(config, made, tmp_path / "audit", until=time.monotonic())
    bare, defended = found.recipients
    assert bare.sites == 1  # the first attack ends, whatever the time
    assert (defended.sites, defended.light, defended.members) == (0, Light.NOT_KNOWN, "not tested")
    assert defended.why == found.membership.untested == "the card's 20 minutes were over"
    assert found.late == "the card's 20 minutes were over, and 7 of 8 attacks were not made"
    assert "Cut short: the card's 20 minutes were over" in page(found)

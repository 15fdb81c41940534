"""Tests of medleak.inversion.card.examine: what could not be tried is not known."""

import pytest
from tests.inversion.card.descriptions import SMALL

from medleak.inversion.card.config import CardConfig
from medleak.inversion.card.examine import examine
from medleak.inversion.card.page import headline, page
from medleak.inversion.card.simulate import simulate
from medleak.inversion.report.verdicts import Light

pytestmark = pytest.mark.slow


def test_an_attack_that_could_not_be_made_is_not_known_and_no_all_clear(tmp_path, monkeypatch):
    config = CardConfig.model_validate(SMALL)
    made = simulate(config, tmp_path / "simulation")

    def refuse(*args, **kwargs):
        raise ValueError("nothing to match")

    monkeypatch.setattr("medleak.inversion.attacks.row_space.run", refuse)
    monkeypatch.setattr("medleak.inversion.card.examine.assess_run", refuse)
    found = examine(config, made, tmp_path / "audit")
    assert found.recipients[0].light is Light.NOT_KNOWN
    assert not found.known
    assert found.membership.untested == "nothing to match"
    assert "Not tested: nothing to match" in page(found)
    assert headline(found).startswith("Not known")

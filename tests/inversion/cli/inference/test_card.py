"""Tests of medleak card."""

import json
from pathlib import Path

import pytest
from tests.inversion.card.descriptions import SMALL
from typer.testing import CliRunner

from medleak.inversion.cli import app

pytestmark = pytest.mark.slow


def test_a_card_ends_with_a_page_that_says_what_was_not_tested(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    description = tmp_path / "ours.yaml"
    lines = {**SMALL, "defences": ["percentile_gaussian:sigma0=100"], "sums": [2]}
    description.write_text(json.dumps(lines))
    out = Path("card")  # from where one stands, as in the guide
    done = CliRunner().invoke(app, ["card", str(description), "-o", str(out)])
    assert done.exit_code in (0, 3), done.output
    card = json.loads((out / "card.json").read_text())
    assert [r["defence"] for r in card["recipients"]] == [
        "none",
        "percentile_gaussian:sigma0=100",
        "secure_aggregation:sites=2",
    ]
    assert (done.exit_code == 3) == (not card["known"])
    text = (out / "card.md").read_text()
    assert "## Not tested" in text
    assert "the sum over 2 sites alone" in text
    assert "final model" in text
    assert "a simulation on made-up images" in text
    again = CliRunner().invoke(app, ["card", str(description), "-o", str(out)])
    assert again.exit_code == 2
    assert "mixes with nothing" in again.stderr

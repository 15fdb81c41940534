"""Tests of medleak ledger: what it prints of ledgers, sound and changed."""

import json

import pytest
from typer.testing import CliRunner

from medleak.filters.privacy import ledger
from medleak.filters.privacy.accounting import Guarantee, gaussian
from medleak.filters.privacy.ledger import Spend
from medleak.inversion.cli import app

SPEND = Spend(
    job="job-1",
    round=0,
    site="site-1",
    defences=[{"name": "clipped_gaussian", "args": {"noise_multiplier": 8.0}}],
    guarantees=[Guarantee(event=gaussian(4.0), unit="client", relation="replace")],
    delta=1e-5,
    released_sha256="ab" * 32,
)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def kept(tmp_path):
    """The ledger of one release of site-1, where a site keeps its own."""
    path = tmp_path / "workspace" / "site-1" / ledger.FILE_NAME
    ledger.append(path, SPEND)
    return path


def medleak(*args):
    return CliRunner().invoke(app, ["ledger", *map(str, args)], env={"COLUMNS": "200"})


def test_what_was_spent_is_printed_with_its_unit_and_relation(kept):
    result = medleak()
    assert result.exit_code == 0, result.output
    epsilon = ledger.read(kept).entries[0].epsilons[0]
    assert epsilon is not None
    assert "chain intact, 1 releases" in result.output
    assert f"Spent in all: ε = {epsilon:.4g} at δ = 1e-05 for a client (replace)" in result.output


def test_json_alone_is_on_standard_output(kept):
    content = json.loads(medleak("--json").stdout)
    (one,) = content["ledgers"]
    assert (one["ledger"], one["torn"]) == (str(kept.relative_to(kept.parents[2])), False)
    assert one["entries"][0]["spend"]["site"] == "site-1"
    assert content["refused"] == []


def test_a_changed_ledger_is_named_and_fails(kept):
    kept.write_bytes(kept.read_bytes().replace(b"site-1", b"site-2"))
    result = medleak()
    assert result.exit_code == 1
    assert str(kept.name) in result.stderr
    assert "chain intact" not in result.stdout


def test_where_there_is_no_ledger_the_command_says_what_to_do(tmp_path):
    (tmp_path / "empty").mkdir()
    for args, said in ((["empty"], "No privacy ledger under empty"), (["gone"], "does not exist")):
        result = medleak(*args)
        assert result.exit_code == 2
        assert said in result.stderr

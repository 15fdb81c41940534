"""Tests of medleak ledger: what it prints of ledgers, sound and changed."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from medleak.custom.record import (
    InputSpec,
    LedgerHead,
    Manifest,
    ModelSpec,
    TaskSpec,
    UpdateInfo,
    utc_now,
    write_manifest,
    write_record,
)
from medleak.filters.privacy import ledger
from medleak.filters.privacy.accounting import Guarantee, dp_sgd, gaussian
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


def recorded(root, entries, site="site-1", *, declared=True):
    """A server's record of ``site``, with the head that it declared in each round."""
    manifest = Manifest(
        job="j",
        created=utc_now(),
        model=ModelSpec(path="medleak.custom.networks.resnet18"),
        task=TaskSpec(num_classes=2),
        input=InputSpec(spatial_size=(64, 64), channels=1),
    )
    write_manifest(root, manifest)
    for entry in entries:
        info = UpdateInfo(
            **{"round": entry.number, "site": site, "time": utc_now(), "n_images": 1},
            **{"n_steps": 1, "batch_size": 1, "local_epochs": 1, "lr": 0.01},
            ledger=LedgerHead(entries=entry.number, head=entry.hash) if declared else None,
        )
        write_record(root, info, {"w": np.ones(3, np.float32)}, {"w": np.ones(3, np.float32)})
    return root


def test_the_heads_that_the_server_holds_are_lines_of_the_ledger(kept, tmp_path):
    entry = ledger.append(kept, dataclasses.replace(SPEND, round=1))
    record = recorded(tmp_path / "records", [entry])
    result = medleak(kept.parent, "--check", record)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("also_new_releases", [0, 3])
def test_a_ledger_that_began_anew_with_its_witness_is_noticed(kept, tmp_path, also_new_releases):
    entry = ledger.append(kept, dataclasses.replace(SPEND, round=1))
    record = recorded(tmp_path / "records", [entry])
    shutil.rmtree(kept.parent)
    for number in range(also_new_releases):
        ledger.append(kept, dataclasses.replace(SPEND, round=number))
    if not also_new_releases:
        kept.parent.mkdir()
        kept.touch()
    result = medleak(kept.parent, "--check", record)
    assert result.exit_code == 1
    assert "It was emptied" in result.output or "replaced or restored" in result.output


def test_a_record_without_heads_proves_nothing(kept, tmp_path):
    record = recorded(tmp_path / "records", [])
    result = medleak(kept.parent, "--check", record)
    assert result.exit_code == 2
    assert "holds no head of a ledger" in result.output


def test_a_copy_without_its_key_says_so(kept, tmp_path):
    copy = tmp_path / "handed over.jsonl"
    copy.write_bytes(kept.read_bytes())
    result = medleak(copy)
    assert result.exit_code == 0
    assert "a copy without its key" in result.output


def test_what_left_beside_the_updates_is_said(kept):
    beside = dataclasses.replace(SPEND.guarantees[0], beside=("number of images",))
    ledger.append(kept, dataclasses.replace(SPEND, round=1, guarantees=[beside]))
    assert "left exactly beside the updates: number of images." in medleak().output


def test_no_word_of_another_library_comes_before_the_ledger_of_dp_sgd(tmp_path):
    guarantees = [dp_sgd(noise_multiplier=2.0, sample_rate=0.5, steps=10)]
    release = dataclasses.replace(SPEND, guarantees=guarantees)
    ledger.append(tmp_path / "site-1" / ledger.FILE_NAME, release)
    program = "from medleak.inversion.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "ledger", str(tmp_path / "site-1")],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "ε = " in done.stdout


def test_a_ledger_without_a_release_verifies_nothing(tmp_path):
    for content in (b"", b'{"torn'):
        (tmp_path / "copy.jsonl").write_bytes(content)
        result = medleak(tmp_path / "copy.jsonl")
        assert result.exit_code == 3
        assert "holds no release, so nothing was verified" in result.stderr


def test_a_copy_that_ends_in_half_a_line_is_not_known(tmp_path):
    path = tmp_path / "site-1" / ledger.FILE_NAME
    for round in range(2):
        ledger.append(path, dataclasses.replace(SPEND, round=round))
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(path.read_bytes()[:-20])
    result = medleak(copy, "--json")
    assert result.exit_code == 3
    assert "ends in half a line" in json.loads(result.stdout)["not_examined"][0]


def test_a_site_of_the_record_whose_ledger_is_gone_is_said(kept, tmp_path):
    record = recorded(tmp_path / "more", ledger.read(kept).entries, site="site-2")
    record = recorded(record, [ledger.append(kept, dataclasses.replace(SPEND, round=1))])
    result = medleak("workspace", "--check", record)
    assert result.exit_code == 3
    assert "site-2 declared 1 releases in the record and has no ledger here" in result.stderr
    assert medleak(kept.parent, "--check", record).exit_code == 0


def test_an_update_that_declares_no_line_is_not_covered_by_the_ledger(kept, tmp_path):
    other = ledger.append(kept, dataclasses.replace(SPEND, round=1))
    record = recorded(tmp_path / "records", [other])
    past = dataclasses.replace(other, number=other.number + 1)
    recorded(record, [past], declared=False)
    result = medleak(kept.parent, "--check", record)
    assert result.exit_code == 3
    assert f"site-1 sent updates that declare no line of a ledger (round {past.number})" in (
        result.stderr
    )
    recorded(record, [past], site="site-2", declared=False)
    assert "site-2" not in medleak(kept.parent, "--check", record).stderr
    assert "site-2 sent updates" in medleak("workspace", "--check", record).stderr


def test_without_any_run_the_places_that_were_looked_at_are_named():
    result = medleak()
    assert result.exit_code == 2
    assert "under workspace/ or simulator_workspace/" in result.stderr

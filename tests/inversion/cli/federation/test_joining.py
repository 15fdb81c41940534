"""Tests of medleak records join, and of a run that several records are found in."""

import json
import shutil

import pytest
from tests.inversion.cli.commands import medleak, refused

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def swarm(make_run, tmp_path):
    """Two sites' records of one run, who aggregated one round each, and a third's of none."""
    records = make_run({"site-1": 1, "site-2": 1}, rounds=(0, 1)).records
    run = tmp_path / "workspace" / "swarm"
    for k, gone in (("1", 1), ("2", 0), ("3", None)):
        new = run / f"site-{k}" / "job" / "records"
        shutil.copytree(records, new)
        for round in (0, 1) if gone is None else (gone,):
            shutil.rmtree(new / f"round_{round:04d}")
    manifest = new / "manifest.json"
    manifest.write_text(
        json.dumps(json.loads(manifest.read_text()) | {"silence": "this site aggregated none"})
    )
    shutil.rmtree(records)
    return run


def test_a_swarms_records_become_one_that_is_audited_as_any(swarm):
    assert "medleak records join" in refused(medleak("records", "verify", swarm), 1)
    assert "The newest run holds 2 records" in refused(medleak("records", "verify"), 1)
    done = medleak("records", "join", swarm, "-o", "joined")
    assert done.exit_code == 0, done.output
    assert "joined: 4 updates. Next: medleak audit joined" in done.stdout
    assert "4 of 4 updates are as recorded" in medleak("records", "verify", "joined").stdout


def test_the_site_that_aggregated_everything_is_found_beside_the_others(swarm):
    shutil.rmtree(swarm / "site-1")
    assert "2 of 2 updates are as recorded" in medleak("records", "verify").stdout
    assert "2 of 2 updates are as recorded" in medleak("records", "verify", swarm).stdout


def test_where_the_jobs_own_network_lies_is_said(swarm):
    own = swarm / "site-1" / "job" / "app_site-1" / "custom" / "net.py"
    own.parent.mkdir(parents=True)
    own.write_text("raise SystemExit")
    said = medleak("records", "join", swarm, "-o", "joined").stdout
    assert f"Next: PYTHONPATH={own.parent} medleak audit joined" in said


def test_what_was_not_joined_is_said(swarm):
    stray = swarm / "site-2" / "job" / "records" / "round_0001" / "x.safetensors"
    stray.write_bytes(b"x")
    done = medleak("records", "join", swarm, "-o", "joined", "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["not_joined"] != []
    assert "was not joined" in done.stderr
    assert "No record in" in refused(medleak("records", "join", "nowhere", "-o", "b"), 1)

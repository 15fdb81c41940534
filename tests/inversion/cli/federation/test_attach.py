"""Tests of medleak attach: what it prints, and what it refuses in a line."""

import json

from tests.custom.flare.test_attach import job
from tests.inversion.cli.commands import medleak, refused


def test_attach_says_what_it_found_and_what_is_not_known(tmp_path):
    said = ("--task", "bce:14", "--defence", "percentile_gaussian:sigma0=10")
    done = medleak("attach", job(tmp_path), "-o", tmp_path / "new", *said)
    assert done.exit_code == 0, done.output
    assert "workflow FedAvg." in done.stdout
    assert "To be said when the run is audited: images: not known." in done.stdout
    again = medleak("attach", tmp_path / "job", "-o", tmp_path / "b", "--json")
    assert set(json.loads(again.stdout)) == {"out", "found", "unknown"}


def test_a_job_that_cannot_be_attached_to_is_one_line(tmp_path):
    assert "exists" in refused(medleak("attach", job(tmp_path), "-o", tmp_path), 2)

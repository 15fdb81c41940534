"""Tests of medleak attach: what it prints, and what it refuses in a line."""

import json
from pathlib import Path

from tests.custom.flare.checking.test_job_check import HELLO, NETWORK, changed
from tests.custom.flare.test_attach import job
from tests.inversion.cli.commands import medleak, refused


def test_attach_says_what_it_found_and_what_is_not_known(tmp_path):
    said = ("--task", "bce:14", "--defence", "percentile_gaussian:sigma0=10")
    done = medleak("attach", job(tmp_path), "-o", tmp_path / "new", *said)
    assert done.exit_code == 0, done.output
    assert "workflow FedAvg." in done.stdout
    assert "To be said when the run is audited: images: not known." in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith("When it has run: medleak audit RUN --input HxWxC --schedule n_images=")
    again = medleak("attach", tmp_path / "job", "-o", tmp_path / "b", "--json")
    assert set(json.loads(again.stdout)) == {"out", "found", "unknown", "options"}


def hello(tmp_path, client=HELLO):
    folder = job(tmp_path, client=client)
    (folder / "app" / "custom" / "model.py").write_text(NETWORK)
    return folder


def test_check_says_what_would_be_recorded(tmp_path):
    granted = ("--check", "--allow-model", "model")
    done = medleak("attach", hello(tmp_path), "-o", tmp_path / "new", *granted)
    assert done.exit_code == 0, done.output
    assert "FULL weights without a declared schedule: recorded" in done.stdout
    assert "Recording: works." in done.stdout
    again = medleak("attach", tmp_path / "job", "-o", tmp_path / "b", "--json", *granted)
    assert json.loads(again.stdout)["check"]["verdict"] == "works"


def test_a_check_that_may_not_run_the_jobs_code_is_not_known_and_one_that_fails_is_1(tmp_path):
    untried = medleak("attach", hello(tmp_path), "-o", tmp_path / "new", "--check")
    assert untried.exit_code == 3
    assert "--allow-model model." in untried.stdout
    assert "could not be tried" in untried.stderr
    (tmp_path / "b").mkdir()
    broken = hello(tmp_path / "b", changed(HELLO, no_such=1))
    failed = medleak(
        *("attach", broken, "-o", tmp_path / "c", "--check", "--allow-model", "model.", "--json")
    )
    assert failed.exit_code == 1
    assert "no_such" in json.loads(failed.stdout)["check"]["seen"][0]


def test_allow_model_without_check_is_refused_and_nothing_is_written(tmp_path):
    line = refused(medleak("attach", job(tmp_path), "-o", tmp_path / "n", "--allow-model", "m."), 2)
    assert "--check" in line
    assert not (tmp_path / "n").exists()


def test_a_job_that_cannot_be_attached_to_is_one_line(tmp_path):
    assert "exists" in refused(medleak("attach", job(tmp_path), "-o", tmp_path), 2)
    for given, why in ((tmp_path / "gone", "does not exist"), (Path(__file__), "is a file")):
        line = refused(medleak("attach", given, "-o", tmp_path / "n"), 2)
        assert f"{given} {why}: name the folder of an exported job" in line

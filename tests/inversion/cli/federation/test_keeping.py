"""Tests of medleak records prune, compress and budget."""

import json

import pytest
from tests.inversion.cli.commands import flip_a_byte, medleak, refused

pytestmark = pytest.mark.usefixtures("here")


def test_prune_says_what_goes_and_does_it_when_told_to(make_run):
    run = make_run({"site-1": 1, "site-2": 1}, rounds=(0, 3, 4))
    asked = ("records", "prune", run.records, "--round", "3-9")
    result = medleak(*asked)
    assert "4 updates would go" in result.output
    assert "join fewer rounds of site-1, site-2" in result.output
    assert "Nothing was done" in result.output
    assert len(json.loads(medleak("records", "ls", "--json").stdout)["updates"]) == 6
    told = json.loads(medleak(*asked, "--yes", "--json").stdout)
    assert (told["done"], told["stay"], len(told["updates"])) == (True, 2, 4)
    verified = medleak("records", "verify")
    assert "2 of 2 updates" in verified.output
    assert "4 updates arrived and are not in the record (4: pruned" in verified.output
    assert "no such round is recorded" in refused(medleak(*asked), 2)


@pytest.mark.parametrize("text", ["x", "3-1", "-1", "1-99999999999"])
def test_a_round_that_is_none_is_refused(make_run, text):
    make_run({"site-1": 1})
    assert "is no round" in refused(medleak("records", "prune", f"--round={text}"), 2)


def test_a_models_file_that_was_kept_and_changed_since_is_bad(make_run):
    run = make_run({"site-1": 1, "site-2": 1}, rounds=(0, 3))
    medleak("records", "prune", "--round", "0", "--yes")
    assert medleak("records", "verify").exit_code == 0
    flip_a_byte(run.records / "round_0000" / "global.safetensors")
    assert "round 0, its model" in refused(medleak("records", "verify"), 1)


def test_compress_says_what_it_saved_and_names_what_is_damaged(make_run):
    run = make_run({"site-1": 1, "site-2": 1})
    flip_a_byte(run.records / "round_0000" / "site-2.safetensors")
    result = medleak("records", "compress", "--json")
    assert "site-2.safetensors does not have the SHA-256" in refused(result, 1)
    assert json.loads(result.stdout)["files"] == 2
    assert "0 files" in medleak("records", "compress").stdout


def test_budget_says_before_the_run_what_will_be_left_out(make_run):
    run = make_run({"site-1": 1})
    sized = ("records", "budget", "--sites", 100, "--rounds", 100)
    result = medleak(*sized, "--model-mb", 45, "--budget-mb", 46000)
    assert "10000 updates of 45 MB: 454 GB in all" in result.stdout
    assert "8989 of 10000 updates will be left out" in result.stdout
    weights = run.records / "round_0000" / "global.safetensors"
    content = json.loads(medleak(*sized, "--weights", weights, "--json").stdout)
    assert content["updates_kept"] == 10000
    assert content["left_out"] == ""
    for wrong in ((), ("--weights", weights, "--model-mb", 1)):
        assert "Give --weights or --model-mb" in refused(medleak(*sized, *wrong), 2)

"""Tests of medleak inspect."""

import json

import pytest
from tests.inversion.cli.commands import medleak, refused

from medleak.custom.networks import resnet18
from medleak.custom.record import ModelSpec

pytestmark = pytest.mark.usefixtures("here")


def test_inspect_tells_layer_by_layer_and_answers_whether_images_can_leak(make_run):
    make_run({"site-1": 1, "site-2": 1}, rounds=(0, 3))
    result = medleak("inspect")
    assert result.exit_code == 0, result.output
    assert "round 3, site-1" in result.output
    assert "Yes, by algebra alone: " in result.output
    content = json.loads(medleak("inspect", "--site", "site-2", "--round", 0, "--json").stdout)
    assert (content["round"], content["site"], content["images"]) == (0, "site-2", 1)
    assert content["verdict"] in ("exact", "yes")
    assert any(t["source"] == "norm_statistics" and t["useful"] for t in content["told"])
    assert all(t["words"] for t in content["told"])


def test_inspect_shows_silent_layers_where_they_are_asked_for(make_run):
    make_run({"site-1": 1})
    few, every = (medleak("inspect", *more).stdout for more in ((), ("--all",)))
    assert len(every.splitlines()) > len(few.splitlines())


@pytest.mark.parametrize(("columns", "lines"), [(80, True), (140, False)])
def test_a_table_that_is_too_wide_for_the_terminal_is_a_list(make_run, columns, lines):
    make_run({"site-1": 1})
    shown = medleak("inspect", columns=columns).stdout
    assert ("\n- norm_statistics, bn1: mean and variance" in shown) is lines
    assert ("tells" in shown.splitlines()[3]) is not lines


def test_inspect_says_where_the_update_contradicts_what_the_auditor_said(make_run):
    model = ModelSpec(path="medleak.custom.networks.resnet18", args={"num_classes": 2})
    make_run({"site-1": 4}, size=32, model=model, network=resnet18(2))
    assert not json.loads(medleak("inspect", "--json").stdout)["contradictions"]
    shown = medleak("inspect", "--schedule", "n_images=1,batch_size=1").stdout
    assert "The update contradicts what was said: " in shown


def test_inspect_refuses_an_update_that_is_not_there(make_run):
    make_run({"site-1": 1})
    assert "site-7" in refused(medleak("inspect", "--site", "site-7"), 3)

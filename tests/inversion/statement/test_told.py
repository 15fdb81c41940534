"""Tests of what an audit writes of what it knew."""

import json

from medleak.custom.record import SCHEDULE
from medleak.inversion.statement import Given, told


def test_every_value_comes_with_who_said_it(make_run):
    run = make_run({"site-9": 2})
    given = Given(schedule={"lr": 0.5, "n_steps": 7})
    found = told(run.records, given, [(0, "site-9")])
    assert json.loads(json.dumps(found)) == found
    assert found["run"]["model"]["source"] == "declared"
    update = found["updates"]["0/site-9"]
    assert set(update["schedule"]) == set(SCHEDULE)
    assert update["schedule"]["lr"] == {"value": 0.5, "source": "given"}
    assert update["schedule"]["n_images"] == {"value": 2, "source": "declared"}
    assert update["schedule"]["betas"] == {"value": None, "source": "unknown"}
    assert "n_steps is 7" in "; ".join(update["contradictions"])


def test_an_update_that_cannot_be_read_is_left_to_its_refusal(make_run):
    run = make_run({"site-9": 1})
    (run.records / "round_0000" / "site-9.safetensors").write_bytes(b"")
    assert told(run.records, Given(), [(0, "site-9")])["updates"] == {}

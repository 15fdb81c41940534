"""Tests of medleak.filters.adapters.incoming.rehearsal: what gives images away is not trained."""

import json
import os

import pytest
from nvflare.apis.filter import ContentBlockedException, FilterContextKey, FilterSource
from tests.filters.sentinel.models import linear
from tests.filters.sites import site

from medleak.filters.adapters import Rehearsal

__all__ = ["site"]

FINE = {"images": 8, "layers": 2, "given_away": 0, "dominance": 0.3, "class_loss": 1.2}
FUNCTIONS = "def answer(state, answer):\n    return answer\n"
NAMED = "rehearsals_of_this_site:answer"


@pytest.fixture(autouse=True)
def functions(tmp_path, monkeypatch):
    (tmp_path / "rehearsals_of_this_site.py").write_text(FUNCTIONS)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


def sent(site, number=0, source=FilterSource.SITE, answer=FINE, name="train", **settings):
    made = Rehearsal({"answer": answer}, measure=NAMED, **settings)
    made.set_prop(FilterContextKey.SOURCE, source)  # as NVFlare does
    ctx, data = site.task(linear(), name=name, round_number=number, task_id=f"t{number}")
    return made.process(data, ctx)


def seen(site):
    file = site.root / "medleak_state" / "job-1" / "rehearsal" / "seen.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_model_that_tells_of_nobody_goes_through_and_is_noted(site):
    for number in range(2):
        sent(site, number)
    assert [line["outcome"] for line in seen(site)] == ["let through"] * 2
    assert seen(site)[0]["checks"]["dominance"]["statistic"] == 0.3


def test_one_that_gives_an_image_away_is_refused_and_the_next_is_tried(site):
    with pytest.raises(ContentBlockedException, match="would give images of this site away") as no:
        sent(site, answer={**FINE, "given_away": 3})
    assert "0.375" not in str(no.value)
    sent(site, 1)
    assert [line["outcome"] for line in seen(site)] == ["refuse_round", "let through"]


def test_a_run_that_is_refused_stays_refused(site):
    with pytest.raises(ContentBlockedException):
        sent(site, answer={**FINE, "class_loss": 100.0}, on_alarm="refuse_run")
    with pytest.raises(ContentBlockedException, match="refused for good"):
        sent(site, 1, on_alarm="refuse_run")


def test_a_warning_lets_the_task_through_but_nothing_that_could_not_be_tried(site):
    sent(site, answer={**FINE, "given_away": 3}, on_alarm="warn")
    with pytest.raises(ContentBlockedException, match="it must give"):
        sent(site, 1, answer={}, on_alarm="warn")


@pytest.mark.parametrize("source", [FilterSource.JOB, None])
def test_a_rehearsal_that_a_job_names_is_not_imported(source, site):
    with pytest.raises(ContentBlockedException, match="was not imported"):
        sent(site, source=source)


def test_another_task_is_refused(site):
    with pytest.raises(ContentBlockedException, match="The task is 'validate'"):
        sent(site, name="validate")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"measure": "module.function"}, "must be 'module:function'"),
        ({"given_away": 2}, "given_away"),
        ({"on_alarm": "sleep"}, "on_alarm"),
        ({"time_limit": 0}, "time_limit"),
        ({"tasks": "train"}, "tasks"),
    ],
)
def test_settings_that_cannot_judge_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        Rehearsal({}, **bad)

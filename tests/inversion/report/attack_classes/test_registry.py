"""No class is missing silently: not in the table, not in the page."""

from dataclasses import replace

import pytest
from tests.inversion.report.answers import an_answer
from tests.inversion.report.attack_classes.audits import summing
from tests.inversion.report.directories import a_group, grid

from medleak.inversion.linkage.findings import WHOSE
from medleak.inversion.report.attack_classes import (
    attributes,
    final_model,
    malicious_server,
    registry,
)
from medleak.inversion.report.attack_classes.answer import Answer, Recipient
from medleak.inversion.report.attack_classes.registry import ROWS, asked, worst
from medleak.inversion.report.html.page import render
from medleak.inversion.report.verdicts import Light

CLASSES = {
    "reconstruction",
    "reidentification",
    "membership_inference",
    "attribute_inference",
    "site_inference",
    "model_inversion",
    "malicious_server",
}


def test_the_classes_that_a_report_has_to_speak_of_all_have_a_row():
    assert {row.name for row in ROWS} >= CLASSES
    assert len({row.name for row in ROWS}) == len({row.title for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_says_why_it_is_silent_and_about_whom_it_is_not(row):
    assert row.missing
    assert row.asks.endswith("?")
    assert row.source
    assert set(row.recipients) == set(Recipient) or row.elsewhere


FOUND = {
    attributes.FILE: {"told": [{"what": WHOSE, "kind": "not told", "p": 0.5}]},
    final_model.FILE: {"inversion": {"kind": "no leak found", "best": 0, "lead": 0, "easy": 0.5}},
    malicious_server.FILE: {"sites": {"a": {"models": [{"round": 1}], "all_examined": True}}},
}


@pytest.mark.parametrize("row", [r for r in ROWS if r.file], ids=lambda row: row.name)
@pytest.mark.parametrize("record", [None, {}, {"job": "phantom_job", "manifest_sha256": "ef" * 32}])
def test_a_file_of_another_run_or_of_none_that_is_named_answers_nothing(audited, row, record):
    content = {**FOUND[row.file], "updates": ["0/a"]}
    of_this = audited(grid(["a"], rounds=1), beside={row.file: content})
    assert row is attributes.PATIENTS or any(a.tested for a in row.answers(of_this))
    other = audited(grid(["a"], rounds=1), beside={row.file: content | {"record": record}})
    (asked_,) = [one for one in asked(other) if one.of is row]
    assert not asked_.leading.tested
    assert row is malicious_server.CLASS or "not of the run" in asked_.leading.words


@pytest.mark.parametrize("row", [r for r in ROWS if r.file], ids=lambda row: row.name)
@pytest.mark.parametrize("field", ["record", "updates"])
def test_a_config_that_does_not_say_what_was_audited_lets_no_file_answer(audited, row, field):
    content = {**FOUND[row.file], "updates": ["0/a"]}
    for config in ({field: None}, {field: []}):
        damaged = audited(grid(["a"], rounds=1), beside={row.file: content}, config=config)
        assert not any(a.tested for a in row.answers(damaged))


def test_an_audit_of_images_alone_says_not_tested_of_all_else(audited):
    audit = audited(grid(["a"], leak={"a": 0.97}))
    found = {one.of.name: one for one in asked(audit)}
    assert [name for name, one in found.items() if one.leading.tested] == ["reconstruction"]
    for one in found.values():
        assert {a.recipient for a in one.answers} == set(one.of.recipients)
        assert all(a.words for a in one.answers)
    html = render([audit]).html.decode()
    for row in ROWS:
        assert row.title in html
    assert html.count("<span>not tested</span>") > len(ROWS)


def test_the_leading_answer_is_the_worst_of_what_was_tested(audited):
    groups = [a_group("a", defence=summing(2))]
    (one, *_) = asked(audited((), groups))
    assert one.leading.recipient is Recipient.SUM
    as_sent = one.by(Recipient.SERVER)
    assert as_sent is not None
    assert not as_sent.tested
    assert one.by(Recipient.FINAL_MODEL) is None


def test_a_recipient_has_the_worst_light_of_all_classes_and_how_many_were_tested(audited):
    audit = audited((), [a_group("site-1")], membership=[an_answer("site-1")])
    light, tested, there = worst(asked(audit), Recipient.SERVER)
    assert light is Light.LEAKS
    assert (tested, there) == (2, 6)
    assert worst(asked(audit), Recipient.FINAL_MODEL)[:2] == (None, 0)


def test_no_class_is_clear_of_what_a_sample_left_out(audited, monkeypatch):
    audit = audited(grid(["a"], leak={"a": 0.97}))
    clear = Answer(recipient=Recipient.SERVER, light=Light.NONE_FOUND, words="nothing came back")
    leaks = replace(clear, light=Light.LEAKS)
    row = replace(ROWS[0], answers=lambda audit: [clear])
    other = replace(ROWS[1], answers=lambda audit: [leaks])
    monkeypatch.setattr(registry, "ROWS", (row, other))
    assert [one.leading for one in asked(audit)] == [clear, leaks]
    first, second = asked(replace(audit, not_drawn={"b": 5}))
    assert first.leading.light is Light.NOT_KNOWN
    assert "5 updates were not drawn" in first.leading.words
    assert second.leading == leaks

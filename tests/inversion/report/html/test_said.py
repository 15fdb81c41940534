"""Tests of what the annex tells of the updates: every value with who said it."""

import json

from tests.inversion.report.directories import grid, report_of

from medleak.inversion.report.html.said import MOST_KINDS, SOURCES, said
from medleak.inversion.report.reading import read_audit

RUN = {
    "model": {"value": {"path": "monai.networks.nets.ResNet", "args": {}}, "source": "declared"},
    "task": {"value": {"criterion": "bce", "num_classes": 14}, "source": "given"},
    "input": {"value": None, "source": "unknown"},
}
WHY = "batch norm counted 9 forward passes, and n_steps is 1 (declared)"


def entry(n_images: int | str = 4, contradictions=()):
    schedule = {
        "n_images": {"value": n_images, "source": "declared"},
        "batch_size": {"value": 2, "source": "given"},
        "n_steps": {"value": 1, "source": "inferred"},
        "lr": {"value": None, "source": "unknown"},
        "betas": {"value": [0.9, 0.999], "source": "declared"},
    }
    return {"schedule": schedule, "contradictions": list(contradictions)}


def test_every_value_stands_under_who_said_it():
    found = said({"run": RUN, "said": {"0/a": entry()}})
    (known,) = found.updates
    values = dict(zip(SOURCES, known.values or (), strict=True))
    assert values == {
        "declared": "n_images 4; betas [0.9, 0.999]",
        "given": "batch_size 2",
        "inferred": "n_steps 1",
        "unknown": "lr",
    }
    assert found.run[1:] == [
        ("task", '{"criterion": "bce", "num_classes": 14}', "given"),
        ("input", "not known", "unknown"),
    ]
    assert not found.contradicted


def test_updates_of_which_the_same_was_known_are_one_line_and_contradicted_ones_come_first():
    entries = {f"{r}/a": entry() for r in range(100)} | {"7/b": entry(contradictions=[WHY] * 7)}
    odd, others = said({"said": entries}).updates
    assert (odd.updates, odd.more) == (["7/b"], 0)
    assert (odd.against, odd.more_against) == ([WHY] * 5, 2)
    assert len(others.updates) + others.more == 100
    assert others.against == []


def test_many_different_updates_are_counted_where_they_are_not_shown():
    found = said({"said": {f"0/{n}": entry(n) for n in range(1, 1001)}})
    assert len(found.updates) == MOST_KINDS
    assert found.left_out == 1000 - MOST_KINDS
    worst = {f"0/{n}": entry("x" * 10_000 + str(n), ["y" * 10_000] * 9) for n in range(1000)}
    assert len(str(said({"said": worst}))) < 300_000


def test_an_update_that_was_not_read_is_no_update_without_contradictions(directory):
    config = {"run": RUN, "said": {"0/a": entry()}, "updates": {"0/a": {}, "0/b": None}}
    read, unread = said(config).updates
    assert read.values is not None
    assert unread.values is None
    html = report_of(directory.write(grid(["a"], rounds=1), config=config)).html.decode()
    assert "not known: the update could not be read" in html


def test_an_audit_that_did_not_write_it_down_still_renders_and_says_so(directory):
    folder = directory.write(grid(["a"]))
    assert not said(read_audit(folder).config).recorded
    assert "an older medleak made this audit" in report_of(folder).html.decode()


def test_what_is_of_another_shape_is_no_statement():
    odd = {"n": 3, "lr": {"value": 0.1, "source": "an angel"}, "eps": {"value": {"a": [1]}}}
    found = said({"run": [1], "said": {"0/a": {"schedule": odd, "contradictions": 3}, "0/b": 7}})
    read, unread = found.updates
    assert read.values is not None
    assert read.values[:3] == ["", "", ""]
    assert "lr 0.1 (an angel)" in read.values[3]
    assert "n 3 (source not recorded)" in read.values[3]
    assert unread.values is None
    assert said({"run": 1, "said": "x"}).recorded is False


def test_the_annex_shows_it_and_is_open_where_an_update_contradicts_it(directory):
    config = {"run": RUN, "said": {"0/a": entry(contradictions=[WHY])}}
    html = report_of(directory.write(grid(["a"], rounds=1), config=config)).html.decode()
    annex = html.partition('<details open id="said">')[2].partition("</details>")[0]
    for text in (WHY, "given by the auditor", "batch_size 2", "n_steps 1", "monai.networks"):
        assert text in annex
    agreed = {"run": RUN, "said": {"0/a": entry()}}
    (directory.path / "config.json").write_text(json.dumps(agreed))
    assert '<details id="said">' in report_of(directory.path).html.decode()

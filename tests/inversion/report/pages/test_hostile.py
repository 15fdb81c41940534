"""A site's name, an audit's texts and files may be an attacker's: they are shown, not obeyed."""

import csv
import io
import json

import pytest
from tests.inversion.report.directories import a_group, grid, report_of

pytestmark = pytest.mark.slow

NAMES = {
    "script": "<script>document.title='owned'</script>",
    "attribute": "\" onmouseover=\"document.title='owned'\" x='",
    "comment": "--></script><!--<img src=x onerror=\"document.title='owned'\">",
    "template": "{{ 7 * 7 }}{% raw %}",
    "long": "x" * 10_000,
    "long_words": "patient " * 1_250,
    "right_to_left": "\u202eelif.exe \u05d1\u05d9\u05ea \u0645\u0633\u062a\u0634\u0641\u0649",
    "path": "../../../etc/passwd",
    "url": "javascript:alert(1)",
    "control": "a\x1b[31mb\x00c\u2028d",
    "emoji": "🏥" * 30,
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("width", [390, 1440])
def test_a_hostile_name_is_shown_as_text(directory, open_page, name, width):
    folder = directory.write(grid([name, "site-2"], defences=["none", name]), pictures=False)
    page = open_page(report_of(folder), width=width)
    assert "owned" not in page.title()
    assert page.locator("h1").count() == 1
    shown = page.locator("#verdict .site bdi").all_text_contents()
    start = name.replace("\x00", "")[:40]  # HTML has no place for it
    assert any(s.startswith(start) for s in shown)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("img[src=x], script:not([src]):not([type]) ~ script").count() == 0


def test_right_to_left_names_do_not_turn_the_sentence_around(directory, open_page):
    page = open_page(report_of(directory.write(grid([NAMES["right_to_left"], "b"]))))
    for element in ("#verdict .site strong bdi", "#tables th bdi"):
        isolation = page.locator(element).first.evaluate("e => getComputedStyle(e).unicodeBidi")
        assert isolation == "isolate"


def test_hostile_names_work_in_the_gallery_and_come_out_of_the_csv_harmless(directory, open_page):
    formula = '=HYPERLINK("http://x","y")'
    page = open_page(report_of(directory.write(grid([formula, NAMES["script"]]))))
    page.locator("#pick-site").select_option(label=NAMES["script"])
    assert NAMES["script"][:39] in (page.locator("#caption").text_content() or "")
    assert page.locator("#tiles img").count() == 2
    with page.expect_download() as download:
        page.locator("#all-csv").click()
    text = download.value.path().read_text("utf-8-sig")
    sites = {line["site"] for line in csv.DictReader(io.StringIO(text))}
    assert sites == {"'" + formula, NAMES["script"]}
    assert "/" not in download.value.suggested_filename


def test_every_text_of_the_audit_is_escaped(directory):
    bad = "<img src=x onerror=alert(1)>"
    case = {"round": bad, "site": bad, "attack": bad, "defence": bad, "knowledge": bad}
    group = a_group(bad, attack=bad, declared=bad, defence=bad, knowledge=bad, verdict=bad)
    config = {
        "record": {"job": bad, "manifest_sha256": bad},
        "updates": {bad: {"global": bad, "update": bad}},
        "attacks": {bad: {bad: bad}},
        "knowledge": {bad: {bad: bad, "labels": bad}},
        "truth": {bad: None},
        "defences": [bad],
        "seeds": [bad],
        "runs": [{"command": [bad], "versions": {bad: bad}}],
        "run": {bad: {"value": {bad: bad}, "source": bad}},
        "said": {
            bad: {"schedule": {bad: {"value": bad, "source": bad}}, "contradictions": [bad]},
            f"0/{bad}": {"schedule": {bad: {"value": [bad], "source": "given"}}},
        },
    }
    folder = directory.write(
        [],
        [group],
        refused=[{"case": case, "why": bad}],
        health={f"{bad}|{bad}": {"reached": bad, "ssim": bad}},
        config=config,
    )
    calibration = {"defence": bad, "scope": bad, "strength": 1, "why": bad, "privacy_json": bad}
    entry = calibration | {"searched": [{"strength": bad}], "utility": [{"accuracy": bad}]}
    (folder / "calibration.json").write_text(json.dumps({bad: entry}))
    utility = [{"defence": bad, "strength": bad, "accuracy": 0.5, "source": bad}]
    (folder / "utility.json").write_text(json.dumps(utility))
    html = report_of(folder).html
    assert bad.encode() not in html
    assert html.count(b"&lt;img src=x") > 20


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_what_a_hostile_site_says_of_its_training_is_shown_as_text(directory, open_page, name):
    entry = {
        "schedule": {name: {"value": name, "source": "declared"}, "lr": {"source": name}},
        "contradictions": [name],
    }
    said = {"run": {name: {"value": name, "source": name}}, "said": {f"0/{name}": entry}}
    folder = directory.write(grid(["site-1"], rounds=1), config=said, pictures=False)
    page = open_page(report_of(folder), width=390)
    assert "owned" not in page.title()
    shown = page.locator("#said td").all_text_contents()
    start = name.replace("\x00", "")[:39]  # HTML has no place for it
    assert sum(start in text for text in shown) >= 4
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("img[src=x], script:not([src]):not([type]) ~ script").count() == 0


@pytest.mark.parametrize(
    "content", [b"[]", b"1", b"null", b'{"sites": 3, "refused": "x", "health": []}', b"{}"]
)
def test_json_of_another_shape_is_taken_for_missing(directory, content):
    folder = directory.write(grid(["site-1"]))
    for name in ("summary.json", "config.json", "calibration.json", "utility.json"):
        (folder / name).write_bytes(content)
    assert b"not recorded" in report_of(folder).html


def test_numbers_that_json_does_not_have_are_undefined(directory):
    group = a_group("site-1", n="many", seeds=-1, stuck=None, ssim={"mean": "0.9"}, rdlv=[1])
    html = report_of(directory.write([], [group])).html.decode()
    assert "no original to compare with" in html

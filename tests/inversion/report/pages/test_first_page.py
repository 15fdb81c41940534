"""The first screen and the first sheet of paper answer: which site leaks, and what to do?"""

import pytest
from tests.inversion.report.directories import a_group, a_row, grid, report_of

from medleak.inversion.report.attack_classes.registry import ROWS

DEFENCES = ["none", "percentile_gaussian:sigma0=1", "percentile_gaussian:sigma0=10"]
SITES = {f"site-{k}": 0.1 for k in range(1, 9)} | {"site-9": 0.97}


@pytest.fixture
def audit(directory):
    return directory.write(grid(list(SITES), rounds=2, defences=DEFENCES, leak=SITES))


def end_of(page, selector):
    box = page.locator(selector).first.bounding_box()
    assert box is not None, selector
    return box["y"] + box["height"]


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_site_light_and_first_step_are_seen_without_scrolling(audit, open_page, width, height):
    page = open_page(report_of(audit, originals="hidden"), width=width)
    assert page.locator("h1").text_content() == "site-9 leaks its patients' images."
    first = page.locator(".glance li").first.inner_text().split()
    assert first == ["leaks", "site-9"]
    for selector in ("h1", ".glance", ".todo li:first-child p"):
        assert end_of(page, selector) <= height, selector
    assert "Let site-9 send no further update" in page.locator(".todo li").first.inner_text()
    if width > 1000:
        assert end_of(page, ".telling .trio") <= height


@pytest.mark.parametrize("width", [1440, 390])
def test_no_class_of_attack_hides_below_the_edge_of_its_table(audit, open_page, width):
    page = open_page(report_of(audit), width=width)
    box = page.locator("#verdict .classes .scroll")
    assert box.evaluate("e => e.scrollHeight <= e.clientHeight + 1")
    assert page.locator("#verdict .classes tbody tr").count() == len(ROWS)


def test_the_first_sheet_of_paper_has_site_light_picture_and_first_step(audit, open_page):
    # A4 within its margins, in CSS pixels of 1/96 inch: 182 mm by 265 mm.
    page = open_page(report_of(audit, originals="hidden"), width=688)
    page.emulate_media(media="print")
    for selector in ("h1", ".glance", ".telling .trio", ".todo li:first-child p"):
        assert end_of(page, selector) <= 1001, selector


def test_paper_leaves_single_rounds_to_the_file_and_says_so(audit, directory, open_page):
    rows = grid(["site-1"], rounds=2)
    groups = [a_group("site-1"), *(a_group("site-1", round=k) for k in (0, 1))]
    page = open_page(report_of(directory.write(rows, groups)))
    note = page.locator(".on-paper")
    assert page.locator("#tables .one-round").first.is_visible()
    assert note.is_hidden()
    page.emulate_media(media="print")
    assert page.locator("#tables .one-round").first.is_hidden()
    assert page.locator(".chart > details").first.is_hidden()
    assert note.is_visible()


def test_every_site_stands_under_its_light_and_very_many_are_counted(directory, open_page):
    groups = [a_group(f"site-{k}") for k in range(200)]
    page = open_page(report_of(directory.write([], groups, pictures=False)))
    (line,) = page.locator(".glance li").all_inner_texts()
    assert "site-0, site-1, site-2" in line
    assert "and 188 more" in line
    assert page.locator("#verdict .site").count() == 8
    assert page.locator("#sites-table tbody tr").count() == 200


def test_of_many_sites_the_worst_are_described_and_every_one_is_found(directory, open_page):
    leaks = {f"site-{k}": 0.97 if k in (33, 71) else 0.1 for k in range(100)}
    page = open_page(report_of(directory.write(grid(list(leaks), leak=leaks), pictures=False)))
    cards = page.locator("#verdict .site strong").all_inner_texts()
    assert (len(cards), cards[:2]) == (8, ["site-33", "site-71"])
    rows = page.locator("#sites-table tbody tr")
    assert rows.count() == 100
    assert rows.first.inner_text().split()[:2] == ["site-33", "leaks"]
    page.locator("#find-site").fill("SITE-71 leaks")
    assert page.locator("#found-sites").text_content() == "1 of 100 sites"
    shown = rows.filter(visible=True).all_inner_texts()
    assert [text.split()[0] for text in shown] == ["site-71"]
    page.locator("#find-site").fill("nowhere")
    assert page.locator("#found-sites").text_content() == "0 of 100 sites"
    page.locator("#find-site").fill("")
    assert rows.filter(visible=True).count() == 100


def test_a_sample_is_called_one(directory, open_page):
    sample = {"strata": [], "not_examined": {"site-1": 5, "site-3": 6}}
    folder = directory.write(grid(["site-1", "site-2"]), config={"sample": sample})
    page = open_page(report_of(folder))
    assert "a sample of the updates that 2 sites of 3 sent" in page.locator(".lede").inner_text()
    assert "2 sites were not drawn and not looked at." in page.locator("#verdict").inner_text()
    page = open_page(report_of(directory.write(grid(["site-1"]))))
    assert "took the updates that 1 site sent" in page.locator(".lede").inner_text()


def test_few_sites_need_no_table_and_no_search(audit, open_page):
    page = open_page(report_of(audit))
    assert page.locator("#verdict .site").count() == len(SITES)
    assert page.locator("#find-site, #sites-table").count() == 0


def test_the_closest_picture_is_the_best_of_as_many_as_are_counted(directory, open_page):
    rows = grid(["s"], rounds=2, images=3)
    dlg = [a_row("s", attack="dlg", ssim=0.5, seed=k) for k in range(4)]
    groups = [a_group("s"), a_group("s", attack="dlg")]
    page = open_page(report_of(directory.write([*rows, *dlg], groups, pictures=False)))
    text = page.locator("#verdict .site").inner_text()
    assert "The closest of 10 pictures reaches a similarity of 0.92" in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pictures": False}, "All were left out, as asked."),
        ({"largest": 1000}, "None is small enough for this file."),
    ],
)
def test_why_there_is_no_picture_is_said_in_its_place(audit, change, words):
    html = report_of(audit, **change).html.decode()
    assert f"No picture can be shown. {words}" in html
    assert f"There are no pictures in this file. {words}" in html


def test_an_audit_without_originals_does_not_say_that_they_are_in_the_file_or_left_out(directory):
    rows = [a_row("site-1", picture="images/r.png")]
    folder = directory.write(rows, [a_group("site-1", ssim=None, rdlv=None)])
    for originals in ("shown", "hidden", "redacted"):
        html = report_of(folder, originals=originals).html.decode()
        assert "This file holds the original images" not in html
        assert "The original was left out" not in html
        assert "handle this file as patient data" in html

"""The page in a real browser: it works, looks the same to all, loads nothing and says nothing."""

import csv
import io

import pytest
from tests.inversion.report.directories import grid, report_of

DEFENCES = ["none", *(f"percentile_gaussian:sigma0={s}" for s in (1, 10))]


@pytest.fixture
def audit(directory):
    rows = grid(
        ["site-2", "site-10"],
        rounds=3,
        defences=DEFENCES,
        images=2,
        leak={"site-2": 0.97, "site-10": 0.2},
    )
    return directory.write(rows)


def rebuilt(page):
    return page.locator("#tiles .tile", has_text="Rebuilt").locator("img").get_attribute("src")


def move(page, slider, to):
    page.locator(f"#slide-{slider}").fill(str(to))


def test_sliders_change_the_picture(audit, open_page):
    page = open_page(report_of(audit))
    pictures = [rebuilt(page)]
    for slider, to in (("round", 2), ("strength", 1), ("strength", 2)):
        move(page, slider, to)
        pictures.append(rebuilt(page))
    assert len(set(pictures)) == 4
    assert page.locator("#say-round").text_content() == "2"
    assert page.locator("#say-strength").text_content() == "10"


def test_another_site_and_image_are_chosen(audit, open_page):
    page = open_page(report_of(audit))
    before = rebuilt(page)
    page.locator("#pick-site").select_option(label="site-10")
    other_site = rebuilt(page)
    page.locator("#pick-image").select_option(label="training[1]")
    assert len({before, other_site, rebuilt(page)}) == 3
    assert "site-10" in (page.locator("#caption").text_content() or "")


def test_tables_are_sorted_at_a_press_and_back(audit, open_page):
    page = open_page(report_of(audit))
    table = page.locator("#tables table").first
    head = table.get_by_role("button", name="RDLV")

    def values():
        cells = table.locator("tbody tr td:nth-child(9)")
        return [float(cells.nth(k).get_attribute("data-value")) for k in range(cells.count())]

    head.click()
    up = values()
    assert up == sorted(up)
    assert table.locator("th[aria-sort=ascending]").count() == 1
    head.click()
    assert values() == sorted(up, reverse=True)


def test_sites_are_sorted_in_natural_order(audit, open_page):
    page = open_page(report_of(audit))
    table = page.locator("#tables table").first
    table.get_by_role("button", name="site", exact=True).click()
    assert table.locator("tbody th").first.text_content() == "site-2"


def test_the_figures_of_all_images_come_out_as_csv(audit, open_page):
    page = open_page(report_of(audit))
    with page.expect_download() as download:
        page.locator("#all-csv").click()
    lines = list(csv.DictReader(io.StringIO(download.value.path().read_text("utf-8-sig"))))
    assert len(lines) == 2 * 3 * 3 * 2
    assert {line["site"] for line in lines} == {"site-2", "site-10"}
    assert float(lines[0]["ssim"]) == pytest.approx(0.9626)
    assert "picture" not in lines[0]


def test_a_point_of_a_curve_says_its_value_under_the_pointer(audit, open_page):
    page = open_page(report_of(audit))
    page.locator("#chart-1-strength0 .mark").first.hover()
    tip = page.locator("#tip")
    assert tip.is_visible()
    assert "95 % interval" in tip.text_content()


def test_the_sheet_has_the_closest_picture_of_each_site_as_sent(audit, open_page):
    page = open_page(report_of(audit))
    words = page.locator("#sheet p").all_text_contents()
    assert [w.partition(",")[0] for w in words] == ["site-2", "site-10"]
    assert "0.96 (guess 0.50)" in words[0]


def test_the_sheet_shows_no_replayed_protection_as_if_it_had_been_sent(directory, open_page):
    rows = grid(["site-1"], rounds=1, defences=["top_k:fraction=0.1"])
    page = open_page(report_of(directory.write(rows)))
    assert page.locator("#sheet img").count() == 0
    assert "no update was attacked as it was sent" in (page.locator("#sheet").text_content() or "")

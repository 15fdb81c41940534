"""Everybody can read it: any width, light or dark, keyboard alone, screen reader, on paper."""

import itertools
import subprocess

import pytest
from tests.inversion.report.browsers import CHROMIUM
from tests.inversion.report.directories import grid, report_of

from medleak.inversion.report.html.page import index

DEFENCES = ["none", "percentile_gaussian:sigma0=1"]


@pytest.fixture
def audit(directory):
    leak = {"site-2": 0.97, "site-10": 0.2}
    return directory.write(grid(list(leak), rounds=3, defences=DEFENCES, images=2, leak=leak))


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_is_wider_than_the_window(audit, open_page, width):
    page = open_page(report_of(audit, originals="hidden"), width=width)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.evaluate(
        "[...document.querySelectorAll('main p, main li, main td')].filter(e => e.offsetParent && "
        "parseFloat(getComputedStyle(e).fontSize) < 12).length"
    )
    assert small == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_axe_finds_nothing_wrong(audit, open_page, scheme, width):
    axe = pytest.importorskip(
        "axe_playwright_python.base", reason="axe-playwright-python is not installed"
    )
    # The page's own policy forbids foreign scripts: only this test's browser may break it.
    report = report_of(audit, originals="hidden")
    page = open_page(report, width=width, color_scheme=scheme, bypass_csp=True)
    page.locator("#reveal-all").check()
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    page.evaluate(axe.AXE_FILE_PATH.read_text())
    found = page.evaluate("axe.run()")
    assert [(v["id"], [n["html"][:200] for n in v["nodes"]]) for v in found["violations"]] == []
    assert {"color-contrast", "image-alt", "label"} <= {p["id"] for p in found["passes"]}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong_with_a_comparison_nor_with_the_list(
    audit, another, open_page, scheme
):
    axe = pytest.importorskip(
        "axe_playwright_python.base", reason="axe-playwright-python is not installed"
    )
    after = another.write(grid(["site-2", "x"], rounds=1, leak={"site-2": 0.5, "x": 0.1}))
    listed = index({"1": audit, "2": after}, "redacted")
    for html in (report_of(audit, after, originals="hidden"), listed):
        page = open_page(html, width=390, color_scheme=scheme, bypass_csp=True)
        page.evaluate(axe.AXE_FILE_PATH.read_text())
        found = page.evaluate("axe.run()")
        assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found["violations"]] == []


def test_dark_and_light_differ_and_follow_the_system(audit, open_page):
    report = report_of(audit)
    colours = {
        scheme: open_page(report, color_scheme=scheme).evaluate(
            "getComputedStyle(document.body).backgroundColor"
        )
        for scheme in ("light", "dark")
    }
    shades = {s: sum(map(int, c[4:-1].split(","))) for s, c in colours.items()}
    assert shades["dark"] < 150 < 600 < shades["light"]


def test_the_keyboard_alone_reaches_everything_that_can_be_used(audit, open_page):
    page = open_page(report_of(audit, originals="hidden"))
    usable = page.evaluate(
        """() => {
          const names = 'a, button, select, input, summary, [tabindex]';
          const all = [...document.querySelectorAll(names)].filter(e => e.checkVisibility());
          all.forEach((e, k) => { e.dataset.stop = k; });
          return all.length;
        }"""
    )
    seen = []
    for _ in range(usable + 5):
        page.keyboard.press("Tab")
        stop = page.evaluate("document.activeElement.dataset.stop")
        if stop is not None:
            seen.append(int(stop))
            ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert ring != "none", page.evaluate("document.activeElement.outerHTML")
    assert set(seen) == set(range(usable))
    assert seen[:usable] == sorted(seen[:usable])


def test_keys_move_the_slider_show_the_originals_and_enlarge(audit, open_page):
    page = open_page(report_of(audit, originals="hidden"))
    page.locator("#slide-round").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#say-round").text_content() == "1"
    assert page.locator("#tiles canvas").count() == 0
    page.locator("#tiles .reveal").focus()
    page.keyboard.press("Enter")
    page.locator("#tiles canvas[data-ready=true]").wait_for()
    page.locator("#tiles button.frame").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#zoom").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#zoom").is_visible()


def test_the_difference_is_that_of_the_pictures(audit, open_page):
    page = open_page(report_of(audit, originals="shown"))
    page.locator("#tiles canvas[data-ready=true]").wait_for()
    brightness, expected = page.evaluate(
        """async () => {
          const read = (picture) => {
            const canvas = document.createElement('canvas');
            canvas.width = canvas.height = 64;
            const context = canvas.getContext('2d');
            context.drawImage(picture, 0, 0);
            return context.getImageData(0, 0, 64, 64).data;
          };
          const tiles = [...document.querySelectorAll('#tiles .tile')];
          const of = (word) => tiles.find(t => t.textContent.startsWith(word)).querySelector('img');
          const [a, b] = [read(of('Original')), read(of('Rebuilt'))];
          const c = read(document.querySelector('#tiles canvas'));
          let sum = 0, want = 0;
          for (let k = 0; k < a.length; k += 4) { sum += c[k]; want += Math.abs(a[k] - b[k]); }
          return [sum, want];
        }"""
    )
    assert brightness == expected > 0


def test_originals_wait_for_a_click(audit, open_page):
    page = open_page(report_of(audit, originals="hidden"))
    assert page.locator("img[alt^=original]").count() == 0
    page.locator(".telling .reveal").click()
    assert page.locator(".telling img[alt^=original]").count() == 1
    assert page.locator("#tiles img[alt^=original]").count() == 1


def test_redacted_there_is_no_place_for_originals(audit, open_page):
    page = open_page(report_of(audit, originals="redacted"))
    assert page.locator(".reveal, #reveal-all, img[alt^=original], #tiles canvas").count() == 0


def test_without_its_script_the_first_page_still_says_and_shows_all(audit, open_page):
    page = open_page(report_of(audit), java_script_enabled=False)
    assert page.locator("h1").text_content() == "site-2 leaks its patients' images."
    assert page.locator(".telling img").count() == 2
    assert page.locator("noscript").count() == 1


def test_headings_follow_one_another_and_pictures_have_words(audit, open_page):
    page = open_page(report_of(audit, originals="shown"))
    levels = page.evaluate(
        "[...document.querySelectorAll('main h1, main h2, main h3')].map(e => +e.tagName[1])"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert page.locator("main img:not([alt]), main img[alt='']").count() == 0
    assert page.locator("svg[role=img]:not([aria-label])").count() == 0


def test_a_browser_prints_it_with_every_section_open(audit, tmp_path):
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: the report cannot be printed")
    page, pdf = tmp_path / "r.html", tmp_path / "r.pdf"
    page.write_bytes(report_of(audit, originals="hidden").html)
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--no-pdf-header-footer"]
    command += [f"--print-to-pdf={pdf}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=90)
    content = pdf.read_bytes()
    assert content.startswith(b"%PDF")
    assert content.count(b"/Type /Page\n") >= 4


def test_on_paper_details_are_open_and_controls_are_gone(audit, open_page):
    page = open_page(report_of(audit, originals="hidden"))
    page.emulate_media(media="print")
    assert page.locator("nav").is_hidden()
    assert page.locator(".controls").is_hidden()
    assert page.locator(".reveal").first.is_hidden()
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("[...document.querySelectorAll('details')].every(d => d.open)")

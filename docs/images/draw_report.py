"""Photograph the report for docs/how-to/report.md: python docs/images/draw_report.py AUDIT.

AUDIT is what the page's caption says, audited with made-up chest X-rays of nobody. Needs playwright
and chromium, as the report's own tests do.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from medleak.inversion.report.html.page import render
from medleak.inversion.report.reading import read_audit

HERE = Path(__file__).parent
SITE, HALF_WAY = "site-9", 3


def half_way(page: Page) -> None:
    """Turn to the pictures of `SITE`, with the attack not yet at its end."""
    page.select_option("#pick-site", label=SITE)
    slider = page.locator("#slide-iteration")
    slider.evaluate(
        "(s, to) => { s.value = to; s.dispatchEvent(new Event('input', {bubbles: true})) }",
        HALF_WAY,
    )
    page.locator("#tiles .tile", has_text="Difference").locator("canvas[data-ready]").wait_for()
    page.locator("#gallery").evaluate("section => section.scrollIntoView({behavior: 'instant'})")


def main() -> None:
    """Two pictures: the first screen, and the gallery."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("audit", type=Path)
    made = render([read_audit(parser.parse_args().audit)], originals="shown")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        file = Path(folder, "report.html")
        file.write_bytes(made.html)
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(file.as_uri())
        page.screenshot(path=HERE / "report-first.png")
        half_way(page)
        page.screenshot(path=HERE / "report-gallery.png")
        browser.close()


if __name__ == "__main__":
    main()

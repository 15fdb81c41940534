"""A browser to open reports in."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from medleak.inversion.report.html.page import Report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium; skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: the report cannot be opened in a browser")
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        running = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield running
        running.close()


Open = Callable[..., Any]


@pytest.fixture
def open_page(browser, tmp_path) -> Iterator[Open]:
    """Open HTML as a file; at the end nothing may have gone wrong or out in any page."""
    contexts: list[Any] = []
    wrong: list[str] = []

    def open_(html: bytes | Report, *, width: int = 1440, **options: Any) -> Any:
        content = html.html if isinstance(html, Report) else html
        path = tmp_path / f"page{len(contexts)}.html"
        path.write_bytes(content)
        size = {"width": width, "height": 900}
        context = browser.new_context(viewport=size, accept_downloads=True, **options)
        contexts.append(context)
        context.set_default_timeout(10_000)
        page = context.new_page()
        page.on("console", lambda m: wrong.append(m.text) if m.type != "log" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda r: (
                None if r.url.startswith(("data:", "blob:", path.as_uri())) else wrong.append(r.url)
            ),
        )
        page.goto(path.as_uri(), wait_until="load")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert wrong == []

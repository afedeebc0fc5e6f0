"""A real Chromium for tests."""

import contextlib
import shutil
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    "--disable-smooth-scrolling",  # an animated one of a list that was just replaced may be lost
]
PATIENCE_MS = 90_000  # a loaded machine is no failure


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser for one module: while it runs, so does an event loop that other tests would meet."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextlib.contextmanager
def window(browser: Browser, address: str, *, refused: str = "404") -> Iterator[Page]:
    """A fresh window. All that it asks for must come from `address`, and nothing may go wrong in it but what
    the browser says of answers with the status `refused`."""
    asked: list[str] = []
    wrong: list[str] = []
    context = browser.new_context(base_url=address, viewport={"width": 1100, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    assert [] == [url for url in asked if not url.startswith(f"{address}/")]
    assert [] == [text for text in wrong if refused not in text]


def nothing_to_object_to(page: Page) -> None:
    """axe finds nothing, in light and in dark."""
    page.emulate_media(color_scheme="light")
    found = Axe().run(page)
    assert 0 == found.violations_count, found.generate_report()
    page.emulate_media(color_scheme="dark")
    found = Axe().run(page)
    assert 0 == found.violations_count, found.generate_report()

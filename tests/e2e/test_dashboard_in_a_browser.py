"""The dashboard as people use it, in a real Chromium: by mouse, by keyboard, on a phone, by ear."""

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import nothing_to_object_to, window
from dashboards import dashboard
from many_boards import fleet_of, statuses
from playwright.sync_api import Browser, Page, expect
from quadrant_fleet import QuadrantFleet

from fleetctl.report.web.report import report_html
from fleetctl.tale import tell

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("chromium")]

PAGES = ["/", "/rollout", "/plan", "/models", "/models/quadrants", "/boards/karnak-01", "/boards/nobody"]
WIDTH = """async image => {
  image.loading = "eager";  // below the fold it is not asked for; nor does it stay there, for the page moves
  await image.decode();
  return image.naturalWidth;
}"""
CARD = """# quadrants

Says which quadrant is the brightest.

| variant | accuracy |
|---|---|
| int8 | 100 % |
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> QuadrantFleet:
    """Three simulated boards, one of which was rolled back."""
    made = QuadrantFleet.rolled_out(tmp_path_factory.mktemp("fleet"))
    made.edit("threshold: 0.6", "threshold: 0.7")
    (made.root / "faults.yaml").write_text("karnak-01: {bad_answers: 0.5}\n")
    assert 40 == made.run("rollout", "--yes", "--faults", "faults.yaml", transport="fake").status
    folder = made.root / "model_artifacts" / "quadrants"
    folder.mkdir(exist_ok=True)
    (folder / "card.md").write_text(CARD)
    return made


@pytest.fixture(scope="module")
def address(fleet: QuadrantFleet) -> Iterator[str]:
    with dashboard(fleet.root) as address:
        yield address


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with window(browser, address) as page:
        yield page


def open_fleet(page: Page) -> None:
    page.goto("/")
    expect(page.locator(".chips")).to_be_visible()


def test_from_the_fleet_to_a_wrong_answer(page: Page) -> None:
    """Choose what is wrong, open the board, and see which golden sample it took for what."""
    open_fleet(page)
    page.get_by_role("link", name="1 wrong", exact=True).click()
    expect(page.locator(".boards tbody tr")).to_have_count(1)
    page.get_by_role("link", name="karnak-01").click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("karnak-01")
    expect(page.locator(".golden .no")).to_have_count(2)
    sample = page.get_by_alt_text("Golden sample 1")
    assert 16 == sample.evaluate(WIDTH)


def test_the_page_moves_with_a_rollout(page: Page, fleet: QuadrantFleet) -> None:
    """Nobody reloads: a rollout made meanwhile shows, and the fleet's page follows."""
    page.goto("/rollout")
    expect(page.get_by_role("heading", level=1)).to_contain_text("failed")
    assert 0 == fleet.run("rollout", "--yes", transport="fake").status
    expect(page.get_by_role("heading", level=1)).to_contain_text("done")

    open_fleet(page)
    expect(page.locator("#main .lead")).to_contain_text("3 of 3 boards healthy")
    (fleet.root / "inventory" / "fleet.yaml").rename(fleet.root / "away.yaml")
    expect(page.locator("#main")).to_contain_text("git cannot be read")
    (fleet.root / "away.yaml").rename(fleet.root / "inventory" / "fleet.yaml")
    expect(page.locator("#main")).not_to_contain_text("git cannot be read")


def test_an_error_of_the_server_takes_nothing_away(browser: Browser, address: str) -> None:
    """A page that cannot be made just now is none to show: what is known stays, and moves on afterwards."""
    with window(browser, address, refused="500") as page:
        open_fleet(page)
        page.route(f"{address}/", lambda route: route.fulfill(status=500, body="Internal Server Error"))
        refused = functools.partial(page.expect_response, lambda response: 500 == response.status)
        with refused():  # the answer that was under way has been shown by then
            pass
        page.evaluate("document.querySelector('h1').textContent = 'as it was'")
        for _ in range(2):  # who asks again has dealt with the one before
            with refused():
                pass
        assert "as it was" == page.get_by_role("heading", level=1).text_content()
        page.unroute(f"{address}/")
        expect(page.get_by_role("heading", level=1)).to_contain_text("Fleet")


def test_by_keyboard(page: Page) -> None:
    """Tab leads to the skip link, that to the content, and choosing by keys keeps its place while boards are
    asked again."""
    open_fleet(page)
    page.keyboard.press("Tab")
    assert "Skip to content" == page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    assert "main" == page.evaluate("document.activeElement.id")
    page.locator("#q").focus()
    page.keyboard.type("luxor-*")
    page.wait_for_timeout(2500)
    assert "luxor-*" == page.locator("#q").input_value()
    page.keyboard.press("Enter")
    expect(page.locator(".boards tbody tr")).to_have_count(2)
    page.wait_for_load_state("load")  # on a busy machine the page it leads to may still be taking focus
    expect(page.locator("html")).to_have_attribute("data-live", "on")
    link = page.get_by_role("link", name="luxor-02")
    link.focus()
    page.wait_for_timeout(2500)
    assert "luxor-02" == page.evaluate("document.activeElement.textContent")


@pytest.mark.parametrize("where", PAGES)
def test_by_ear_and_eye(page: Page, where: str) -> None:
    """axe finds nothing to object to, in light and dark; on a phone nothing is cut off sideways."""
    page.goto(where)
    nothing_to_object_to(page)
    page.set_viewport_size({"width": 360, "height": 740})
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    assert 0 == overflow


def test_the_report_needs_nobody(browser: Browser, tmp_path: Path) -> None:
    """The file opens from disk with its looks, asks for nothing, and axe has nothing to object to."""
    many = fleet_of(60)
    (tmp_path / "report.html").write_text(report_html(many, statuses(many, 4), tell([]), 1.7e9))
    context = browser.new_context(viewport={"width": 360, "height": 740})
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "report.html").as_uri())
    found = Axe().run(page)

    assert 0 == found.violations_count, found.generate_report()
    assert "rgb(250, 247, 241)" == page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert {"file", "data"} >= {url.partition(":")[0] for url in asked}
    context.close()

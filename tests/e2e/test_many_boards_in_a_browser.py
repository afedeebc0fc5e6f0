"""Ten thousand boards in one list, in a real Chromium: scrolled, by keyboard, by ear, without script."""

import contextlib
from collections.abc import Iterator

import pytest
from browsing import nothing_to_object_to, window
from dashboards import Served, serving
from many_boards import fleet_of, statuses
from msgspec.structs import replace
from playwright.sync_api import Browser, Locator, Page, expect

from fleetctl.dashboard.snapshot import Snapshot, Source, Watch
from fleetctl.project import Project
from fleetctl.transports.fake import FakeTransport

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("chromium")]

COUNT = 10_000
MOST_ROWS = 500  # in the document at a time


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Watch:
    fleet = fleet_of(COUNT, sites=40)
    project = Project(tmp_path_factory.mktemp("many") / "inventory" / "f.yaml")
    source = Source(project, fleet, tuple(fleet.boards), FakeTransport(), list)
    watch = Watch(lambda: source, 3600)
    watch.snapshot = Snapshot(source, tuple(statuses(fleet, 7)), asked_at=1.7e9)
    return watch


@pytest.fixture(scope="module")
def site(watch: Watch) -> Iterator[Served]:
    with serving(watch) as site:
        yield site


@pytest.fixture
def page(browser: Browser, site: Served) -> Iterator[Page]:
    with window(browser, f"http://127.0.0.1:{site.port}") as page:
        page.goto("/")
        expect(page.locator(".long")).to_be_visible()
        yield page


def region(page: Page) -> Locator:
    return page.get_by_role("region", name=f"{COUNT} boards")


def row(page: Page, number: int) -> Locator:
    """The row of a board, by its place in the whole list, from 1."""
    return page.locator(f'.boards tr[aria-rowindex="{number + 1}"]')


def scroll_to(page: Page, key: str, number: int) -> None:
    """By a key, as somebody who sees the list: it is painted, and a key that did nothing is pressed again.

    A busy Chromium scrolls the window by a key where it has not painted the list yet, or nothing at all.
    """
    for _ in range(5):
        page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        page.keyboard.press(key)
        with contextlib.suppress(AssertionError):
            return expect(row(page, number)).to_be_attached(timeout=20_000)
    return expect(row(page, number)).to_be_attached()


def rows_in_document(page: Page) -> int:
    return page.locator(".boards tbody tr:not(.away)").count()


def test_the_whole_list_is_a_scroll_away(page: Page) -> None:
    """By the keys of any list: to its end, its middle and back, with few rows in the document at any time."""
    expect(page.locator(".boards")).to_have_attribute("aria-rowcount", str(COUNT + 1))
    region(page).focus()
    scroll_to(page, "End", COUNT)
    expect(row(page, COUNT)).to_contain_text("b09999")
    assert rows_in_document(page) < MOST_ROWS
    region(page).evaluate("list => { list.scrollTop = list.scrollHeight / 2; }")
    expect(row(page, COUNT // 2)).to_be_attached()
    assert rows_in_document(page) < MOST_ROWS
    scroll_to(page, "Home", 1)
    expect(row(page, 1)).to_contain_text("b00000")
    expect(row(page, 1)).to_be_in_viewport()
    expect(page.locator(".boards thead th").first).to_be_in_viewport()


def test_tab_goes_from_board_to_board(page: Page) -> None:
    """Beyond the rows of the first pages too: what comes next is there before the focus is."""
    page.get_by_role("link", name="b00000").focus()
    for number in range(2, 121):
        expect(row(page, number)).to_be_attached()
        page.keyboard.press("Tab")
        assert f"b{number - 1:05d}" == page.evaluate("document.activeElement.textContent")
    assert rows_in_document(page) < MOST_ROWS


def test_a_change_moves_nothing(page: Page, watch: Watch) -> None:
    """When boards were asked again, the place of reading and the focus stay, and what they say is new."""
    region(page).evaluate("list => { list.scrollTop = list.scrollHeight / 2; }")
    expect(row(page, COUNT // 2)).to_be_attached()
    link = row(page, COUNT // 2).get_by_role("link")
    link.focus()
    name = link.text_content()
    expect(link).to_be_focused()
    known = watch.snapshot
    changed = [replace(each, strains=("near its limit",)) for each in known.statuses]
    watch.snapshot = replace(known, statuses=tuple(changed))
    watch.versions["fleet"] += 1
    expect(row(page, COUNT // 2)).to_contain_text("near its limit")

    assert name == page.evaluate("document.activeElement.textContent")
    expect(link).to_be_in_viewport()


def test_a_change_leaves_the_list_to_the_keyboard(page: Page, watch: Watch) -> None:
    """Who scrolls by keys goes on doing so when boards were asked again."""
    region(page).focus()
    known = watch.snapshot
    watch.snapshot = replace(
        known, statuses=tuple(replace(each, strains=("warm",)) for each in known.statuses)
    )
    watch.versions["fleet"] += 1
    expect(row(page, 1)).to_contain_text("warm")

    expect(region(page)).to_be_focused()
    scroll_to(page, "End", COUNT)
    expect(row(page, COUNT)).to_contain_text("b09999")


def test_by_ear_and_eye(page: Page) -> None:
    """axe has nothing to object to in the middle of the list, on a phone neither."""
    region(page).evaluate("list => { list.scrollTop = list.scrollHeight / 2; }")
    expect(row(page, COUNT // 2)).to_be_attached()
    nothing_to_object_to(page)
    page.set_viewport_size({"width": 360, "height": 740})
    nothing_to_object_to(page)

    assert 0 == page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def test_who_prefers_pages_gets_them(page: Page) -> None:
    """A link leads to pages of fifty, which say where in the list they are; another leads back."""
    page.get_by_role("link", name="In pages of 50").click()
    page.get_by_role("link", name="Next").click()
    expect(row(page, 51)).to_contain_text("b00050")
    expect(page.locator(".pager")).to_contain_text("10000 boards, page 2 of 200")
    assert 50 == rows_in_document(page)
    page.get_by_role("link", name="As one list").click()
    expect(page.locator(".long")).to_be_visible()


def test_without_script(browser: Browser, site: Served) -> None:
    """Pages with links, and no list that cannot be scrolled."""
    context = browser.new_context(base_url=f"http://127.0.0.1:{site.port}", java_script_enabled=False)
    page = context.new_page()
    page.goto("/")
    page.get_by_role("link", name="Next").click()
    expect(page.locator(".boards tbody tr").first).to_contain_text("b00050")
    expect(page.get_by_role("link", name="As one list")).to_be_hidden()
    context.close()

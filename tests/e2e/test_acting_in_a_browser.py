"""Acting from the dashboard in a real Chromium: with the token, without it, by keyboard, from elsewhere."""

import contextlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browsing import nothing_to_object_to, window
from dashboards import dashboard
from playwright.sync_api import Browser, Page, expect
from quadrant_fleet import QuadrantFleet

from fleetctl.audit import Audit
from fleetctl.tale import newest_journal

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("chromium")]

EVIL = """<!doctype html><title>evil</title>
<form method="post" action="{address}/actions/rollback" enctype="text/plain" target="sink">
<input name='{{"board": "luxor-01", "x": "' value='"}}'></form><iframe name="sink"></iframe>
<script>
document.forms[0].submit();
const body = '{{"board": "luxor-01"}}';
const tries = [
  [{{ method: "POST", mode: "no-cors", body }}],
  [{{ method: "POST", headers: {{ "content-type": "application/json" }}, body }}],
  [{{ method: "POST", headers: {{ authorization: "Bearer x", "content-type": "application/json" }}, body }}],
].map(([how]) => fetch("{address}/actions/rollback", how).then((r) => r.type, () => "kept out"));
Promise.all(tries).then((said) => {{ document.title = said.join(); }});
</script>"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> QuadrantFleet:
    """Three simulated boards that have had two releases; the canary of a third is watched for an hour."""
    made = QuadrantFleet.rolled_out(tmp_path_factory.mktemp("fleet"))
    made.edit("{model: quadrants, board", "{config: {threads: 2}, model: quadrants, board")
    assert 0 == made.run("rollout", "--yes", transport="fake").status
    made.edit("{threads: 2}", "{threads: 3}")
    made.edit("{group: canary}", "{group: canary, soak: 1h}")
    return made


@pytest.fixture(scope="module")
def address(fleet: QuadrantFleet) -> Iterator[str]:
    with dashboard(fleet.root, "--allow-actions") as address:
        yield address


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with window(browser, address, refused="401") as page:
        yield page


def secret_of(fleet: QuadrantFleet) -> str:
    (kept,) = (fleet.root / ".fleetctl").glob("dashboard-*.url")
    return kept.read_text().strip().partition("#")[2]


def deeds(fleet: QuadrantFleet) -> list[tuple[str, str, str, int]]:
    lines = Audit(fleet.root / ".fleetctl").latest(99)
    return [(line["action"], line["way"], line["outcome"], line["boards"]) for line in lines]


def test_without_the_token_nothing_is_offered(page: Page, fleet: QuadrantFleet) -> None:
    """The plain address shows boards and says how to act; a wrong token is found out when it is used."""
    page.goto("/boards/karnak-01")
    expect(page.get_by_text("To act, open the whole address")).to_be_visible()
    expect(page.get_by_role("button", name="Roll back")).to_have_count(0)
    before = deeds(fleet)
    page.goto("/boards/luxor-01#token=wrong")
    page.reload()
    page.get_by_role("button", name="Roll back 1 board").click()
    page.locator("#yes").click()
    expect(page.locator("#acted")).to_contain_text("the token is not that of this dashboard")
    expect(page.get_by_text("To act, open the whole address")).to_be_visible()

    assert before == deeds(fleet)


@contextlib.contextmanager
def under_way(fleet: QuadrantFleet) -> Iterator[None]:
    """A rollout whose canary is being watched; it ends by itself, aborted."""
    with fleet.start("rollout", "--yes", transport="fake") as process:
        try:
            until = time.monotonic() + 120
            while "SoakStarted" not in (newest_journal(fleet.root / ".fleetctl") or fleet.root).read_text():
                assert time.monotonic() < until
                time.sleep(0.05)
            yield
            _, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert 43 == process.returncode, err


def test_a_rollout_is_paused_resumed_and_aborted(page: Page, fleet: QuadrantFleet) -> None:
    """By keyboard alone: each asks first and names the boards; Escape, and the first answer, do nothing."""
    with under_way(fleet):
        page.goto(f"/rollout#{secret_of(fleet)}")
        assert "token" not in page.evaluate("location.href")
        pause = page.get_by_role("button", name="Pause", exact=True)
        pause.focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Pause the rollout of 3 boards?")
        expect(dialog).to_be_visible()
        expect(page.get_by_role("button", name="Not now")).to_be_focused()
        nothing_to_object_to(page)
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        pause.press("Enter")
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()
        assert [] == [deed for deed in deeds(fleet) if deed[1] == "page"]

        pause.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#acted")).to_have_text("It holds before its next wave.")
        resume = page.get_by_role("button", name="Resume")
        resume.press("Enter")
        page.get_by_role("button", name="Resume").last.press("Enter")
        expect(page.locator("#acted")).to_have_text("It goes on.")
        nothing_to_object_to(page)
        abort = page.get_by_role("button", name="Abort", exact=True)
        abort.press("Enter")
        expect(page.get_by_role("dialog")).to_contain_text("The verified boards of the wave at hand go back.")
        page.locator("#yes").press("Enter")
        expect(page.get_by_role("heading", level=1)).to_contain_text("aborted")

    assert [(verb, "page", "done", 3) for verb in ("abort", "resume", "pause")] == deeds(fleet)[:3]
    expect(page.locator("table").last).to_contain_text("on the page")


def test_chosen_boards_go_back(page: Page, fleet: QuadrantFleet) -> None:
    """A choice of boards is rolled back together, after a question that counts them."""
    page.goto(f"/?site=luxor#{secret_of(fleet)}")
    page.get_by_role("button", name="Roll back 2 boards").click()
    expect(page.get_by_role("dialog", name="Roll back 2 boards?")).to_be_visible()
    page.set_viewport_size({"width": 360, "height": 740})
    nothing_to_object_to(page)
    page.locator("#yes").click()
    expect(page.locator("#acted")).to_have_text("2 boards went back.")

    assert [("rollback", "page", "done", 2), ("rollback", "page", "begun", 2)] == deeds(fleet)[:2]


def test_a_hostile_page_reaches_nothing(page: Page, address: str, fleet: QuadrantFleet) -> None:
    """In the very browser that has the token, another site's forms and requests change nothing."""
    page.goto(f"/rollout#{secret_of(fleet)}")
    expect(page.locator("html")).to_have_attribute("data-acts", "on")
    before = deeds(fleet)

    class Evil(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(EVIL.format(address=address).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        visit = page.context.new_page()
        visit.goto(f"http://127.0.0.1:{server.server_port}/")
        expect(visit).to_have_title("kept out,kept out,kept out")
        visit.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    assert before == deeds(fleet)


def test_the_token_is_nowhere(fleet: QuadrantFleet, address: str) -> None:
    """Not in a command line, an environment or a file but its own, whatever was done meanwhile."""
    del address
    secret = secret_of(fleet).removeprefix("token=").encode()
    files = [path for path in fleet.root.rglob("*") if path.is_file() and not path.name.endswith(".url")]
    ours = [each for each in Path("/proc").glob("[0-9]*") if _reads(each / "cmdline")]

    assert len(secret) == 43
    assert [] == [path for path in files if secret in path.read_bytes()]
    assert ours
    assert [] == [each for each in ours if secret in _reads(each / "cmdline") + _reads(each / "environ")]


def _reads(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""

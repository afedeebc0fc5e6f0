"""Acting from the page: who may, what is refused, and that it is what the verbs do."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from dashboards import Answer, Served, serving
from msgspec.structs import replace
from quadrant_fleet import QuadrantFleet
from test_report_html import parsed

from fleetctl.audit import Audit
from fleetctl.cli.dashboard import PageActs, source_of
from fleetctl.cli.options import TransportKind
from fleetctl.cli.rollback import roll_back
from fleetctl.cli.session import Session, open_session
from fleetctl.dashboard.actions import Desk, new_token
from fleetctl.dashboard.snapshot import Watch
from fleetctl.manifest.schema import Board
from fleetctl.report.web.fleet_view import names_digest
from fleetctl.steering import Helm, Wish, Word, whoami
from fleetctl.transports.base import Reply, ReplyStatus
from fleetctl.transports.fake import FakeTransport
from fleetctl.transports.faults import Faults

TOKEN = new_token()


@dataclass
class Desktop:
    """The dashboard of three simulated boards that have had two releases each."""

    fleet: QuadrantFleet
    watch: Watch
    site: Served = field(init=False)

    @property
    def manifest(self) -> Path:
        return self.fleet.root / "inventory" / "fleet.yaml"

    @property
    def state(self) -> Path:
        return self.fleet.root / ".fleetctl"

    def headers(self, **changes: str | None) -> dict[str, str]:
        """What the page sends, with some of it changed, or left out where it is None."""
        host = f"127.0.0.1:{self.site.port}"
        sent = {
            "host": host,
            "origin": f"http://{host}",
            "sec-fetch-site": "same-origin",
            "content-type": "application/json",
            "authorization": f"Bearer {TOKEN}",
        } | {name.replace("_", "-"): value for name, value in changes.items()}
        return {name: value for name, value in sent.items() if value is not None}

    def ask(self, verb: str, body: object, headers: Mapping[str, str] | None = None) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.site.post(f"/actions/{verb}", data, headers or self.headers())

    def releases(self) -> dict[str, str | None]:
        seen = open_session(self.manifest, "", TransportKind.FAKE).observe()
        return {name: board.loaded.release if board.loaded else None for name, board in seen.items()}


@pytest.fixture(scope="module")
def desktop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desktop]:
    fleet = QuadrantFleet.rolled_out(tmp_path_factory.mktemp("fleet"))
    fleet.edit("{model: quadrants, board", "{config: {threads: 2}, model: quadrants, board")
    assert 0 == fleet.run("rollout", "--yes", transport="fake").status
    manifest, faults = fleet.root / "inventory" / "fleet.yaml", fleet.root / "faults.yaml"
    faults.write_text("karnak-01: {revert_fails: true}\n")

    def session() -> Session:
        return open_session(manifest, "", TransportKind.FAKE, faults)

    watch = Watch(lambda: source_of(session()), every=3600)
    watch.ask()
    watch.read_journal()
    desk = Desktop(fleet, watch)
    with serving(watch, Desk(watch, PageActs(session), TOKEN)) as desk.site:
        yield desk


def one(board: str) -> dict[str, Any]:
    return {"board": board, "digest": names_digest([board])}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"origin": None}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://fleet.example"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"origin": "https://127.0.0.1"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "none"}, 403),
        ({"host": "fleet.example", "origin": "http://fleet.example"}, 400),
        ({"host": "127.0.0.1.fleet.example", "origin": "http://127.0.0.1.fleet.example"}, 400),
        ({"content_type": None}, 415),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "application/x-www-form-urlencoded"}, 415),
        ({"authorization": None}, 401),
        ({"authorization": "Bearer "}, 401),
        ({"authorization": f"Bearer {TOKEN[:-1]}"}, 401),
        ({"authorization": f"Bearer {TOKEN}x"}, 401),
        ({"authorization": f"Basic {TOKEN}"}, 401),
        ({"authorization": "Bearer \xff"}, 401),
    ],
)
def test_nobody_else_acts(desktop: Desktop, changes: dict[str, str | None], status: int) -> None:
    """Other sites, other names for this machine, plain forms and whoever lacks the token change nothing."""
    before = Audit(desktop.state).latest(99)
    asked = desktop.watch.versions["fleet"]
    answer = desktop.ask("rollback", one("luxor-01"), desktop.headers(**changes))

    assert status == answer.status
    assert before == Audit(desktop.state).latest(99)
    assert asked == desktop.watch.versions["fleet"]
    assert TOKEN not in answer.text


def test_a_choice_is_its_boards_in_any_order() -> None:
    """One that got worse goes to the top of the page, between a question and its answer."""
    assert names_digest(["luxor-01", "luxor-02"]) == names_digest(["luxor-02", "luxor-01"])
    assert names_digest(["luxor-01", "luxor-02"]) != names_digest(["luxor-01"])


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_only_posts_act(desktop: Desktop, method: str) -> None:
    """A link, an image or a preflight of another site leads nowhere, and is allowed nothing."""
    answer = desktop.site.get("/actions/rollback", method=method)

    assert 405 == answer.status
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("verb", "body", "status"),
    [
        ("reboot", {"rollout": "x"}, 404),
        ("pause", b"", 400),
        ("pause", b"[1]", 400),
        ("pause", b"\xff", 400),
        ("pause", {}, 400),
        ("pause", {"rollout": 7}, 400),
        ("pause", {"rollout": "1-2"}, 409),
        ("rollback", {}, 400),
        ("rollback", {"board": ["luxor-01"]}, 400),
        ("rollback", {"board": "nobody", "digest": names_digest(["nobody"])}, 409),
        ("rollback", {"board": "luxor-01", "digest": names_digest(["luxor-02"])}, 409),
        ("rollback", {"board": "luxor-01"}, 409),
        ("rollback", {"choice": "site=luxor", "digest": names_digest(["luxor-01"])}, 409),
        ("rollback", {"choice": "site=nowhere", "digest": names_digest([])}, 409),
        ("rollback", b" " * 20_000, 413),
    ],
)
def test_what_makes_no_sense(desktop: Desktop, verb: str, body: object, status: int) -> None:
    """Garbled requests, and those about boards or rollouts that are no longer what was seen, are refused."""
    before = desktop.releases() if verb == "rollback" else None
    answer = desktop.ask(verb, body)

    assert status == answer.status
    assert json.loads(answer.body)["error"]
    assert before is None or before == desktop.releases()


def test_without_the_flag_there_is_no_such_address(desktop: Desktop) -> None:
    """Neither the addresses nor the buttons nor the script exist on a page that was not told to act."""
    with serving(desktop.watch) as site:
        headers = desktop.headers(host=f"127.0.0.1:{site.port}", origin=f"http://127.0.0.1:{site.port}")

        assert 404 == site.post("/actions/rollback", json.dumps(one("luxor-01")).encode(), headers).status
        for address in ("/", "/?site=luxor", "/rollout", "/boards/luxor-01"):
            page = site.get(address).text
            assert "changes nothing" in page
            assert "/actions/" not in page
            assert "act.js" not in page


def test_the_page_offers_what_it_may_do(desktop: Desktop) -> None:
    """One board, a choice, and the rollout at work, each with how many boards; the token is on no page."""
    board = desktop.site.get("/boards/luxor-01").text
    chosen = desktop.site.get("/?site=luxor").text
    everything = desktop.site.get("/").text

    assert 'data-question="Roll back 1 board?"' in board
    assert 'data-question="Roll back 2 boards?"' in chosen
    assert names_digest(["luxor-01", "luxor-02"]) in chosen
    assert "Roll back" not in everything
    for page in (board, chosen, everything, desktop.site.get("/rollout").text):
        assert TOKEN not in page
        assert parsed(page)


def test_steering_from_the_page(desktop: Desktop) -> None:
    """Pause, resume and abort reach the rollout that the page showed, and no other; abort is final."""
    with Helm(desktop.state, "rollout of quadrants") as helm:
        desktop.watch.read_journal()
        running = desktop.watch.running
        assert running is not None
        body = {"rollout": running.name}
        assert 200 == desktop.ask("pause", body).status
        assert Wish(Word.PAUSE, whoami()) == helm.wish()
        assert 409 == desktop.ask("resume", {"rollout": running.name + "0"}).status
        assert 200 == desktop.ask("resume", body).status
        assert Word.RESUME is helm.wish().word
        assert 200 == desktop.ask("abort", body).status
        again = desktop.ask("resume", body)
    desktop.watch.read_journal()
    lines = [(d["action"], d["way"], d["outcome"]) for d in Audit(desktop.state).latest(5)]
    page = desktop.site.get("/rollout").text

    assert (409, True) == (again.status, "aborted already" in again.text)
    assert [
        ("resume", "page", "failed"),
        ("abort", "page", "done"),
        ("resume", "page", "done"),
        ("resume", "page", "failed"),
        ("pause", "page", "done"),
    ] == lines
    assert "What people did" in page
    assert "on the page" in page


def test_a_rollback_from_the_page_is_the_verb(desktop: Desktop) -> None:
    """The boards of a choice go back, and no other; who asked and how it ended is written down."""
    before = desktop.releases()
    digest = names_digest(["luxor-01", "luxor-02"])
    answer = desktop.ask("rollback", {"choice": "site=luxor", "digest": digest})
    now = desktop.releases()
    ended, begun = Audit(desktop.state).latest(2)

    assert (200, {"said": "2 boards went back."}) == (answer.status, json.loads(answer.body))
    assert ["luxor-01", "luxor-02"] == sorted(board for board in now if now[board] != before[board])
    assert ["begun", "done"] == [begun["outcome"], ended["outcome"]]
    assert ("rollback", whoami(), "page", 2) == tuple(ended[k] for k in ("action", "who", "way", "boards"))

    stuck = desktop.ask("rollback", one("karnak-01"))
    assert (500, True) == (stuck.status, "1 of 1 did not go back: karnak-01" in stuck.text)
    assert "failed" == Audit(desktop.state).latest(1)[0]["outcome"]


def test_what_is_under_way_is_waited_for(desktop: Desktop, capfd: pytest.CaptureFixture[str]) -> None:
    """A dashboard that is ended leaves no boards halfway: it is over after what the page asked for."""
    asked, let = threading.Event(), threading.Event()

    class Slow(PageActs):
        def roll_back(self, boards: Sequence[str]) -> Mapping[str, bool]:
            asked.set()
            assert let.wait(60)
            return dict.fromkeys(boards, True)

    desk = Desk(desktop.watch, Slow(lambda: open_session(desktop.manifest, "", TransportKind.FAKE)), TOKEN)
    body = json.dumps(one("luxor-01")).encode()
    with ThreadPoolExecutor(2) as page:
        with serving(desktop.watch, desk) as site:
            at = f"127.0.0.1:{site.port}"
            page.submit(site.post, "/actions/rollback", body, desktop.headers(host=at, origin=f"http://{at}"))
            assert asked.wait(60)
        end = page.submit(desk.close)
        assert not wait([end], timeout=0.2).done
        assert desk.is_at_work
        let.set()
        end.result(60)

    assert not desk.is_at_work
    assert "" == capfd.readouterr().err


def test_a_token_is_for_a_person_at_a_terminal(desktop: Desktop) -> None:
    """On a terminal the address has it; elsewhere a file that only its owner reads, gone in the end."""
    words = [sys.executable, "-m", "fleetctl", "dashboard", "--port", "0", "--allow-actions"]
    settings = {**os.environ, "FLEETCTL_TRANSPORT": "fake", "NO_COLOR": "1"}
    ours, theirs = pty.openpty()
    with subprocess.Popen(words, cwd=desktop.fleet.root, env=settings, stderr=theirs) as process:
        os.close(theirs)
        shown = os.read(ours, 4096).decode()
        process.send_signal(signal.SIGINT)
        assert 0 == process.wait(60)
    os.close(ours)
    assert re.search(r"http://127\.0\.0\.1:\d+/#token=[\w-]{43} shows", shown)

    with subprocess.Popen(
        words, cwd=desktop.fleet.root, env=settings, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        said = process.stderr.readline()
        (kept,) = desktop.state.glob("dashboard-*.url")
        assert "token" not in said
        assert str(kept.name) in said
        assert 0o600 == kept.stat().st_mode & 0o777
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#token=[\w-]{43}\n", kept.read_text())
        process.send_signal(signal.SIGINT)
        assert 0 == process.wait(60)
    assert [] == list(desktop.state.glob("dashboard-*.url"))


@pytest.mark.parametrize("receipt", [["x"], "x", {"release": 7}])
def test_a_board_that_lies_about_its_way_back_ends_it_for_no_other(desktop: Desktop, receipt: object) -> None:
    """A receipt that is none leaves open which release it runs; whoever comes behind it is told of, too."""
    session = open_session(desktop.manifest, "", TransportKind.FAKE)

    class Liar(FakeTransport):
        def revert(self, boards: Sequence[Board], *_: object, **__: object) -> Iterator[Reply]:
            return (Reply(b.name, ReplyStatus.OK, {"state": "reverted", "receipt": receipt}) for b in boards)

    lying = replace(session, transport=Liar(desktop.state / "fake", Faults()))

    assert [(name, None) for name in session.selection.boards] == [
        (result["board"], result["release"]) for result in roll_back(lying, "", "page")
    ]

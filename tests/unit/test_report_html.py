"""The HTML report: complete, escaped, and alone: it needs nothing else and asks nobody for anything."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from many_boards import NEW, fleet_of, statuses
from msgspec.structs import replace
from quadrant_fleet import QuadrantFleet

from fleetctl.observation import Observed, Reach
from fleetctl.report.web.fleet_view import PAGE, Choice, fleet_view
from fleetctl.report.web.report import report_html
from fleetctl.report.web.sparkline import sparkline
from fleetctl.status import assess
from fleetctl.tale import tell

VOID = {"meta", "link", "input", "br", "img", "hr"}


class Balanced(HTMLParser):
    """Notes every tag and address, and fails where tags do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop(), tag


def parsed(html: str) -> Balanced:
    page = Balanced()
    page.feed(html)
    assert [] == page.open
    return page


def test_one_file_that_asks_nobody() -> None:
    """Tags nest, no address leads out of the file, and the policy inside forbids what would."""
    fleet = fleet_of(7)
    html = report_html(fleet, statuses(fleet, 2), tell([]), 1.7e9)
    page = parsed(html)

    assert {"data:,", "#main"} == set(page.addresses)
    assert not re.search(r"https?://|url\(|@import", html)
    assert "default-src 'none'" in html
    assert "5 of 7 boards healthy, 2 offline" in html


def test_what_boards_say_is_text() -> None:
    """Markup in a board's words, in a label or in a reason of the journal is shown, not obeyed."""
    fleet = fleet_of(1)
    evil = "<script>alert(1)</script>\"'&"
    board = replace(fleet.boards["b00000"], labels={"site": evil})
    fleet = replace(fleet, boards={"b00000": board})
    status = assess(board, NEW, Observed("b00000", Reach.REFUSED, error=evil))
    settled = {"event": "BoardSettled", "board": "b00000", "verdict": evil, "reasons": [evil], "time": 1}
    started = {"event": "WaveStarted", "number": 1, "name": evil, "boards": ["b00000"], "time": 1}
    html = report_html(fleet, [status], tell([started, settled]), 1.7e9)

    assert "<script>" not in html
    assert html.count("&lt;script&gt;") >= 4
    parsed(html)


def test_a_wave_of_an_earlier_rollout_has_no_boards_at_work() -> None:
    """While the rest of its soak is watched, the page says whose it is, and for how long."""
    resumed = {"event": "SoakResumed", "number": 1, "name": "canary", "boards": ["b00000"], "seconds": 40}
    html = report_html(fleet_of(1), [], tell([resumed]), 1.7e9)

    assert "1 board of an earlier rollout" in html
    assert "watched for 40 s" in html
    assert "at work" not in html
    parsed(html)


@pytest.mark.parametrize("wrong", [0, 3])
def test_the_grid_counts_every_board(wrong: int) -> None:
    """Each board is in one cell, sites with the worst boards come first, and a page shows fifty."""
    fleet = fleet_of(130)
    view = fleet_view(fleet, statuses(fleet, wrong), Choice())

    assert 130 == sum(cell.total for _, cells in view.grid for cell in cells)
    assert (PAGE, 3, 130) == (len(view.rows), view.pages, view.chosen)
    assert [r.status.standing.value for r in view.rows[:wrong]] == ["offline"] * wrong


def test_choosing_boards() -> None:
    """By how they stand, site, wave, and part of a name or a glob; a page beyond the last is the last."""
    fleet = fleet_of(130)
    all_of_them = statuses(fleet, 3)
    chosen = {
        choice: fleet_view(fleet, all_of_them, choice).chosen
        for choice in (
            Choice(standing="offline"),
            Choice(site="site-1"),
            Choice(wave=1),
            Choice(text="B0012"),
            Choice(text="b0000?"),
            Choice(standing="offline", site="site-1"),
            Choice(text="nobody"),
        )
    }

    assert [3, 43, 1, 10, 10, 1, 0] == list(chosen.values())
    assert 3 == fleet_view(fleet, all_of_them, Choice(page=99)).choice.page


def test_a_sparkline_says_it_in_words() -> None:
    """Lines of two values and more; who cannot see them hears the range and the last."""
    line = sparkline([4.0, None, 6.0, 5.0], "p95", "ms")

    assert line
    assert "p95: 3 values from 4 to 6 ms, the last 5 ms" == line.label
    assert 3 == len(line.points.split())
    assert None is sparkline([4.0], "p95", "ms")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuadrantFleet]:
    """Three simulated boards that run what git says."""
    made = QuadrantFleet.make(tmp_path_factory.mktemp("fleet"))
    yield made


def test_the_verb(fleet: QuadrantFleet) -> None:
    """Without a journal `--rollout` is refused; then Markdown comes on stdout, and HTML into a file."""
    none = fleet.run("report", "--rollout", transport="fake")
    fleet.run("rollout", "--yes", transport="fake")
    (fleet.root / "out").mkdir()
    today = fleet.run("report", "--html", "out/report.html", transport="fake")
    last = fleet.run("report", "--rollout", transport="fake")

    assert (2, True) == (none.status, "no rollout was made from here" in none.err)
    assert (0, 0) == (today.status, last.status)
    assert today.out.startswith("### Fleet quadrants\n\n3 boards do what git says: ")
    assert last.out.startswith("### Rollout of quadrants: done\n\n3 boards to change, commit `")
    assert "| 1 canary | 1 | 1 verified | open: 1 board verified |" in last.out
    parsed((fleet.root / "out" / "report.html").read_text())

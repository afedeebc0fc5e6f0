"""How the status of a fleet is written: for people in 80 columns, for a log, for Prometheus."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from fleetctl.manifest.schema import Board, BoardKind, VariantName
from fleetctl.observation import Health, Loaded, Observed, Reach
from fleetctl.report.prometheus import METRICS, prometheus_text
from fleetctl.report.status import status_markdown, status_text
from fleetctl.report.watching import LogWatch, TerminalWatch
from fleetctl.status import BoardStatus, assess

NEW, OLD = "a" * 64, "b" * 64
NOW = "2026-01-02T00:00:00Z"


def board(name: str) -> Board:
    return Board(
        name, BoardKind.RASPBERRYPI4, "reader", VariantName.INT8, host="h", labels={"site": 'the "west"'}
    )


def seen(name: str) -> Observed:
    """A board that proved what git says a day ago, and has served it for an hour."""
    return Observed(
        name,
        current=NEW,
        good=NEW,
        service="running",
        time=NOW,
        loaded=Loaded(release=NEW, accelerator="cpu", since="2026-01-01T23:00:00Z"),
        receipt={
            "release": NEW,
            "outcome": "passed",
            "state": "confirmed",
            "time": "2026-01-01T00:00:00Z",
            "latency_ms": {"p95": 4.25},
        },
        health=Health(temperature_c=51.5, throttled=False),
    )


def well(name: str) -> BoardStatus:
    return assess(board(name), NEW, seen(name))


def stopped(name: str) -> BoardStatus:
    return assess(board(name), NEW, replace(seen(name), service="stopped", loaded=None))


def silent(name: str) -> BoardStatus:
    return assess(board(name), NEW, Observed(name, Reach.OFFLINE, "no route to host"))


FLEET = [well("luxor-01"), silent("luxor-02"), well("karnak-01"), stopped("karnak-02")]


def test_trouble_comes_first_and_the_rest_folds() -> None:
    """What needs somebody opens the table; what is well is one line; a count closes it."""
    assert status_text(FLEET).splitlines() == [
        "   BOARD      LOADED   GIT SAYS  SERVING  PROVED",
        "!! karnak-02  nothing  aaaaaaaa  -        passed confirmed aaaaaaaa",
        "     service is stopped",
        "?? luxor-02   -        aaaaaaaa  -        no answer",
        "     no route to host",
        "ok 2 boards do what git says: serving for 60 min, proved 24 h ago, p95 up to 4.2",
        "   ms",
        "",
        "2 of 4 boards healthy, 1 wrong, 1 offline; 2 serving processes answered; 3",
        "demand no signature",
    ]


def test_healthy_boards_unfold() -> None:
    """With `--all` each has its line, behind those in trouble."""
    lines = status_text(FLEET, unfold=True).splitlines()

    assert "ok luxor-01   aaaaaaaa  aaaaaaaa  60 min   24 h ago, 4.2 ms" in lines
    assert not any("do what git says" in line for line in lines)


@pytest.mark.parametrize("width", [60, 80, 120])
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(names=st.lists(st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True), min_size=1, max_size=4))
def test_nothing_is_wider_than_the_terminal(width: int, names: list[str]) -> None:
    """Names of any length are shown whole, and no line is longer than the terminal is wide."""
    statuses = [make(name) for name in names for make in (well, stopped, silent)]
    text = status_text(statuses, unfold=True, width=width)
    longest = max(map(len, names))

    assert all(len(line) <= max(width, 3 + longest) for line in text.splitlines())
    assert all(name in text for name in names)


def test_boards_have_no_say_over_the_terminal() -> None:
    """Control characters of a board's words are shown, not obeyed; a table of Markdown stays one."""
    hostile = assess(board("b"), NEW, replace(seen("b"), service="\x1b[2J | <b>"))

    assert "\x1b" not in status_text([hostile])
    assert "\\|" in status_markdown([hostile])
    assert "<b>" not in status_markdown([hostile])


def test_a_log_is_told_changes_only() -> None:
    """The first round is whole; a later one has a line for each board that is not as it was.

    Of one that did not answer nobody knows what it has loaded.
    """
    lines: list[str] = []
    watch = LogWatch(lines.append)
    watch.show([well("a"), well("b")], "the table")
    watch.show([well("a"), well("b")], "the table")
    watch.show([silent("a"), well("b")], "the table")
    watch.show([silent("a")], "the table")

    assert "the table" == lines[0]
    assert ["?? a: no route to host", "   b: no longer asked"] == [line[9:] for line in lines[1:]]


def test_what_a_terminal_was_told_last_stays(capsys: pytest.CaptureFixture[str]) -> None:
    """Who ends a watch over something that is wrong has it before his eyes."""
    with TerminalWatch(1.0) as watch:
        watch.show([well("a")], "all is well")
        watch.show([silent("a")], "a is silent")

    assert "a is silent\n" == capsys.readouterr().out


def test_prometheus_reads_what_is_written() -> None:
    """Every gauge has its sample for a board that is well, in base units, labels escaped."""
    text = prometheus_text(FLEET, {status.board: board(status.board) for status in FLEET}, 1700000000.5)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    of = {
        name: {sample.labels.get("board"): sample.value for sample in family.samples}
        for name, family in families.items()
    }

    assert {metric.name for metric in METRICS} < families.keys()
    assert (1.0, 0.0, 0.0) == tuple(
        of["fleetctl_board_healthy"][n] for n in ("luxor-01", "luxor-02", "karnak-02")
    )
    assert 0.00425 == of["fleetctl_board_proof_p95_seconds"]["luxor-01"]
    assert 1767225600.0 == of["fleetctl_board_proved_timestamp_seconds"]["luxor-01"]
    assert {"luxor-01", "karnak-01", "karnak-02"} == of["fleetctl_board_as_declared"].keys()
    assert 'the "west"' == families["fleetctl_board_info"].samples[0].labels["site"]
    assert {"wrong": 1, "offline": 1, "strained": 0, "healthy": 2} == {
        sample.labels["standing"]: sample.value for sample in families["fleetctl_boards"].samples
    }


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize(
    "receipt",
    [
        {"release": OLD, "outcome": "inconclusive", "state": "revert_failed"},  # as an honest one may say
        {"release": OLD, "outcome": "\x1b" * 20, "state": "\x1b" * 20},
        {"release": NEW, "outcome": "passed", "time": NOW, "latency_ms": {"p95": 1e299}},
    ],
)
def test_a_board_that_needs_more_room_than_there_is(width: int, receipt: dict[str, object]) -> None:
    """What one board says may be wider than the terminal; it and the others are shown all the same."""
    wordy = assess(board("luxor-01"), NEW, replace(seen("luxor-01"), receipt=receipt))
    lines = status_text([wordy, well("karnak-01")], unfold=True, width=width).splitlines()

    assert [line.split()[1] for line in lines if line.startswith("ok ")] == ["luxor-01", "karnak-01"]


LIE = "stopped\nok karnak-02  aaaaaaaa  aaaaaaaa"


def test_no_board_adds_a_line_about_another() -> None:
    """Neither to the table nor to the log of a watch, by whatever it calls its service or its last proof."""
    receipt = {"release": OLD, "outcome": "\nok karnak-02", "state": "\nok karnak-03"}
    liar = assess(board("luxor-01"), NEW, replace(seen("luxor-01"), service=LIE, receipt=receipt))
    logged: list[str] = []
    watch = LogWatch(logged.append)
    watch.show([well("luxor-01")], "the table")
    watch.show([liar], "the table")

    assert not any(line.startswith("ok") for line in status_text([liar], width=120).splitlines())
    assert any("luxor-01" in line for line in logged)
    assert all("\n" not in line for line in logged)

"""How the fleet's status looks: trouble first."""

from collections.abc import Sequence

from fleetctl.observation import Reach
from fleetctl.report.console import markdown_table, table_text
from fleetctl.report.units import bytes_text, plural, short
from fleetctl.status import BoardStatus

_COLUMNS = [
    "",
    "board",
    "loaded",
    "git says",
    "service",
    "on",
    "p95",
    "temp",
    "disk",
    "last proof",
    "trouble",
]


def status_text(statuses: Sequence[BoardStatus]) -> str:
    """A table with a closing sentence."""
    return f"{table_text(_COLUMNS, _rows(statuses))}\n\n{status_summary(statuses)}"


def status_markdown(statuses: Sequence[BoardStatus]) -> str:
    return f"{markdown_table(_COLUMNS, _rows(statuses))}\n\n{status_summary(statuses)}"


def status_summary(statuses: Sequence[BoardStatus]) -> str:
    """How many boards do what git says."""
    healthy = sum(status.healthy for status in statuses)
    return f"{healthy} of {plural(len(statuses), 'board')} healthy"


def _rows(statuses: Sequence[BoardStatus]) -> list[list[str]]:
    return [_row(status) for status in sorted(statuses, key=lambda status: status.healthy)]


def _row(status: BoardStatus) -> list[str]:
    seen = status.observed
    health = seen.health
    return [
        "ok" if status.healthy else "!!",
        status.board,
        short(seen.loaded.release) if seen.loaded else "-",
        short(status.desired) if status.desired else "?",
        seen.service if seen.reach is Reach.REACHED else "-",
        (seen.loaded.accelerator if seen.loaded else "") or "-",
        f"{status.p95_ms:.1f} ms" if status.p95_ms is not None else "-",
        f"{health.temperature_c:.0f} C" if health.temperature_c is not None else "-",
        bytes_text(health.disk_free_bytes) if health.disk_free_bytes is not None else "-",
        status.last_outcome or "-",
        "; ".join(status.troubles),
    ]

"""How the fleet's status looks: trouble first, what is well in one line, never wider than the terminal."""

import shutil
import textwrap
from collections.abc import Sequence

from fleetctl.observation import Reach
from fleetctl.report.console import markdown_table, on_one_line, printable
from fleetctl.report.units import duration_text, ms_text, plural, short
from fleetctl.status import BoardStatus, Source, Standing, worst_first

MARKS = {Standing.WRONG: "!!", Standing.OFFLINE: "??", Standing.STRAINED: " !", Standing.HEALTHY: "ok"}
_COLUMNS = ["board", "loaded", "git says", "serving", "proved"]
_INDENT = " " * 5
_LEAST = 60  # columns; a narrower terminal wraps by itself


def status_text(statuses: Sequence[BoardStatus], *, unfold: bool = False, width: int | None = None) -> str:
    """A table of what needs somebody, a line for the rest (with `unfold` one each), a closing sentence."""
    columns = max(_LEAST, width or shutil.get_terminal_size((80, 24)).columns)
    shown = [status for status in worst_first(statuses) if unfold or not status.healthy]
    table = _table(shown, columns)
    folded = [status for status in statuses if status.healthy and not unfold]
    if folded:
        table += textwrap.wrap(f"ok {healthy_line(folded)}", columns, subsequent_indent="   ")
    closing = textwrap.wrap(status_summary(statuses), columns)
    return "\n".join([*table, *([""] if table else []), *closing])


def status_markdown(statuses: Sequence[BoardStatus], *, unfold: bool = False) -> str:
    """The same for pull requests and step summaries."""
    shown = [status for status in worst_first(statuses) if unfold or not status.healthy]
    rows = [
        [MARKS[status.standing].strip(), *_cells(status), "; ".join(status.complaints)] for status in shown
    ]
    parts = [markdown_table(["", *_COLUMNS, "trouble"], rows)] if rows else []
    folded = [status for status in statuses if status.healthy and not unfold]
    if folded:
        parts.append(healthy_line(folded))
    return "\n\n".join([*parts, status_summary(statuses)])


def status_summary(statuses: Sequence[BoardStatus]) -> str:
    """How many boards do what git says, and how we know."""
    counts = {standing: sum(s.standing is standing for s in statuses) for standing in Standing}
    others = [f"{count} {standing}" for standing, count in counts.items() if count][:3]
    bad = ", ".join(word for word in others if not word.endswith(Standing.HEALTHY))
    answered = sum(status.source is Source.SERVICE for status in statuses)
    trusting = sum(s.observed.reach is Reach.REACHED and s.observed.trust is None for s in statuses)
    total = plural(len(statuses), "board")
    return (
        f"{counts[Standing.HEALTHY]} of {total} healthy"
        + (f", {bad}" if bad else "")
        + f"; {plural(answered, 'serving process', 'serving processes')} answered"
        + (f"; {trusting} {'demands' if trusting == 1 else 'demand'} no signature" if trusting else "")
    )


def healthy_line(statuses: Sequence[BoardStatus]) -> str:
    """Boards that are well, in one sentence."""
    one = len(statuses) == 1
    parts = [f"{plural(len(statuses), 'board')} {'does' if one else 'do'} what git says"]
    if serving := _spread([s.serving_s for s in statuses]):
        parts.append(f"serving for {serving}")
    if proved := _spread([s.proved_s for s in statuses]):
        parts.append(f"proved {proved} ago")
    latencies = [status.p95_ms for status in statuses if status.p95_ms is not None]
    if latencies:
        parts.append(f"p95 {'' if one else 'up to '}{ms_text(max(latencies))}")
    return parts[0] + (": " + ", ".join(parts[1:]) if parts[1:] else "")


def _spread(ages: Sequence[float | None]) -> str:
    """The least and the most of some ages, as one text."""
    known = [age for age in ages if age is not None]
    if not known:
        return ""
    least, most = duration_text(min(known)), duration_text(max(known))
    return least if least == most else f"{least} to {most}"


def _table(statuses: Sequence[BoardStatus], width: int) -> list[str]:
    if not statuses:
        return []
    rows = [[on_one_line(cell) for cell in _cells(status)] for status in statuses]
    cells = [[name.upper() for name in _COLUMNS], *rows]
    others = [max(len(row[index]) for row in cells) for index in range(1, len(_COLUMNS))]
    room = max(0, width - 3 - sum(others) - 2 * len(others))
    widths = [min(room, max(len(row[0]) for row in cells)), *others]
    lines = _row("  ", cells[0], widths)
    for status, row in zip(statuses, rows, strict=True):
        lines += _row(MARKS[status.standing], row, widths)
        for complaint in status.complaints:
            lines += textwrap.wrap(
                printable(complaint), width, initial_indent=_INDENT, subsequent_indent=_INDENT
            )
    return lines


def _row(mark: str, cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    """One line; two where the board's name leaves no room for the rest. A name is never cut."""
    if len(cells[0]) > widths[0]:
        return [f"{mark} {cells[0]}", *_row("  ", ["", *cells[1:]], widths)]
    body = "  ".join(cell.ljust(size) for cell, size in zip(cells, widths, strict=True))
    return [f"{mark} {body}".rstrip()]


def _cells(status: BoardStatus) -> list[str]:
    seen = status.observed
    reached = seen.reach is Reach.REACHED
    return [
        status.board,
        (short(seen.loaded.release) if seen.loaded else "nothing") if reached else "-",
        short(status.desired) if status.desired else "?",
        duration_text(status.serving_s) if status.serving_s is not None else "-",
        _proof(status) if reached else "no answer",
    ]


def _proof(status: BoardStatus) -> str:
    """When what is loaded last proved itself, and how fast it was; else how the last trial ended."""
    if status.proved_s is None:
        return status.last_outcome or "never"
    p95 = f", {ms_text(status.p95_ms)}" if status.p95_ms is not None else ""
    return f"{duration_text(status.proved_s)} ago{p95}"

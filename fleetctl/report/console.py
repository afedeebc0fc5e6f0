"""Results go to standard output, talk to standard error; both read well without colour.

`talk` is the one voice of every verb. Rich is imported on first use: a verb that says nothing does not pay.
"""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from fleetctl.report import github

if TYPE_CHECKING:
    from rich.console import Console


def printable(text: str) -> str:
    """`text` with control characters shown, not obeyed: boards are not trusted with a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else _shown(c) for c in text)


def _shown(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # as Python keeps a byte of a name that is not UTF-8
        return f"\\x{number - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def on_one_line(text: str) -> str:
    """The same as part of a line: no board adds one about another."""
    return printable(text).replace("\n", " ")


class Talk:
    """What fleetctl says while it works: five marks, one line each, on standard error."""

    def __init__(self) -> None:
        self.quiet = False
        self.spell_as_written()

    def spell_as_written(self) -> None:
        """Name commands in hints as their authors wrote them."""
        self.spelled: Callable[[str], str] = str

    def step(self, text: str) -> None:
        """A new stage begins."""
        self._say("cyan", "→", text)

    def done(self, text: str) -> None:
        """Something was reached."""
        self._say("green", "✓", text)

    def warn(self, text: str) -> None:
        """Something a person should know, though the work goes on."""
        self._say("yellow", "!", text)

    def fail(self, text: str) -> None:
        """Something went wrong."""
        self._say("red", "✗", text)

    def note(self, text: str) -> None:
        """A detail of the line above."""
        self._say("", " ", text)

    @contextmanager
    def progress(self, label: str, total: float | None = None) -> Iterator[Callable[..., None]]:
        """A bar on a terminal, elsewhere a line at every tenth. Yields `advance(n=1, *, total=, label=)`."""
        if _is_terminal():
            with self._bar(label, total) as advance:
                yield advance
        else:
            yield PlainProgress(label, total)

    @contextmanager
    def _bar(self, label: str, total: float | None) -> Iterator[Callable[..., None]]:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        with Progress(*columns, console=_stderr(), transient=True) as bar:
            task = bar.add_task(printable(label), total=total)

            def advance(count: float = 1, *, total: float | None = None, label: str | None = None) -> None:
                if label is not None or total is not None:
                    bar.update(task, total=total, description=None if label is None else printable(label))
                bar.advance(task, count)

            yield advance

    def _say(self, colour: str, mark: str, text: str) -> None:
        if self.quiet:
            return
        said = printable(self.spelled(text)).replace("\n", "\n  ")  # a line with a mark is ours
        line = github.defused(said)
        if colour and _is_terminal() and not os.environ.get("NO_COLOR"):
            from rich.text import Text

            _stderr().print(Text.assemble((mark, colour), " ", line))
        else:
            say_plainly(f"{mark} {line}")


class PlainProgress:
    """Progress for logs: a line when a label begins, then one at every tenth of the way, with the time left.

    Quick work is not worth lines so close together, and slow work is not silent for long.
    """

    SOONEST, LATEST = 2.0, 60.0  # seconds between two lines

    def __init__(
        self, label: str, total: float | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.clock = clock
        self.total: float | None
        self.first: tuple[float, float] | None
        self._begin(label, total)

    def __call__(self, count: float = 1, *, total: float | None = None, label: str | None = None) -> None:
        if label is not None and label != self.label:
            self._begin(label, total)
        elif total is not None:
            self.total = total
        self.reached += count
        now = self.clock()
        if self.first is None and self.reached:
            self.first = now, self.reached  # what came before says nothing of the speed
        if self.total and self._is_due(now, self.reached / self.total):
            self._print(f" {100 * self.reached / self.total:3.0f} %{self._time_left(now)}")

    def _begin(self, label: str, total: float | None) -> None:
        self.label, self.total, self.reached, self.tenths, self.first = label, total, 0.0, 0, None
        self._print("")

    def _is_due(self, now: float, share: float) -> bool:
        since, tenths = now - self.printed, int(10 * share)
        if since < self.SOONEST or (tenths <= self.tenths and since < self.LATEST):
            return False
        self.tenths = tenths
        return True

    def _time_left(self, now: float) -> str:
        if self.first is None or self.total is None or self.reached >= self.total:
            return ""
        start, had = self.first
        if self.reached <= had or now <= start:
            return ""
        left = (self.total - self.reached) * (now - start) / (self.reached - had)
        return f", about {duration(left)} left"

    def _print(self, text: str) -> None:
        self.printed = self.clock()
        say_plainly(f"  {github.defused(printable(self.label))}{text}")


def say_plainly(line: str) -> None:
    """Print a line of talk, if anybody can hear it: boards are not left half-way because nobody does."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:  # as behind `2>&1 | head`, or in a log on a full disk
        silence(sys.stderr)


def silence(stream: TextIO) -> None:
    """Lead a stream that nobody reads any more nowhere: what is left in its buffer would fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def duration(seconds: float) -> str:
    """A time to wait, no more exact than a person needs it: `40 s`, `3 min`, `2 h 10 min`."""
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


talk = Talk()


def _is_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _stderr() -> "Console":
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def _result(text: str) -> None:
    # Flushed, so that results and talk come in the order of events where both go to one log.
    print(github.defused(text), flush=True)


def emit_text(text: str) -> None:
    """Print a result."""
    _result(text.rstrip("\n"))


def emit_json(schema: str, data: dict[str, Any]) -> None:
    """Print a result for machines: `data` with the name and version of its schema in front."""
    print(github.defused_json(json_text(schema, data)), flush=True)


# Characters that JSON takes as they are, and a terminal for commands or directions.
_OBEYED = re.compile(r"[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]")


def json_text(schema: str, data: dict[str, Any]) -> str:
    """The document of `emit_json`, as text, with escapes for what a terminal would obey.

    Where the output does not hold every character, the others are escaped, too.
    """
    escaped = not (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps({"schema": schema, **data}, indent=2, ensure_ascii=escaped, default=str)
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def emit_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print an aligned table: no box, no colour, cells never cut."""
    _result(table_text(columns, rows))


def table_text(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table of `emit_table`, as text."""
    cells = [[name.upper() for name in columns], *([on_one_line(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def emit_markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table for pull requests and step summaries."""
    _result(markdown_table(columns, rows))


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A GitHub table; what a board said cannot break out of its cell."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(markdown_text(cell) for cell in line) + " |" for line in lines)


# What a board or a pull request says is text: no markup, no formula, no picture, no link, nobody mentioned.
_MARKUP = {ord(c): f"\\{c}" for c in "\\`*[]~|"} | {ord("&"): "&amp;", ord("<"): "&lt;", ord("\n"): "<br>"}
# GitHub looks for formulas in what other marks have become, so that no backslash helps; an element does.
_MARKUP |= {ord("$"): "<span>&#36;</span>"}
_JOINER = "\u2060"  # invisible, and enough for GitHub to see no name and no address
_REFERENCE = re.compile(
    r"(?<=@)(?=\w)|(?<=#)(?=\d)|(?<=\bGH)(?=-\d)"  # somebody, or an issue
    r"|(?<=:)(?=//)|(?<=www)(?=\.)"  # an address
    r"|(?<=:)(?=(?!\d+:)[\w+-]+:|100:|1234:)",  # a picture, such as `:x:`; no number but these is one
    re.IGNORECASE,
)
_EMPHASIS = re.compile(r"(?<![^\W_])_|_(?![^\W_])")  # inside a word, as in `min_agreement`, it is none


class Markup(str):
    """Text that is Markdown already, and ours: what others say is never made one."""

    __slots__ = ()


def markdown_text(text: str) -> str:
    """Untrusted text on one line of Markdown, shown as it is."""
    if isinstance(text, Markup):
        return text.replace("|", "\\|")
    parted = _REFERENCE.sub(_JOINER, printable(text))
    return _EMPHASIS.sub(r"\\_", parted.translate(_MARKUP))

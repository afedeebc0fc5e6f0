"""How drift looks: each difference with its three sides, how it came about, and the command that mends it."""

import shlex
import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime

from fleetctl.drift import BoardDrift, Drift, Origin
from fleetctl.healing import Healing
from fleetctl.listed import listed
from fleetctl.manifest.schema import DriftKind
from fleetctl.plan import Action, Step
from fleetctl.report.console import markdown_table, on_one_line, printable, talk
from fleetctl.report.units import duration_text, plural, short

_COLUMNS = ["what", "declared", "files", "loaded"]
_SHOWN = 14  # characters of a value
_INDENT = " " * 5


def drift_text(found: Sequence[BoardDrift], now: float, width: int) -> str:
    """Board by board, a line for each difference and how it came about below; then a closing sentence."""
    shown = [each for each in found if each.drifts or each.unknown]
    cells = [[name.upper() for name in _COLUMNS], *(_cells(d) for each in shown for d in each.drifts)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(_COLUMNS))]
    lines = [_line(cells[0], widths)] if len(cells) > 1 else []
    for each in shown:
        lines += _board_lines(each, widths, now, width)
    return "\n".join([*lines, *([""] if lines else []), *textwrap.wrap(drift_summary(found), width)])


def drift_markdown(found: Sequence[BoardDrift], now: float) -> str:
    """The same for an issue or a step summary."""
    rows = [[each.board, *_cells(d), _note(d, now)] for each in found for d in each.drifts]
    rows += [[each.board, "", "", "", "", f"not known: {each.unknown}"] for each in found if each.unknown]
    table = [markdown_table(["board", *_COLUMNS, "how"], rows), ""] if rows else []
    return "\n".join([*table, drift_summary(found)])


def _board_lines(each: BoardDrift, widths: Sequence[int], now: float, width: int) -> Iterator[str]:
    unknown = f": not known: {each.unknown}" if each.unknown else ""
    yield from textwrap.wrap(printable(each.board + unknown), width, subsequent_indent=_INDENT)
    for drift in each.drifts:
        yield _line(_cells(drift), widths)
        yield from textwrap.wrap(_note(drift, now), width, initial_indent=_INDENT, subsequent_indent=_INDENT)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  " + "  ".join(cell.ljust(size) for cell, size in zip(cells, widths, strict=True)).rstrip()


def _cells(drift: Drift) -> list[str]:
    what = f"config {drift.what}" if drift.kind is DriftKind.CONFIG else drift.what
    return [on_one_line(what), *(_value(drift, side) for side in (drift.declared, drift.files, drift.loaded))]


def _value(drift: Drift, value: str | None) -> str:
    if value is None:
        return "-"
    if drift.kind in (DriftKind.CONFIG, DriftKind.SERVICE):
        text = on_one_line(value)
        return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return short(value)


def _note(drift: Drift, now: float) -> str:
    aside = f"left aside: {drift.ignored}" if drift.ignored is not None else ""
    return printable("; ".join(part for part in (origin_text(drift.origin, now), aside) if part))


def drift_summary(found: Sequence[BoardDrift]) -> str:
    """One sentence: how many boards differ, could not be asked, or are left aside."""
    differing, unknown = sum(bool(each.counted) for each in found), sum(bool(each.unknown) for each in found)
    ignored = sum(drift.ignored is not None for each in found for drift in each.drifts)
    total = plural(len(found), "board")
    parts = [f"{differing} of {total} {'differs' if differing == 1 else 'differ'} from what git says"]
    if unknown:
        parts.append(f"{unknown} could not be asked")
    if left := sum(not drift.mended_by_rollout for each in found for drift in each.counted):
        parts.append(f"{plural(left, 'drop-in')} to take away by hand, or to name under `drift.ignore`")
    if ignored:
        parts.append(f"the manifest leaves {plural(ignored, 'difference')} aside")
    return "; ".join(parts)


def heal_text(healing: Healing) -> str | None:
    """The command line that puts right all that a rollout does; None where that is nothing."""
    commands = filter(None, [healing.plain, healing.adopting])
    return " && ".join(_command(words).strip("`") for words in commands) or None


def heal_notes(healing: Healing) -> Iterator[str]:
    """What is to be done about boards that differ, in sentences: by a rollout, or by a person first."""
    if healing.plain:
        yield f"{_command(healing.plain)} puts them right, board by board, each proved"
    if healing.adopting:
        yield f"{_command(healing.adopting)} overwrites releases that git does not know"
    alike: dict[str, list[str]] = {}
    for step in healing.left:
        alike.setdefault(_what_first(step), []).append(step.board)
    for first, boards in alike.items():
        yield f"{listed(boards)}: {first}"


def _what_first(step: Step) -> str:
    if step.action is Action.NOTHING:  # its files are right, and it has proved them
        return "no rollout mends this; `fleetctl doctor` says what does"
    return "; ".join([*step.reasons, *step.fixes])


def _command(words: Sequence[str]) -> str:
    return talk.spelled(f"`{shlex.join(words)}`")


def origin_text(origin: Origin, now: float) -> str:
    """`altered on the board 3 h ago by pi`; empty where nobody knows anything."""
    age = _age(origin.since, now)
    by = f"by {origin.by}" if origin.by else ""
    return printable(" ".join(part for part in (origin.how, age, by) if part))


def _age(since: str, now: float) -> str:
    try:
        return f"{duration_text(max(0.0, now - datetime.fromisoformat(since).timestamp()))} ago"
    except (ValueError, OverflowError):
        return ""

"""How a board's examination looks: the worst first, each with what to do, and the next rung of the ladder."""

import textwrap
from collections.abc import Sequence

from fleetctl.doctor import Finding, Grade, Remedy
from fleetctl.report.console import markdown_table, printable, talk

_MARKS = {Grade.BAD: "!!", Grade.WARN: " !", Grade.UNKNOWN: "??", Grade.GOOD: "ok"}
_NAME = 13  # columns of a check's name
_WHAT = {
    Remedy.RESTART_SERVICE: "start the service anew",
    Remedy.RESET_USB: "off its USB port, and back",
    Remedy.REBOOT: "boot the board",
}


def doctor_text(board: str, findings: Sequence[Finding], width: int) -> str:
    """A line for each check with its advice below; the ladder last, where there is one to climb."""
    lines: list[str] = []
    for finding in _worst_first(findings):
        head = f"{_MARKS[finding.grade]} {finding.check:{_NAME}}"
        indent = " " * len(head)
        lines += _wrapped(finding.seen, width, head, indent)
        lines += _wrapped(talk.spelled(finding.advice), width, f"{indent}-> ", f"{indent}   ")
    return "\n".join([*lines, *ladder_lines(board, findings), "", doctor_summary(board, findings)])


def doctor_markdown(board: str, findings: Sequence[Finding]) -> str:
    """The same for an issue."""
    rows = [[f.grade.value, f.check, f.seen, f.advice] for f in _worst_first(findings)]
    table = markdown_table(["", "check", "seen", "what to do"], rows)
    return "\n".join([table, *ladder_lines(board, findings), "", doctor_summary(board, findings)])


def ladder_lines(board: str, findings: Sequence[Finding]) -> list[str]:
    """The commands of the ladder, mildest first; empty where nothing calls for it."""
    rungs = [remedy for remedy in Remedy if any(remedy in finding.remedies for finding in findings)]
    if not rungs:
        return []
    commands = [f"   {_command(board, rung)}# {_WHAT[rung]}" for rung in rungs]
    return ["", "the ladder, one rung at a time; each asks first, and looks again:", *commands]


def _command(board: str, rung: Remedy) -> str:
    """What takes one rung of the ladder, in a column."""
    start = talk.spelled(f"`fleetctl doctor {board}`").strip("`")
    return f"{start} --remedy {rung:17}"


def doctor_summary(board: str, findings: Sequence[Finding]) -> str:
    """How many checks ended how."""
    counts = {grade: sum(f.grade is grade for f in findings) for grade in Grade}
    said = ", ".join(f"{count} {grade}" for grade, count in counts.items() if count)
    return f"{board}: {len(findings)} checks: {said}"


def _worst_first(findings: Sequence[Finding]) -> list[Finding]:
    order = list(Grade)
    return sorted(findings, key=lambda finding: order.index(finding.grade))


def _wrapped(text: str, width: int, first: str, later: str) -> list[str]:
    return textwrap.wrap(
        printable(text), width, initial_indent=first, subsequent_indent=later, break_on_hyphens=False
    )

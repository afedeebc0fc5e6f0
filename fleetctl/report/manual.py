"""The reference part of the manual, made from the program itself: Markdown pages, and a man page."""

import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from fleetctl import errors
from fleetctl.report.console import Markup, markdown_table
from fleetctl.report.prometheus import ASKED, COUNTS, INFO, METRICS
from fleetctl.report.schemas import schema_markdown
from fleetctl.schemas import SCHEMAS


class ParameterDoc(Struct, frozen=True):
    """An option or an argument: how it is written, what it takes, and what it is for."""

    names: tuple[str, ...]
    takes: str  # empty for a flag
    default: str
    help: str
    environment: str = ""


class CommandDoc(Struct, frozen=True):
    """One verb, with what its `--help` says."""

    name: str  # such as `lab up`
    help: str
    arguments: tuple[ParameterDoc, ...]
    options: tuple[ParameterDoc, ...]

    @property
    def usage(self) -> str:
        return " ".join(
            ["fleetctl", self.name, "[OPTIONS]", *(argument.names[0] for argument in self.arguments)]
        )


EXITS: Mapping[int, str] = {
    0: "done, or nothing to do",
    1: "differs: a board is not as git says, or a check is bad",
    2: "the command line asks for something that cannot be",
    70: "internal error",
}


def cli_markdown(commands: Sequence[CommandDoc]) -> str:
    """Every verb with its arguments and options."""
    return "# Command line\n\n" + "\n\n".join(map(_command_markdown, commands)) + "\n"


def _command_markdown(command: CommandDoc) -> str:
    parts = [f"## fleetctl {command.name}", _paragraphs(command.help), f"```\n{command.usage}\n```"]
    if command.arguments:
        rows = [[f"`{each.names[0]}`", each.help] for each in command.arguments]
        parts.append(_table(["argument", "meaning"], rows))
    if command.options:
        rows = [
            [", ".join(f"`{name}`" for name in each.names), each.takes, each.default, _meaning(each)]
            for each in command.options
        ]
        parts.append(_table(["option", "takes", "default", "meaning"], rows))
    return "\n\n".join(parts)


def _meaning(option: ParameterDoc) -> str:
    return option.help + (f" Also `{option.environment}` in the environment." if option.environment else "")


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", text))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose cells are our own Markdown."""
    return markdown_table(columns, [[Markup(" ".join(cell.split())) for cell in row] for row in rows])


def exit_rows() -> list[tuple[int, str, str]]:
    """Every exit code with the error that ends in it and what that means, by code."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    raised = [kind for kind in kinds if issubclass(kind, errors.FleetError)]
    rows = [(kind.exit_code, kind.__name__, _first_sentence(kind.__doc__)) for kind in raised]
    plain = [(code, "", meaning) for code, meaning in EXITS.items() if code not in {row[0] for row in rows}]
    return sorted([*rows, *plain])


def exits_markdown() -> str:
    """The table of exit codes."""
    rows = [[str(code), f"`{name}`" if name else "", meaning] for code, name, meaning in exit_rows()]
    rows.append(["128+n", "", "signal n ended it"])
    intro = "A rollback is never exit 0. Scripts may rely on every number.\n\n"
    return f"# Exit codes\n\n{intro}{_table(['exit', 'error', 'meaning'], rows)}\n"


def json_markdown() -> str:
    """Every published schema as a table."""
    intro = (
        "What verbs print with `--output json`. Each document names its schema and version under `schema`. "
        "Properties may be added to a version, none is taken away or changes its meaning. "
        "`fleetctl schema NAME` prints the JSON Schema."
    )
    parts = [f"## {name}\n\n{schema_markdown(name)}" for name in sorted(SCHEMAS)]
    return "# JSON\n\n" + "\n\n".join([intro, *parts]) + "\n"


def metrics_markdown() -> str:
    """Every metric that the controller writes."""
    told = [ASKED, COUNTS, INFO, *((metric.name, metric.help) for metric in METRICS)]
    rows = [[f"`{name}`", text] for name, text in told]
    intro = "Of `fleetctl status --output prometheus` and of the dashboard's `/metrics`; all are gauges."
    return f"# Metrics\n\n{intro}\n\n{_table(['metric', 'meaning'], rows)}\n"


def man_page(commands: Sequence[CommandDoc], version: str) -> str:
    """fleetctl(1) in troff's man macros."""
    lines = [
        f'.TH FLEETCTL 1 "" "fleetctl {version}" "User Commands"',
        ".SH NAME",
        "fleetctl \\- git says what each edge vision board runs, a board runs it once it has proved it",
        ".SH SYNOPSIS",
        ".B fleetctl",
        ".I VERB",
        "[OPTIONS]",
        ".SH VERBS",
    ]
    for command in commands:
        lines += [f".SS {_roff(command.usage)}", *_roff_paragraphs(command.help)]
        for each in [*command.arguments, *command.options]:
            names = ", ".join(_roff(name) for name in each.names)
            lines += [".TP", f".B {names} {_roff(each.takes)}".rstrip(), _roff(_meaning(each)) or "\\&"]
    lines.append(".SH EXIT STATUS")
    for code, _, meaning in exit_rows():
        lines += [".TP", f".B {code}", _roff(meaning)]
    return "\n".join(lines) + "\n"


def _roff_paragraphs(text: str) -> Iterator[str]:
    for part in _paragraphs(text).split("\n\n"):
        yield from (".PP", _roff(part))


def _roff(text: str) -> str:
    """Text that troff takes for text: no escapes, no requests, hyphens that can be searched for."""
    escaped = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-").replace("`", "")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def _first_sentence(doc: str | None) -> str:
    return " ".join((doc or "").strip().partition("\n\n")[0].split()).rstrip(".")

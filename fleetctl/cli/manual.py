"""`fleetctl manual`: the reference, made from this very program."""

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fleetctl.report.manual import CommandDoc, ParameterDoc


class Part(StrEnum):
    """A page of the reference."""

    MAN = "man"
    CLI = "cli"
    EXITS = "exit-codes"
    JSON = "json"
    METRICS = "metrics"


def manual(
    part: Annotated[Part, typer.Argument(metavar="[PART]", help="`man`, or a page in Markdown.")] = Part.MAN,
) -> None:
    """Print the man page, or a page of the reference.

    Parts are `man` (for `man -l -`), and in Markdown `cli`, `exit-codes`, `json` and `metrics`.
    """
    from fleetctl.report.console import emit_text

    emit_text(page(part))


def page(part: Part) -> str:
    """The text of one page."""
    from fleetctl import __version__
    from fleetctl.report import manual as written

    match part:
        case Part.MAN:
            return written.man_page(list(commands()), __version__)
        case Part.CLI:
            return written.cli_markdown(list(commands()))
        case Part.EXITS:
            return written.exits_markdown()
        case Part.JSON:
            return written.json_markdown()
        case Part.METRICS:
            return written.metrics_markdown()


def commands() -> "Iterator[CommandDoc]":
    """Every verb, and every verb below one, in the order of `--help`."""
    from fleetctl.cli import VERBS
    from fleetctl.cli.root import app

    group = typer.main.get_command(app)
    context = typer.Context(group)
    for verb in VERBS:
        yield from _described(verb, group.get_command(context, verb), context)  # type: ignore[attr-defined]


def _described(name: str, command: Any, context: Any) -> "Iterator[CommandDoc]":
    from fleetctl.report.manual import CommandDoc

    below = getattr(command, "commands", None)
    if below is not None:
        names = command.list_commands(context)
        for each in names:
            yield from _described(f"{name} {each}", command.get_command(context, each), context)
        return
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    yield CommandDoc(
        name,
        command.help or "",
        tuple(_parameter(p) for p in shown if p.param_type_name == "argument"),
        tuple(_parameter(p) for p in shown if p.param_type_name == "option"),
    )


def _parameter(parameter: Any) -> "ParameterDoc":
    from fleetctl.report.manual import ParameterDoc

    is_argument = parameter.param_type_name == "argument"
    names = (parameter.make_metavar(None),) if is_argument else (*parameter.opts, *parameter.secondary_opts)
    takes = "" if is_argument or getattr(parameter, "is_flag", False) else _takes(parameter)
    return ParameterDoc(
        tuple(names), takes, _default(parameter), parameter.help or "", _environment(parameter)
    )


def _takes(parameter: Any) -> str:
    choices = getattr(parameter.type, "choices", None)
    if choices:
        return ", ".join(str(getattr(choice, "value", choice)) for choice in choices)
    return str(parameter.metavar or parameter.type.name).upper()


def _default(parameter: Any) -> str:
    value = parameter.default
    if value in (None, "", False) or callable(value) or isinstance(value, list | tuple):
        return ""
    return str(getattr(value, "value", value))


def _environment(parameter: Any) -> str:
    name = parameter.envvar
    return name if isinstance(name, str) else ""

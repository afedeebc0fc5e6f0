"""Options that many verbs share, spelled once."""

import math
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fleetctl.cli import complete
from fleetctl.cli.hints import carry
from fleetctl.errors import UsageError
from fleetctl.project import DEFAULT_MANIFEST as DEFAULT_MANIFEST


class Output(StrEnum):
    """How results are written to standard output."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


class TransportKind(StrEnum):
    """Where a verb looks for boards: as the manifest says, on the virtual lab, or on no board at all."""

    MANIFEST = "manifest"
    LAB = "lab"
    FAKE = "fake"


def never_empty(
    left_out: str = "", *, or_else: str = ""
) -> Callable[[typer.Context, typer.CallbackParam, str], str]:
    """Refuses what is given and empty: a variable that was not set, and no wish for what `left_out` means.

    `or_else` is what to do about what cannot be left out.
    """
    hint = or_else or f"leave it out to mean {left_out}"

    def given(ctx: typer.Context, param: typer.CallbackParam, value: str) -> str:
        source = ctx.get_parameter_source(param.name or "")
        if not value.strip() and source is not None and source.name == "COMMANDLINE":
            name = param.opts[0] if param.param_type_name == "option" else param.make_metavar(ctx)
            raise UsageError(f"{name} is empty", hint=hint)
        return value

    return given


def finite(param: typer.CallbackParam, value: float | None) -> float | None:
    """The value of an option that is a number; `nan` lies in every range, for it compares with none.

    Raises:
        UsageError: it is not a number.
    """
    if value is not None and not math.isfinite(value):
        raise UsageError(
            f"{param.opts[0]} is {value}, which is no number", hint="give one, such as 0.5 or 60"
        )
    return value


def _file(ctx: typer.Context, value: Path) -> Path:
    if value != DEFAULT_MANIFEST:
        carry(ctx, "-f", str(value))
    return value


def _transport(ctx: typer.Context, param: typer.CallbackParam, value: TransportKind) -> TransportKind:
    source = ctx.get_parameter_source(param.name or "")
    if source is not None and source.name == "COMMANDLINE":  # the environment holds for the next command too
        carry(ctx, "--transport", value.value)
    return value


FileOption = Annotated[
    Path,
    typer.Option(
        "-f",
        "--file",
        callback=_file,
        readable=False,  # is for the manifest's reader to find out, which says so as of any other file of it
        help="The fleet manifest.",
        show_default=True,
    ),
]
OnOption = Annotated[
    str,
    typer.Option(
        "--on",
        help="Boards: names, globs, @groups, label=value, !not. Default: all.",
        autocompletion=complete.selections,
        callback=never_empty("every board"),
    ),
]
OutputOption = Annotated[Output, typer.Option("-o", "--output", help="Form of the result on stdout.")]
TransportOption = Annotated[
    TransportKind,
    typer.Option(
        "--transport",
        envvar="FLEETCTL_TRANSPORT",
        callback=_transport,
        help="Real boards, virtual ones, or simulated ones.",
    ),
]
FaultsOption = Annotated[
    Path | None, typer.Option("--faults", help="With --transport fake: a YAML file of what goes wrong.")
]
BackOption = Annotated[
    bool, typer.Option("--back", help="Go back to a commit from before the one that boards run.")
]
YesOption = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")]

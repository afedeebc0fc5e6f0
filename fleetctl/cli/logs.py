"""`fleetctl logs`: what a board's service wrote."""

from typing import Annotated

import typer

from fleetctl.cli import complete
from fleetctl.cli.options import (
    DEFAULT_MANIFEST,
    FaultsOption,
    FileOption,
    Output,
    OutputOption,
    TransportKind,
    TransportOption,
    never_empty,
)

BoardArgument = Annotated[
    str,
    typer.Argument(
        metavar="BOARD",
        callback=never_empty(or_else="say '*' to mean every board"),
        help="A board, or several as for --on.",
        autocompletion=complete.selections,
    ),
]
LinesOption = Annotated[
    int, typer.Option("-n", "--lines", min=1, max=10_000, help="Lines to show of each board.")
]


def logs(
    board: BoardArgument,
    file: FileOption = DEFAULT_MANIFEST,
    lines: LinesOption = 100,
    transport: TransportOption = TransportKind.MANIFEST,
    faults: FaultsOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Print the last lines of a board's service.

    Several boards' lines have the board's name in front. Exits 1 when a board did not answer.
    """
    from fleetctl.cli.session import READ_DEADLINE, open_session
    from fleetctl.report.console import emit_json, emit_text, on_one_line
    from fleetctl.report.replies import complain

    session = open_session(file, board, transport, faults)
    said: dict[str, list[str]] = {}
    for reply in session.transport.logs(session.boards, lines=lines, deadline=READ_DEADLINE):
        if not reply.ok:
            complain(reply)
            continue
        said[reply.board] = _texts(reply.data.get("lines"))[-lines:]
        if output is not Output.JSON:
            prefix = f"{reply.board} | " if len(session.boards) > 1 else ""
            for line in said[reply.board]:
                emit_text(f"{prefix}{on_one_line(line)}")
    if output is Output.JSON:
        emit_json("fleetctl.logs/v1", {"boards": said})
    if len(said) < len(session.boards):
        raise typer.Exit(1)


def _texts(lines: object) -> list[str]:
    return [line for line in lines if isinstance(line, str)] if isinstance(lines, list) else []

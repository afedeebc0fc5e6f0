"""`fleetctl status`: is every board doing what git says?"""

import typer

from fleetctl.cli.options import (
    DEFAULT_MANIFEST,
    FaultsOption,
    FileOption,
    OnOption,
    Output,
    OutputOption,
    TransportKind,
    TransportOption,
)


def status(
    file: FileOption = DEFAULT_MANIFEST,
    on: OnOption = "",
    transport: TransportOption = TransportKind.MANIFEST,
    faults: FaultsOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say whether each board does what git says, and how we know.

    Asks every selected board at once what its serving process has loaded. Exits 1 when something is off.
    """
    from fleetctl.cli.session import open_session
    from fleetctl.desired import desired_fleet
    from fleetctl.errors import BuildError, LockStale
    from fleetctl.report.console import emit_json, emit_text, talk
    from fleetctl.report.status import status_markdown, status_text
    from fleetctl.status import assess

    session = open_session(file, on, transport, faults)
    try:
        releases = desired_fleet(session.project, session.fleet, session.selection.boards).releases
        desired = {board: release.digest for board, release in releases.items()}
    except (LockStale, BuildError) as error:
        talk.warn(f"what git says is not known: {error.message}" + (f" ({error.hint})" if error.hint else ""))
        desired = {}
    observed = session.observe()
    statuses = [assess(board, desired.get(board.name), observed[board.name]) for board in session.boards]
    match output:
        case Output.JSON:
            emit_json("fleetctl.status/v1", {"boards": [status.to_json() for status in statuses]})
        case Output.MARKDOWN:
            emit_text(status_markdown(statuses))
        case Output.TABLE:
            emit_text(status_text(statuses))
    if not (desired and all(status.healthy for status in statuses)):
        raise typer.Exit(1)

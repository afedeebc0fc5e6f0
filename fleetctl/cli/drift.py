"""`fleetctl drift`: what boards are against what git says, difference by difference."""

import time
from functools import partial
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from fleetctl.cli.session import Session
    from fleetctl.drift import BoardDrift

DRIFT_SCHEMA = "fleetctl.drift/v1"


def drift(
    file: FileOption = DEFAULT_MANIFEST,
    on: OnOption = "",
    transport: TransportOption = TransportKind.MANIFEST,
    faults: FaultsOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say what differs between git, the files on boards, and what their processes have loaded.

    Each difference with its age and its author, where git or the board knows. Differences that the manifest
    leaves aside under `drift` do not count. Exits 1 when a board differs or could not be asked; the command
    that puts it right is said, never run.
    """
    import shutil

    from fleetctl.cli.session import open_session
    from fleetctl.report import github
    from fleetctl.report.console import emit_json, emit_text, talk
    from fleetctl.report.drift import drift_markdown, drift_text, healing

    session = open_session(file, on, transport, faults)
    found = _find(session)
    heal = healing(found)
    now = time.time()
    match output:
        case Output.JSON:
            emit_json(DRIFT_SCHEMA, {"boards": [each.to_json() for each in found], "heal": heal})
        case Output.MARKDOWN:
            emit_text(drift_markdown(found, now))
        case Output.TABLE:
            emit_text(drift_text(found, now, max(60, shutil.get_terminal_size((80, 24)).columns)))
    github.summarize(drift_markdown(found, now))
    github.set_outputs({"differs": not all(each.is_clean for each in found), "heal": heal or ""})
    if heal and output is not Output.JSON:
        talk.note(f"`{heal}` puts them right, board by board, each proved")
    if not all(each.is_clean for each in found):
        raise typer.Exit(1)


def _find(session: "Session") -> list["BoardDrift"]:
    """Every selected board held against git, in the order of the manifest."""
    from fleetctl.blame import move_since
    from fleetctl.desired import desired_fleet
    from fleetctl.drift import find_drift

    fleet, names = session.fleet, session.selection.boards
    desired = desired_fleet(session.project, fleet, names)
    observed = session.observe()
    today = time.strftime("%Y-%m-%d", time.gmtime())
    blame = partial(move_since, session.project)
    return [
        find_drift(
            fleet.boards[name],
            desired.releases[name],
            desired.configs[name],
            observed[name],
            policy=fleet.drift,
            today=today,
            blame=blame,
        )
        for name in names
    ]

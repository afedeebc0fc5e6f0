"""`fleetctl drift`: what boards are against what git says, difference by difference."""

import os
import time
from collections.abc import Mapping
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
    from fleetctl.desired import Desired
    from fleetctl.drift import BoardDrift
    from fleetctl.healing import Healing
    from fleetctl.observation import Observed
    from fleetctl.plan import Plan

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
    from fleetctl.report.drift import drift_markdown, drift_text, heal_notes, heal_text

    session = open_session(file, on, transport, faults)
    found, healing = _find(session, on)
    heal = heal_text(healing)
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
    if output is not Output.JSON:
        for note in heal_notes(healing):
            talk.note(note)
    if not all(each.is_clean for each in found):
        raise typer.Exit(1)


def _find(session: "Session", on: str) -> tuple[list["BoardDrift"], "Healing"]:
    """Every selected board held against git, in the order of the manifest; and what puts them right."""
    from fleetctl.blame import move_since
    from fleetctl.desired import desired_fleet
    from fleetctl.drift import drifting, find_drift
    from fleetctl.healing import Healing, healing

    fleet, names = session.fleet, session.selection.boards
    desired = desired_fleet(session.project, fleet, names)
    observed = session.observe()
    today = time.strftime("%Y-%m-%d", time.gmtime())
    blame = partial(move_since, session.project)
    found = [
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
    plan = _plan(session, desired, observed) if drifting(found) else None
    return found, healing(found, plan, on) if plan else Healing()


def _plan(session: "Session", desired: "Desired", observed: "Mapping[str, Observed]") -> "Plan | None":
    """What `rollout` would do by itself; None where nothing can be signed here, which is said."""
    from fleetctl.errors import SigningError
    from fleetctl.report.console import talk
    from fleetctl.signing.signing import open_signing

    try:
        signing = open_signing(session.project, session.fleet, os.environ)
    except SigningError as error:
        talk.warn(f"no rollout puts boards right before this is: {error.message}; {error.hint}")
        return None
    strangers = session.strangers(observed, desired.releases, adopt=False, back=False)
    return desired.plan(observed, signing, strangers)

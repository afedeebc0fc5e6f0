"""`fleetctl report`: the fleet today, or a rollout, as one file to send."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetctl.cli.options import (
    DEFAULT_MANIFEST,
    FaultsOption,
    FileOption,
    OnOption,
    TransportKind,
    TransportOption,
)

if TYPE_CHECKING:
    from fleetctl.project import Project
    from fleetctl.tale import Tale


def report(
    file: FileOption = DEFAULT_MANIFEST,
    on: OnOption = "",
    rollout: Annotated[
        bool, typer.Option("--rollout", help="Only the last rollout from here; asks no board.")
    ] = False,
    journal: Annotated[
        Path | None,
        typer.Option("--journal", metavar="FILE", help="Only the rollout that this journal tells of."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write one self-contained HTML file, too.")
    ] = None,
    transport: TransportOption = TransportKind.MANIFEST,
    faults: FaultsOption = None,
) -> None:
    """Summarize the fleet today, or a rollout, for a pull request or an email.

    Prints Markdown; --html writes one file that needs nothing else and asks nobody for anything. Exits 0
    whatever the boards are like: `fleetctl status` is for that.
    """
    from fleetctl.cli.named_file import place_of, write_named
    from fleetctl.manifest.loader import load
    from fleetctl.project import Project
    from fleetctl.report.console import emit_text, talk
    from fleetctl.report.status import status_markdown
    from fleetctl.report.tale import tale_markdown
    from fleetctl.report.web.report import report_html

    hint = "name a file for the HTML; the Markdown is printed"
    if html is not None:
        place_of(html, hint=hint)  # before any board is asked
    tale = _tale(Project(file), journal, needed=rollout or journal is not None)
    statuses = None
    if rollout or journal is not None:
        fleet = load(file)
    else:
        from fleetctl.cli.session import open_session
        from fleetctl.cli.status import ask_boards

        session = open_session(file, on, transport, faults)
        fleet, statuses = session.fleet, ask_boards(session)
    parts = [] if statuses is None else [f"### Fleet {fleet.name}", status_markdown(statuses)]
    parts += [tale_markdown(tale)] if tale else []
    emit_text("\n\n".join(parts))
    if html is not None:
        write_named(html, report_html(fleet, statuses, tale, time.time()), hint=hint)
        talk.done(f"{html} written")


def _tale(project: "Project", journal: Path | None, *, needed: bool) -> "Tale | None":
    """The tale of a journal, by default of the last one there is.

    Raises:
        UsageError: a rollout is asked for, and there is none.
    """
    from fleetctl.errors import UsageError
    from fleetctl.store import Journal
    from fleetctl.tale import newest_journal, tell

    hint = "journals lie in .fleetctl/journal/, one for each rollout"
    path = journal or newest_journal(project.state)
    if path is not None and path.is_file():
        tale = tell(Journal(path).read())
        if tale.fleet:
            return tale
        if needed:
            raise UsageError(f"{path} tells of no rollout", hint=hint)
        return None
    if needed:
        what = f"{path} is no file" if path else "no rollout was made from here"
        raise UsageError(what, hint=hint)
    return None

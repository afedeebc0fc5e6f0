"""`fleetctl status`: is every board doing what git says?"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
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
    finite,
)

if TYPE_CHECKING:
    from fleetctl.cli.session import Session
    from fleetctl.status import BoardStatus


_WITHOUT_TO = "without --to it is printed"


class StatusOutput(StrEnum):
    """How the status is written."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"
    PROMETHEUS = "prometheus"


def status(
    file: FileOption = DEFAULT_MANIFEST,
    on: OnOption = "",
    unfold: Annotated[bool, typer.Option("--all", help="A line for each healthy board, too.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Ask again and again, until Ctrl-C.")] = False,
    every: Annotated[
        float,
        typer.Option(
            "--every", min=1, max=86400, callback=finite, metavar="SECONDS", help="With --watch: how often."
        ),
    ] = 30.0,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Replace this file instead of printing.")
    ] = None,
    notify: Annotated[
        bool, typer.Option("--notify", help="Tell a webhook of boards that fell ill or recovered.")
    ] = False,
    transport: TransportOption = TransportKind.MANIFEST,
    faults: FaultsOption = None,
    output: Annotated[
        StatusOutput, typer.Option("-o", "--output", help="Form of the result on stdout.")
    ] = StatusOutput.TABLE,
) -> None:
    """Say whether each board does what git says, how we know, and since when.

    Asks every selected board at once what its serving process has loaded; trouble comes first, healthy boards
    fold into one line. With --watch, a terminal is redrawn, and a log gets a line for each board that
    changes. Exits 1 when something is off.
    """
    from fleetctl.cli.named_file import place_of
    from fleetctl.cli.session import open_session

    if to is not None:
        place_of(to, hint=_WITHOUT_TO)  # before any board is asked
    if notify:
        from fleetctl.cli.notify import demanded
        from fleetctl.project import Project

        demanded(Project(file))

    def opened() -> "Session":
        return open_session(file, on, transport, faults, to_look=True)

    def written(session: "Session", found: Sequence["BoardStatus"]) -> str:
        return _written(session, found, output, unfold)

    def told(session: "Session", found: Sequence["BoardStatus"]) -> None:
        if notify:
            from fleetctl.cli.notify import tell_of_boards

            tell_of_boards(session.project, session.fleet.name, found)

    if watch:
        plain = output is not StatusOutput.TABLE or to is not None
        found = _watch(opened, written, told, every, plain=plain, to=to)
    else:
        session = opened()
        found = _ask_on_screen(session, unfold) if output is StatusOutput.TABLE else ask_boards(session)
        _emit(written(session, found), to)
        told(session, found)
        _tell_github(found)
    if not all(board.healthy for board in found):
        raise typer.Exit(1)


def _tell_github(found: Sequence["BoardStatus"]) -> None:
    from fleetctl.report import github
    from fleetctl.report.status import status_markdown

    github.summarize(status_markdown(found))
    healthy = sum(board.healthy for board in found)
    github.set_outputs({"healthy": healthy, "boards": len(found), "all_healthy": healthy == len(found)})


def _ask_on_screen(session: "Session", unfold: bool) -> list["BoardStatus"]:
    """Ask every board; a terminal shows what is known so far."""
    from fleetctl.report.screen import Screen
    from fleetctl.report.status import status_text

    found: list[BoardStatus] = []
    with Screen() as screen:
        for each in _asking(session):
            found.append(each)
            screen.draw(
                lambda: (
                    f"{status_text(found, unfold=unfold)}\n{len(found)} of {len(session.boards)} asked so far"
                )
            )
    return _in_order(session, found)


def ask_boards(session: "Session") -> list["BoardStatus"]:
    """Every selected board held against git, in the order of the manifest."""
    return _in_order(session, _asking(session))


def _asking(session: "Session") -> Iterator["BoardStatus"]:
    """Each selected board held against git, in the order in which they answer."""
    from fleetctl.cli.session import READ_DEADLINE
    from fleetctl.commits import Commits
    from fleetctl.manifest.schema import Signing
    from fleetctl.observing import observing
    from fleetctl.origins import complaints, stranger
    from fleetctl.revision import working_commit
    from fleetctl.signing.trusted_keys import trusted_keys
    from fleetctl.status import assess

    desired = _desired(session)
    complaint = complaints(Commits(session.project), working_commit(session.project))
    keys = None
    if session.fleet.rollout.signing is Signing.REQUIRED:
        keys = {key.fingerprint for key in trusted_keys(session.project.trust).values()}
    for seen in observing(session.transport, session.boards, deadline=READ_DEADLINE):
        board, release = session.fleet.boards[seen.board], desired.get(seen.board)
        unknown = stranger(seen, release, complaint)
        yield assess(board, release, seen, keys=keys, stranger=unknown)


def _in_order(session: "Session", found: Iterable["BoardStatus"]) -> list["BoardStatus"]:
    order = {name: index for index, name in enumerate(session.selection.boards)}
    return sorted(found, key=lambda status: order[status.board])


def _desired(session: "Session") -> Mapping[str, str]:
    """The release that git says each board should run; empty, after a warning, where git does not say."""
    from fleetctl.desired import desired_fleet
    from fleetctl.errors import BuildError, LockStale
    from fleetctl.report.console import talk

    try:
        boards = session.selection.boards
        releases = desired_fleet(session.project, session.fleet, boards, to_look=True).releases
    except (LockStale, BuildError) as error:
        talk.warn(f"what git says is not known: {error.message}" + (f" ({error.hint})" if error.hint else ""))
        return {}
    return {board: release.digest for board, release in releases.items()}


def _written(session: "Session", found: Sequence["BoardStatus"], output: StatusOutput, unfold: bool) -> str:
    from fleetctl.report.console import json_text, talk
    from fleetctl.report.github import defused_json
    from fleetctl.report.prometheus import prometheus_text
    from fleetctl.report.status import status_markdown, status_text

    match output:
        case StatusOutput.JSON:
            text = json_text("fleetctl.status/v1", {"boards": [board.to_json() for board in found]})
            return defused_json(text)
        case StatusOutput.MARKDOWN:
            return status_markdown(found, unfold=unfold)
        case StatusOutput.PROMETHEUS:
            return prometheus_text(found, session.fleet.boards, time.time())
        case StatusOutput.TABLE:
            return talk.spelled(status_text(found, unfold=unfold))


def _emit(text: str, to: Path | None) -> None:
    from fleetctl.cli.named_file import write_named
    from fleetctl.report.screen import print_coloured

    if to is None:
        print_coloured(text.rstrip("\n"))
    else:
        write_named(to, text.rstrip("\n") + "\n", hint=_WITHOUT_TO)


def _watch(
    opened: Callable[[], "Session"],
    written: Callable[["Session", Sequence["BoardStatus"]], str],
    told: Callable[["Session", Sequence["BoardStatus"]], None],
    every: float,
    *,
    plain: bool,
    to: Path | None,
) -> list["BoardStatus"]:
    """Ask until Ctrl-C; returns what was seen last. Before anything was, it ends as any verb does."""
    from fleetctl.report.watching import watch_for

    rounds = _rounds(opened, every)
    session, found = next(rounds)
    with suppress(KeyboardInterrupt), watch_for(every) as watch:
        while True:
            if plain:
                _emit(written(session, found), to)
            else:
                watch.show(found, written(session, found))
            told(session, found)
            session, found = next(rounds)
    return found


def _rounds(opened: Callable[[], "Session"], every: float) -> Iterator[tuple["Session", list["BoardStatus"]]]:
    """What boards say, round by round; the errors of the first are raised.

    Git is read anew each time. It may be in the middle of an edit: then what it said before holds. What leads
    to boards may be away for a while: then a round is left out. Either is said when it begins, not each time.
    """
    from fleetctl.errors import FleetError
    from fleetctl.report.console import talk

    session = opened()
    yield session, ask_boards(session)
    known: set[str] = set()
    while True:
        time.sleep(every)
        wrong: set[str] = set()
        found = None
        try:
            session = opened()
        except FleetError as error:
            wrong.add(f"{error.in_short}; watching what git said before")
        try:
            found = ask_boards(session)
        except FleetError as error:
            wrong.add(f"{error.in_short}; boards are asked again every {every:g} s")
        for each in sorted(wrong - known):
            talk.warn(each)
        known = wrong
        if found is not None:
            yield session, found

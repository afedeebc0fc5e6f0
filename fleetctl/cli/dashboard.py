"""`fleetctl dashboard`: the fleet as a page that moves."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec.structs import replace

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
    from fleetctl.dashboard.actions import Desk
    from fleetctl.dashboard.snapshot import Source
    from fleetctl.steering import Word


def dashboard(
    file: FileOption = DEFAULT_MANIFEST,
    on: OnOption = "",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="On loopback; 0 takes a free one.")
    ] = 8640,
    every: Annotated[
        float,
        typer.Option(
            "--every",
            min=1,
            max=86400,
            callback=finite,
            metavar="SECONDS",
            help="How often boards are asked.",
        ),
    ] = 30.0,
    allow_actions: Annotated[
        bool,
        typer.Option("--allow-actions", help="Whoever has the address that is shown may change boards."),
    ] = False,
    transport: TransportOption = TransportKind.MANIFEST,
    faults: FaultsOption = None,
) -> None:
    """Serve a page of the fleet on this machine, which moves with boards and rollouts.

    Listens on loopback alone and changes nothing. Boards are asked every 30 seconds; a rollout that is made
    from the same folder shows as it goes. Ctrl-C ends it.

    With --allow-actions the page also pauses, resumes, aborts and rolls back, for whoever has the token in
    the address that is shown. Where standard error is no terminal, that address is kept in a file instead.
    """
    from fleetctl.cli.session import open_session
    from fleetctl.dashboard.snapshot import Source, Watch
    from fleetctl.errors import ToolchainMissing
    from fleetctl.project import Project
    from fleetctl.report.console import talk

    def source() -> Source:
        return source_of(open_session(file, on, transport, faults))

    try:
        from fleetctl.dashboard.actions import Desk, new_token
        from fleetctl.dashboard.server import Server, listen

        watch = Watch(source, every)
        token = new_token() if allow_actions else ""
        acts = PageActs(lambda: open_session(file, on, transport, faults))
        desk = Desk(watch, acts, token) if token else None
        server = Server(watch, desk)
    except ImportError as error:
        raise ToolchainMissing(
            f"the dashboard needs {error.name}, which is not installed",
            hint="pip install 'fleetctl[dashboard]'",
        ) from error
    listener = listen(port)
    bound = listener.getsockname()[1]
    address, kept = f"http://127.0.0.1:{bound}/", Project(file).state / f"dashboard-{bound}.url"
    try:
        talk.step(f"{_shown(address, token, kept)} shows the fleet; Ctrl-C ends")
        watch.start()
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        pass  # uvicorn passes on what ended it
    finally:
        watch.stop()
        if desk:
            kept.unlink(missing_ok=True)
            _end(desk)


def _end(desk: "Desk") -> None:
    """Boards that are on their way back are not left there."""
    from fleetctl.report.console import talk

    if desk.is_at_work:
        talk.step("what the page asked for is under way; this ends after it")
    desk.close()


def _shown(address: str, token: str, kept: Path) -> str:
    """What to say of the address: with the token for a person at a terminal, never into a log."""
    from fleetctl.store import atomic_write

    if not token:
        return address
    whole = f"{address}#token={token}"
    if sys.stderr.isatty():
        return whole
    atomic_write(kept, f"{whole}\n", mode=0o600)
    return f"{address} (to act: the address in {kept})"


class PageActs:
    """The verbs for the page: what `fleetctl pause`, `resume`, `abort` and `rollback` run."""

    def __init__(self, open_session: "Callable[[], Session]") -> None:
        self._open = open_session

    def steer(self, word: "Word", rollout: str) -> None:
        from fleetctl.cli.steer import say

        say(self._open().project.state, word, "page", rollout)

    def roll_back(self, boards: Sequence[str]) -> Mapping[str, bool]:
        from fleetctl.cli.rollback import roll_back
        from fleetctl.selector import Selection

        session = self._open()
        chosen = Selection(tuple(boards), session.selection.total)
        results = roll_back(replace(session, selection=chosen), "", "page")
        return {result["board"]: result["rolled_back"] for result in results}


def source_of(session: "Session") -> "Source":
    """What the dashboard asks: the boards of a session, judged as `fleetctl status` judges them."""
    from fleetctl.cli.status import ask_boards
    from fleetctl.dashboard.snapshot import Source

    boards = session.selection.boards
    return Source(session.project, session.fleet, boards, session.transport, lambda: ask_boards(session))

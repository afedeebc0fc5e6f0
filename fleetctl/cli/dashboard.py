"""`fleetctl dashboard`: the fleet as a page that moves."""

import socket
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
    from fleetctl.cli.session import Session
    from fleetctl.dashboard.snapshot import Source


def dashboard(
    file: FileOption = DEFAULT_MANIFEST,
    on: OnOption = "",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="On loopback; 0 takes a free one.")
    ] = 8640,
    every: Annotated[
        float,
        typer.Option("--every", min=1, max=86400, metavar="SECONDS", help="How often boards are asked."),
    ] = 30.0,
    transport: TransportOption = TransportKind.MANIFEST,
    faults: FaultsOption = None,
) -> None:
    """Serve a page of the fleet on this machine, which moves with boards and rollouts.

    Listens on loopback alone and changes nothing. Boards are asked every 30 seconds; a rollout that is made
    from the same folder shows as it goes. Ctrl-C ends it.
    """
    from fleetctl.cli.session import open_session
    from fleetctl.dashboard.snapshot import Source, Watch
    from fleetctl.errors import ToolchainMissing
    from fleetctl.report.console import talk

    def source() -> Source:
        return source_of(open_session(file, on, transport, faults))

    try:
        import uvicorn

        from fleetctl.dashboard.app import make_app

        watch = Watch(source, every)
        app = make_app(watch)
    except ImportError as error:
        raise ToolchainMissing(
            f"the dashboard needs {error.name}, which is not installed",
            hint="pip install 'fleetctl[dashboard]'",
        ) from error
    listener = listen(port)
    talk.step(f"http://127.0.0.1:{listener.getsockname()[1]}/ shows the fleet; Ctrl-C ends")
    watch.start()
    try:
        settings = uvicorn.Config(
            app, log_level="error", access_log=False, timeout_graceful_shutdown=1, lifespan="off"
        )
        uvicorn.Server(settings).run(sockets=[listener])
    except KeyboardInterrupt:
        pass  # uvicorn passes on what ended it
    finally:
        watch.stop()


def source_of(session: "Session") -> "Source":
    """What the dashboard asks: the boards of a session, judged as `fleetctl status` judges them."""
    from fleetctl.cli.status import ask_boards
    from fleetctl.dashboard.snapshot import Source

    boards = session.selection.boards
    return Source(session.project, session.fleet, boards, session.transport, lambda: ask_boards(session))


def listen(port: int) -> socket.socket:
    """A socket that listens on loopback.

    Raises:
        UsageError: the port is taken.
    """
    from fleetctl.errors import UsageError

    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen()  # before the address is said: whoever is quick waits instead of being refused
    except OSError as error:
        listener.close()
        raise UsageError(
            f"port {port} cannot be used: {error.strerror}", hint="choose another with --port, or 0"
        ) from error
    return listener

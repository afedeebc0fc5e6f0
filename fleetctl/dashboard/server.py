"""Where the dashboard listens, and how it ends: at once for who looks, after the work of who acts."""

import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import uvicorn

from fleetctl.dashboard.actions import Desk
from fleetctl.dashboard.app import make_app
from fleetctl.dashboard.snapshot import Watch
from fleetctl.errors import UsageError

if TYPE_CHECKING:
    from starlette.applications import Starlette


def listen(port: int) -> socket.socket:
    """A socket that listens on loopback.

    Raises:
        UsageError: the port is taken.
    """
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


class Server(uvicorn.Server):
    """Serves the dashboard of `watch`; both are run by whoever made them."""

    def __init__(self, watch: Watch, desk: Desk | None = None) -> None:
        super().__init__(_settings(make_app(watch, desk, lambda: self.should_exit)))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's, and that of a terminal which is closed: it ends what is served as Ctrl-C does."""
        with super().capture_signals():
            before = signal.getsignal(signal.SIGHUP)
            if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
                yield
                return
            signal.signal(signal.SIGHUP, self.handle_exit)
            try:
                yield
            finally:
                signal.signal(signal.SIGHUP, before)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        logging.getLogger("uvicorn.error").setLevel(
            logging.CRITICAL
        )  # that it cuts off a slow reader is no error
        await super().shutdown(sockets)


def _settings(app: "Starlette") -> uvicorn.Config:
    return uvicorn.Config(
        app, log_level="error", access_log=False, timeout_graceful_shutdown=1, lifespan="off"
    )

"""A dashboard that answers on loopback, for tests to look at."""

import contextlib
import http.client
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import uvicorn

from fleetctl.cli.dashboard import listen
from fleetctl.dashboard.actions import Desk
from fleetctl.dashboard.app import make_app
from fleetctl.dashboard.snapshot import Watch


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass(frozen=True)
class Served:
    """A dashboard by its port."""

    port: int

    def get(self, address: str, host: str = "", method: str = "GET", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, address, headers=named | ({"Host": host} if host else {}))
            reply = connection.getresponse()
            said = {name.lower(): value for name, value in reply.getheaders()}
            return Answer(reply.status, said, reply.read())
        finally:
            connection.close()

    def post(self, address: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Exactly these headers, beside what HTTP itself needs."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", address, body, dict(headers))
            reply = connection.getresponse()
            named = {name.lower(): value for name, value in reply.getheaders()}
            return Answer(reply.status, named, reply.read())
        finally:
            connection.close()

    def first_event(self) -> str:
        """What the stream of changes says first."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", "/events")
            reply = connection.getresponse()
            return "".join(reply.readline().decode() for _ in range(3))
        finally:
            connection.close()


@contextlib.contextmanager
def serving(watch: Watch, desk: Desk | None = None) -> Iterator[Served]:
    """The dashboard of `watch`, whose threads are left to the test."""
    listener = listen(0)
    server = uvicorn.Server(
        uvicorn.Config(make_app(watch, desk), log_level="error", lifespan="off", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield Served(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()

"""A dashboard that answers on loopback, for tests to look at."""

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import hangup

from fleetctl.dashboard.actions import Desk
from fleetctl.dashboard.server import Server, listen
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
    server = Server(watch, desk)
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


@contextlib.contextmanager
def dashboard(folder: Path, *words: str, end: signal.Signals = signal.SIGINT) -> Iterator[str]:
    """Where `fleetctl dashboard` says that it listens, over simulated boards; it ends well on `end`."""
    program = [*hangup.NOTICED, sys.executable, "-m", "fleetctl", "dashboard"]
    with subprocess.Popen(
        [*program, "--port", "0", "--every", "1", *words],
        cwd=folder,
        env={**os.environ, "FLEETCTL_TRANSPORT": "fake", "NO_COLOR": "1"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stderr.readline())
        assert found
        try:
            yield found[0]
            process.send_signal(end)
            status, said = process.wait(60), process.stderr.read()
        finally:
            process.kill()  # else a test that failed would wait for it
        assert (0 if end is signal.SIGINT else 128 + end) == status, said
        unexpected = [line for line in said.splitlines() if not line.startswith(("✓", "✗"))]
        assert not unexpected, said

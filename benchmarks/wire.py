"""What a release costs on the wire: every byte of a connection, both ways, counted before a board.

Held against `ssh true` with the same options through the same proxy, because no connection costs less: what a
release adds to that is its own. The board is one of the process lab.
"""

import contextlib
import shlex
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from contract_worlds import LabWorld, Releases, by_board

from benchmarks.harness import Result
from fleetctl.desired import holding_of
from fleetctl.lab import control
from fleetctl.manifest.schema import Board
from fleetctl.rollout import observe
from fleetctl.store import BlobStore
from fleetctl.transports.ansible import AnsibleTransport
from fleetctl.transports.ansible_inventory import host_key_options
from fleetctl.transports.base import Order
from fleetctl.transports.ssh import SshReader

CONFIG_GOAL = 4 << 10


def measure() -> Iterator[Result]:
    with tempfile.TemporaryDirectory(prefix="fleetctl-bench-") as folder, contextlib.ExitStack() as stack:
        world = LabWorld(Path(folder))
        stack.callback(control.down, world.files, keep=False)
        (board,) = world.boards(1)
        counter = stack.enter_context(counting(board.port))
        known = Path(folder) / "known_hosts"
        text = world.files.known_hosts.read_text()
        known.write_text(text.replace(f":{board.port} ", f":{counter.port} "))
        line = Line(replace(board, port=counter.port), known, world.files.identity, counter)
        yield from _measured(line, Releases(BlobStore(Path(folder) / "store")))


def _measured(line: "Line", releases: Releases) -> Iterator[Result]:
    bare = line.nothing()
    yield Result("`ssh true`", bare, "bytes")
    yield _over("looking at a board", line.look(), bare)
    first = line.release(releases.order(line.board))
    yield _over("the first release", first, bare)
    config = line.release(releases.order(line.board, threshold=0.6))
    yield _over("another threshold", config, bare, CONFIG_GOAL)
    yield _over("a threshold that it had before", line.release(releases.order(line.board)), bare)


def _over(name: str, count: int, bare: int, goal: float | None = None) -> Result:
    return Result(f"{name}, over `ssh true`", count - bare, "bytes", goal=goal)


@dataclass
class Counter:
    """A port that leads to a board, and the bytes that went through it."""

    port: int
    count: int = 0

    def taken(self) -> int:
        count, self.count = self.count, 0
        return count


@contextlib.contextmanager
def counting(port: int) -> Iterator[Counter]:
    """A proxy on loopback before another port there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        counter = Counter(server.getsockname()[1])
        threading.Thread(target=_accept, args=(server, port, counter), daemon=True).start()
        yield counter


def _accept(server: socket.socket, port: int, counter: Counter) -> None:
    with contextlib.suppress(OSError):  # the server is closed when all is counted
        while True:
            client, _ = server.accept()
            board = socket.create_connection(("127.0.0.1", port))
            for source, target in ((client, board), (board, client)):
                threading.Thread(target=_pass_on, args=(source, target, counter), daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket, counter: Counter) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            counter.count += len(data)
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@dataclass
class Line:
    """A board behind a counter, and the ways to reach it; each returns the bytes that it took."""

    board: Board
    known_hosts: Path
    identity: Path
    counter: Counter

    @property
    def transport(self) -> AnsibleTransport:
        return AnsibleTransport(SshReader(self.known_hosts, self.identity), self.known_hosts, self.identity)

    def nothing(self) -> int:
        argv = ["ssh", "-F", "/dev/null", *host_key_options(self.known_hosts), "-o", "IdentitiesOnly=yes"]
        argv += ["-i", str(self.identity), "-p", str(self.board.port), f"{self.board.user}@{self.board.host}"]
        subprocess.run([*argv, shlex.join(["true"])], check=True, capture_output=True)
        return self.counter.taken()

    def look(self) -> int:
        observe(self.transport, [self.board], deadline=60.0)
        return self.counter.taken()

    def release(self, order: Order) -> int:
        """What a rollout sends after it has looked at the board."""
        seen = observe(self.transport, [self.board], deadline=60.0)[self.board.name]
        self.counter.taken()
        told = replace(order, holding=holding_of(seen))
        (reply,) = by_board(self.transport.release([told])).values()
        if reply.data.get("state") != "confirmed":
            raise RuntimeError(reply.error or str(reply.data))
        return self.counter.taken()

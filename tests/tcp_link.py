"""A line to a board that counts what goes through it, and may be slow, lossy, or break.

Every port of loopback is as fast as memory; a link before one is what a board at the end of a field has.
"""

import contextlib
import queue
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

PACKET = 1448  # bytes that one packet of Ethernet carries over TCP
_AT_ONCE = struct.pack(
    "ii", 1, 0
)  # of SO_LINGER: nothing more is sent, and the other side sees a broken line


@dataclass(frozen=True)
class Weather:
    """What a line does to packets, each way. The loss of one holds up those behind it for a round trip, which
    is how long TCP takes to notice and send it again."""

    bits_per_second: float
    round_trip: float  # seconds
    loss: float = 0.0  # share of packets


@dataclass
class Link:
    """A port that leads to another one."""

    port: int
    weather: Weather | None = None
    count: int = 0  # bytes that went through, both ways
    _left: float = float("inf")  # bytes towards the board until it breaks
    _until: Callable[[], bool] = lambda: True
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _connections: list[tuple[socket.socket, socket.socket]] = field(default_factory=list)
    _is_over: bool = False

    def taken(self) -> int:
        """The bytes since it was asked last."""
        count, self.count = self.count, 0
        return count

    def break_after(self, count: int, until: Callable[[], bool] = lambda: True) -> None:
        """Let no more bytes than that go towards the board; then break, once `until` is true."""
        with self._lock:
            self._left, self._until = count, until

    def passes(self, count: int, *, is_towards: bool) -> bool:
        """Count what is about to pass; false where the line broke instead."""
        with self._lock:
            self._left -= count if is_towards else 0
            if self._left > 0:
                self.count += count
                return True
        while not self._until():
            time.sleep(0.01)
        with self._lock:
            self._left = float("inf")
            connections, self._connections = self._connections, []
        for ends in connections:
            _cut(*ends)
        return False

    def joined(self, client: socket.socket, board: socket.socket) -> None:
        with self._lock:
            if not self._is_over:
                self._connections.append((client, board))
                return
        _cut(client, board)

    def close(self) -> None:
        """Cut what is still connected; whoever comes later is cut at once."""
        with self._lock:
            self._is_over = True
            connections, self._connections = self._connections, []
        for ends in connections:
            _cut(*ends)


@contextlib.contextmanager
def link_to(port: int, weather: Weather | None = None) -> Iterator[Link]:
    """A link before a port of loopback, as long as it is needed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        link = Link(server.getsockname()[1], weather)
        threading.Thread(target=_accept, args=(server, port, link), daemon=True).start()
        try:
            yield link
        finally:
            link.close()


def _accept(server: socket.socket, port: int, link: Link) -> None:
    with contextlib.suppress(OSError):  # the server is closed when all is done
        while True:
            client, _ = server.accept()
            try:
                board = socket.create_connection(("127.0.0.1", port))
            except OSError:
                client.close()
                raise
            link.joined(client, board)
            for source, target, is_towards in ((client, board, True), (board, client, False)):
                pump = _pump if link.weather is None else _pump_slowly
                threading.Thread(target=pump, args=(source, target, link, is_towards), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket, link: Link, is_towards: bool) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            if not link.passes(len(data), is_towards=is_towards):
                return
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def _pump_slowly(source: socket.socket, target: socket.socket, link: Link, is_towards: bool) -> None:
    """Packet by packet: each waits for those before it, then for its own bits, then for the way."""
    assert link.weather
    source.setsockopt(
        socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 15
    )  # what is not sent yet waits at the sender
    weather, chance = link.weather, random.Random(0)
    under_way: queue.Queue[tuple[float, bytes]] = queue.Queue()
    threading.Thread(target=_arrive, args=(under_way, target), daemon=True).start()
    is_free = arrived = 0.0
    with contextlib.suppress(OSError):
        while data := source.recv(PACKET):
            if not link.passes(len(data), is_towards=is_towards):
                return
            is_free = max(is_free, time.monotonic()) + len(data) * 8 / weather.bits_per_second
            held_up = weather.round_trip if chance.random() < weather.loss else 0.0
            arrived = max(arrived, is_free + weather.round_trip / 2 + held_up)
            under_way.put((arrived, data))
            time.sleep(max(0.0, is_free - time.monotonic()))
    under_way.put((arrived, b""))


def _arrive(under_way: "queue.Queue[tuple[float, bytes]]", target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            when, data = under_way.get()
            time.sleep(max(0.0, when - time.monotonic()))
            if not data:
                target.shutdown(socket.SHUT_WR)
                return
            target.sendall(data)


def _cut(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            end.shutdown(socket.SHUT_RDWR)  # wakes whoever reads it
        end.close()

"""The line that benchmarks and tests put before a board: what goes in comes out, late or not at all."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from tcp_link import Link, Weather, link_to

SENT = bytes(range(256)) * 200


@pytest.fixture
def echo() -> Iterator[int]:
    """A port that says back what it is told, once it was told all."""

    def serve() -> None:
        connection, _ = server.accept()
        with connection, contextlib.suppress(ConnectionError):
            told = b"".join(iter(lambda: connection.recv(1 << 16), b""))
            connection.sendall(told)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join(timeout=300)


def said_through(link: Link) -> bytes:
    with socket.create_connection(("127.0.0.1", link.port), timeout=300) as line:
        line.sendall(SENT)
        line.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: line.recv(1 << 16), b""))


def test_every_byte_is_counted_both_ways(echo: int) -> None:
    """Asked once, the count begins anew."""
    with link_to(echo) as link:
        assert said_through(link) == SENT
        assert (link.taken(), link.taken()) == (2 * len(SENT), 0)


def test_a_slow_line_takes_its_time_and_loses_nothing(echo: int) -> None:
    """The bits, and the way there and back; packets that are lost come late, and in their order."""
    weather = Weather(bits_per_second=4e6, round_trip=0.05, loss=0.2)
    with link_to(echo, weather) as link:
        begun = time.monotonic()
        assert said_through(link) == SENT
        assert time.monotonic() - begun >= 2 * len(SENT) * 8 / 4e6 + 0.05


def test_a_line_breaks_once(echo: int) -> None:
    """No more goes towards the board than was let through, and both ends see that nothing more comes."""
    with link_to(echo) as link:
        link.break_after(20_000)
        with contextlib.suppress(OSError):
            assert said_through(link) == b""
        assert link.taken() < 20_000

"""What one caller, or many at once, may take of the service: time, connections, memory, lines of its log."""

import contextlib
import http.client
import json
import platform
import re
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import Served, lay_out, start_and_wait, stop
from tiny_board import LABELS, as_npy, free_port, picture, tiny_release

from fleetctl.device.incoming import CONNECTIONS, Callers, Incoming, NoRoom, Room

LARGE = 16 << 20


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    port = free_port()
    release = tiny_release(port)
    service = start_and_wait(lay_out(tmp_path, release), release, port)
    yield service
    if service.process.poll() is None:
        stop(service)


def connected(served: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.port), timeout=30)


def head(length: int, *more: str) -> bytes:
    lines = ("POST /predict HTTP/1.1", "Host: x", f"Content-Length: {length}", *more)
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def reply(connection: socket.socket) -> tuple[int, dict[str, str]]:
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, json.loads(answer.read())


def status_of(served: Served, key: str) -> int:
    lines = Path(f"/proc/{served.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


@contextlib.contextmanager
def crowd(served: Served, count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(count):
            connections.append(stack.enter_context(connected(served)))
            with contextlib.suppress(OSError):  # refused
                connections[-1].sendall(sent)
        yield connections


def test_large_bodies_wait_for_each_other(served: Served) -> None:
    """Forty callers that are each a byte short take the memory of two, and others are told to come again."""
    if not Path("/proc/self/status").exists():
        pytest.skip("the kernel's record of a process's memory is Linux's")
    before = status_of(served, "VmHWM")
    with crowd(served, 2, head(LARGE) + bytes(LARGE - 1)), crowd(served, 38, head(LARGE)) as others:
        assert served.http("GET", "/healthz")[0] == 200
        assert served.http("POST", "/predict", as_npy(picture(1)))[1]["label"] == LABELS[1]
        assert status_of(served, "Threads") < 60
        status, said = reply(others[0])

    assert (status, "it has to be sent again" in said["error"]) == (503, True)
    assert status_of(served, "VmHWM") - before < 48 << 10


def test_who_is_refused_while_sending_reads_why(served: Served) -> None:
    """A reply that comes in the midst of a body is not lost with the connection."""
    sent = head(LARGE + 1) + bytes(LARGE + 1)
    with connected(served) as connection:
        connection.sendall(sent)

        assert reply(connection)[0] == 413


def test_a_body_has_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then does not prolong it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(7)
        incoming = Incoming(ours)
        incoming.allow(5)
        theirs.sendall(b"abc")
        assert incoming.read(1) == b"a"
        now = time.monotonic()
        monkeypatch.setattr("time.monotonic", lambda: now + 6)
        with pytest.raises(socket.timeout):
            incoming.read(1)
        assert ours.gettimeout() == 7


def test_silent_connections_make_room(served: Served) -> None:
    """Connections that only stay open keep nobody from asking, and are no threads without end."""
    with crowd(served, CONNECTIONS + 10, b"") as silent:
        time.sleep(1.2)
        for _ in range(3):
            assert served.http("GET", "/healthz")[0] == 200
        last = reply(silent[-1])

    assert last == (503, {"error": "too many connections are open"})


def test_the_one_that_waited_longest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never one that is at work, nor one that came just now."""
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    callers = Callers(most=3)
    with contextlib.ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(4)]
        busy, early, late, new = (stack.enter_context(ours) for ours, _ in pairs)
        for _, theirs in pairs:
            stack.enter_context(theirs)
        assert all(map(callers.admit, (busy, early, late)))
        callers.is_at_work(busy)
        assert not callers.admit(new)
        now += 2
        callers.is_idle(late)
        assert callers.admit(new)
        assert early.recv(1) == b""
        assert not callers.admit(early)
        callers.has_left(busy)
        assert callers.admit(busy)


def test_room_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pictures need none; a large one waits, and is refused; all of it is there again afterwards."""
    monkeypatch.setattr("fleetctl.device.incoming.PATIENCE_S", 0.01)
    room = Room(1 << 20, pictures=3, large_pictures=2)
    for _ in range(2):
        with room.taken(1 << 20), room.taken(1000):
            with pytest.raises(NoRoom, match="large pictures"), room.taken(1 << 17):
                pass
            with room.taken(5), pytest.raises(NoRoom, match="too many pictures"), room.taken(5):
                pass
        with room.taken(1 << 17), room.taken(1 << 17):
            with pytest.raises(NoRoom, match="too many pictures"), room.taken(1 << 17):
                pass
            with room.taken(5):
                pass


@pytest.mark.parametrize("length", [256, LARGE + 1])
def test_a_body_is_asked_for_where_it_is_wanted(served: Served, length: int) -> None:
    """`Expect: 100-continue` is answered at once: with 100, or with the reason why not."""
    body = as_npy(picture(2))
    with connected(served) as connection:
        connection.settimeout(2)
        connection.sendall(head(len(body) if length == 256 else length, "Expect: 100-continue"))
        if length > LARGE:
            assert reply(connection)[0] == 413
        else:
            assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(body)
            assert reply(connection)[1]["label"] == LABELS[2]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_is_never_the_next_request(served: Served, method: str, chunked: bool) -> None:
    """A GET that brings a body has its answer, and nothing of that body is answered."""
    inner = head(272) + as_npy(picture(1))
    sized = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(inner)}"
    said = served.raw(f"{method} /healthz HTTP/1.1\r\nHost: x\r\n{sized}\r\n\r\n".encode() + inner)

    assert said.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close" in said


def test_an_empty_body_keeps_the_connection(served: Served) -> None:
    """As the probe asks: one connection for everything."""
    asked = b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"

    assert served.raw(asked * 3).count(b"HTTP/1.1 200") == 3


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"PUT /predict HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /healthz HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET /healthz HTTP/7.0\r\n\r\n", 505),
        (head(5).replace(b"5", b"\xb2") + b"hello", 400),
        (head(5, "Content-Length: 6") + b"hello", 400),
    ],
    ids=lambda value: str(value)[:30],
)
def test_every_error_is_json(served: Served, sent: bytes, status: int) -> None:
    """Those of http.server too."""
    first, _, rest = served.raw(sent).partition(b"\r\n")

    assert first.split()[1] == b"%d" % status
    assert b"Content-Type: application/json" in rest
    assert json.loads(rest.partition(b"\r\n\r\n")[2])["error"]


@pytest.mark.parametrize(("path", "status"), [("/healthz", 200), ("/predict", 405), ("/other", 404)])
def test_head_is_get_without_a_body(served: Served, path: str, status: int) -> None:
    """HEAD has the status and the length of what GET would say."""
    said = served.raw(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    assert said.startswith(b"HTTP/1.1 %d " % status)
    assert said.endswith(b"\r\n\r\n")
    assert b"Content-Length: 0" not in said


def impatient(folder: Path) -> Served:
    """A service that waits for a fraction of the time."""
    port = free_port()
    release = tiny_release(port)
    lay_out(folder, release)
    path = folder / "runtime" / "http_server.py"
    path.write_text(re.sub(r"^(REQUEST_S|BODY_S) = ", r"\1 = 0.5  # ", path.read_text(), flags=re.MULTILINE))
    return start_and_wait(folder, release, port)


@pytest.mark.parametrize(
    ("first", "status"), [(b"GET /healthz HTTP/1.1\r\n", b""), (head(50), b"HTTP/1.1 400")]
)
def test_a_byte_now_and_then_is_not_enough(tmp_path: Path, first: bytes, status: bytes) -> None:
    """Neither the head of a request nor its body may take its time."""
    served = impatient(tmp_path)
    begun = time.monotonic()
    with connected(served) as connection:
        connection.sendall(first)
        connection.settimeout(0.2)
        said = None
        while said is None and time.monotonic() < begun + 10:
            connection.sendall(b"a")
            with contextlib.suppress(socket.timeout):
                said = connection.recv(1 << 16)

    assert said is not None
    assert said.startswith(status)
    assert bool(said) == bool(status)
    assert stop(served) == 0


def test_callers_that_go_away_leave_no_line(tmp_path: Path) -> None:
    """Neither a reset nor a connection that falls silent is written down: cards wear out."""
    served = impatient(tmp_path)
    for _ in range(3):
        with connected(served) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            connection.recv(1 << 16)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with connected(served) as connection:
        assert connection.recv(1) == b""
    served.process.terminate()
    _, said = served.process.communicate(timeout=10)

    assert said == ""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps memory by thread")
def test_connections_keep_no_memory(served: Served) -> None:
    """Callers one after the other, each with a large picture, leave nothing of it behind."""
    body = b"P5 4000 4000 255\n" + bytes(4000 * 4000)
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            line = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
            stack.callback(line.close)  # not before the last: each has a thread of its own
            line.request("POST", "/predict", body)
            assert line.getresponse().read()

        assert status_of(served, "VmRSS") < 120 << 10

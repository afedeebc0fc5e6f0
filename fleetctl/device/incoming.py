"""What the service takes from its callers at a time: of their time, their connections and their pictures.

Its unit sets a limit on memory and on threads. Whoever sends slowly, much, or from many sides has to wait, or
to come again; `/healthz` is answered all the same.
"""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from typing import Any, Dict, Iterator, Set

CONNECTIONS = 32  # a thread each; the unit has 64 for everything
LINGERING = 16  # connections besides, whose callers are listened to for a moment after their reply
CROWDED_S = 1.0  # how long a connection may wait for its request where another wants its place
PICTURES = 24  # less than connections: there is always one for /healthz
LARGE_PICTURES = 16  # of them: there is always a place for the samples of a probe, which are small
LARGE_BYTES = 1 << 16
PATIENCE_S = 5.0  # with others, until they are done with their large pictures


class Incoming(io.RawIOBase):
    """What comes over a connection until a given moment: a time-out of sockets begins anew with each byte."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._until = 0.0

    def allow(self, seconds: float) -> None:
        """For all that is read from now on; what takes longer is a `socket.timeout`."""
        self._until = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left, usual = self._until - time.monotonic(), self._connection.gettimeout()
        if left <= 0:
            raise socket.timeout("timed out")
        self._connection.settimeout(left)
        try:
            return self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(usual)


class Callers:
    """The connections that are open, at most so many."""

    def __init__(self, most: int = CONNECTIONS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._open: Set[socket.socket] = set()
        self._idle: Dict[socket.socket, float] = {}  # since when, the longest first
        self._lingering = threading.BoundedSemaphore(LINGERING)

    def admit(self, connection: socket.socket) -> bool:
        """Whether there is a place for it, be it that of one that has waited long for its request."""
        with self._lock:
            if len(self._open) >= self._most and not self._end_an_idle_one():
                return False
            self._open.add(connection)
            self._idle[connection] = time.monotonic()
            return True

    def is_idle(self, connection: socket.socket) -> None:
        """All that it asked has been answered."""
        with self._lock:
            self._idle.pop(connection, None)
            if connection in self._open:
                self._idle[connection] = time.monotonic()

    def is_at_work(self, connection: socket.socket) -> None:
        """A request of it is being answered."""
        with self._lock:
            self._idle.pop(connection, None)

    def has_left(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)
            self._idle.pop(connection, None)

    @contextlib.contextmanager
    def lingering(self, connection: socket.socket) -> Iterator[bool]:
        """It has its last reply, and another may have its place. False: it has to end at once."""
        self.has_left(connection)
        may_stay = self._lingering.acquire(blocking=False)
        try:
            yield may_stay
        finally:
            if may_stay:
                self._lingering.release()

    def _end_an_idle_one(self) -> bool:
        connection, since = next(iter(self._idle.items()), (None, 0.0))
        if connection is None or time.monotonic() - since < CROWDED_S:
            return False
        self._open.discard(connection)
        del self._idle[connection]
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)  # to its thread, that is the end of what comes
        return True


class NoRoom(Exception):
    """So many pictures are being sent or answered that one more has to come again."""


class Room:
    """What pictures may take of the memory, from their first byte until they are answered."""

    def __init__(
        self, most_bytes: int, pictures: int = PICTURES, large_pictures: int = LARGE_PICTURES
    ) -> None:
        self._bytes_left = most_bytes
        self._changed = threading.Condition()
        self._places = threading.BoundedSemaphore(pictures)
        self._large_places = threading.BoundedSemaphore(large_pictures)

    @contextlib.contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Room for a picture of so many bytes, waited for if it is a large one.

        Raises:
            NoRoom: there is none.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(_place(self._places))
            if size > LARGE_BYTES:
                stack.enter_context(_place(self._large_places))
                stack.enter_context(self._bytes(size))
            yield

    @contextlib.contextmanager
    def _bytes(self, size: int) -> Iterator[None]:
        with self._changed:
            if not self._changed.wait_for(lambda: size <= self._bytes_left, PATIENCE_S):
                raise NoRoom("large pictures took too long: it has to be sent again")
            self._bytes_left -= size
        try:
            yield
        finally:
            with self._changed:
                self._bytes_left += size
                self._changed.notify_all()


@contextlib.contextmanager
def _place(places: threading.Semaphore) -> Iterator[None]:
    if not places.acquire(blocking=False):
        raise NoRoom("too many pictures at once: it has to be sent again")
    try:
        yield
    finally:
        places.release()

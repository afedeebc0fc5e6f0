"""Asking a service how it is, whoever listens in its place."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from fleetctl.device.healthz import healthz


@pytest.fixture
def talker() -> Iterator[int]:
    """The port of somebody who says a little, again and again, and never ends."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def talk() -> None:
            line, _ = listening.accept()
            with line:
                try:
                    while True:
                        line.sendall(b"$GPGGA")
                        time.sleep(0.1)
                except OSError:
                    return

        threading.Thread(target=talk, daemon=True).start()
        yield listening.getsockname()[1]


def test_who_talks_without_end_holds_nobody_up(talker: int) -> None:
    """The time is for all of the answer: each word on its own comes soon enough."""
    begun = time.monotonic()

    assert {} == healthz({"port": talker}, timeout=0.5)
    assert time.monotonic() - begun < 5.0

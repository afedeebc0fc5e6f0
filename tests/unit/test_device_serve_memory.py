"""What the service takes of a board's memory, which its unit file limits."""

import http.client
import re
import struct
import sys
import threading
import zlib
from pathlib import Path

import pytest
from tiny_board import powered, tiny_release

SIDE = 3600  # pixels: what is made of it is so large that it is given back to the system at once


def plain_png(side: int) -> bytes:
    """A small file of a large picture: RGB, black."""
    rows = zlib.compress(bytes(side * (1 + 3 * side)))
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def ask(port: int, picture: bytes) -> None:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    line.request("POST", "/predict", picture)
    line.getresponse().read()
    line.close()


def most_memory(pid: int) -> int:
    """In KiB, since the process began."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found.group(1))


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's record of a process's memory is Linux's")
def test_large_pictures_wait_for_each_other(tmp_path: Path) -> None:
    """Many at once take little more memory than one: the unit's limit holds for all of them together."""
    picture = plain_png(SIDE)
    with powered(tmp_path / "root") as board:
        board.install(tiny_release(board.port))
        pid = board.healthz()["pid"]
        ask(board.port, picture)
        of_one = most_memory(pid)
        threads = [threading.Thread(target=ask, args=(board.port, picture)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert board.healthz()["pid"] == pid
        assert most_memory(pid) < 1.6 * of_one

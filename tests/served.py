"""A release that is served by a real process, and how to ask it: for the tests of the service."""

import http.client
import json
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiny_board import TinyRelease


@dataclass
class Served:
    """A release folder and the service that runs from it."""

    folder: Path
    release: TinyRelease
    port: int
    process: "subprocess.Popen[str]"

    def http(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            raw = response.read()
            is_json = response.getheader("Content-Type") == "application/json"
            return response.status, json.loads(raw) if is_json else raw.decode()
        finally:
            connection.close()

    def raw(self, sent: bytes) -> bytes:
        """What comes back for bytes that no client library would send."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(4096), b""))


def lay_out(folder: Path, release: TinyRelease) -> Path:
    for path, data in {**release.files, "release.json": release.release.manifest}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def start(folder: Path) -> "subprocess.Popen[str]":
    argv = [sys.executable, str(folder / "runtime" / "serve.py"), "--release", str(folder)]
    return subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)


def start_and_wait(folder: Path, release: TinyRelease, port: int) -> Served:
    process = start(folder)
    assert process.stderr is not None
    served = f"serve: release {release.digest[:12]} on 127.0.0.1:{port}\n"
    while (line := process.stderr.readline()) != served:  # TFLite talks too
        assert line, f"the service ended with {process.wait()}"
    return Served(folder, release, port, process)


def stop(served: Served) -> int:
    assert served.process.stderr is not None
    served.process.send_signal(signal.SIGTERM)
    status = served.process.wait(timeout=10)
    served.process.stderr.close()
    return status


def refusal(folder: Path) -> str:
    """The last words of a service that refuses to start."""
    process = start(folder)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "Traceback" not in said
    return said.splitlines()[-1]

"""The floor that releases are held against does what it says: the same files, started, and waited for."""

import io
import shlex
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from contract_worlds import Releases, generic_board
from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import by_hand
from fleetctl.manifest.schema import Board, ServiceManager
from fleetctl.store import BlobStore
from fleetctl.transports.base import Order


@pytest.fixture
def order(tmp_path: Path) -> Order:
    board = replace(generic_board("luxor-01"), root=str(tmp_path / "a board's root"), serve_port=8091)
    return Releases(BlobStore(tmp_path / "store")).order(replace(board, service=ServiceManager.SYSTEMD))


def test_the_floor_sends_the_same_files(order: Order) -> None:
    """Every byte of the release and its manifest, but for the line of the unit by which a board goes back."""
    with tarfile.open(fileobj=io.BytesIO(by_hand.tar_of(order))) as tar:
        sent = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    store = BlobStore(order.blobs)
    release = {path: store.get(ref.sha256) for path, ref in order.release.files.items()}
    (unit,) = (path for path in release if path.startswith("unit/"))
    lines = [line for line in release[unit].splitlines(True) if not line.startswith(b"ExecStartPre=")]

    assert {**release, unit: b"".join(lines), "release.json": order.release.manifest} == sent
    assert len(lines) == len(release[unit].splitlines()) - 1


def test_its_words_are_a_shell_s(order: Order) -> None:
    """Unpacked and linked under a root with a space and a quote in its name."""
    board = replace(order.board, service=ServiceManager.PROCESS)
    script = f"{by_hand.unpack(board)} && {by_hand.link(board)}"
    subprocess.run(["sh", "-c", script], input=by_hand.tar_of(order), check=True)

    assert order.release.manifest == (Path(board.root) / "current" / "release.json").read_bytes()


def test_it_waits_for_an_answer(order: Order) -> None:
    """The service's own, on its port."""
    server = HTTPServer(("127.0.0.1", 0), Healthy)
    threading.Thread(target=server.handle_request, daemon=True).start()
    try:
        board = replace(order.board, serve_port=server.server_port)
        asked = subprocess.run(shlex.split(by_hand.wait(board)), capture_output=True, check=True)
    finally:
        server.server_close()

    assert b"c0ffee\n" == asked.stdout


@pytest.mark.parametrize("start", [by_hand.restart, by_hand.restart_and_wait, by_hand.spawn_and_wait])
def test_every_start_is_one_script(order: Order, start: "by_hand.Start") -> None:
    """A shell takes it as it is."""
    board: Board = order.board

    subprocess.run(["sh", "-n", "-c", f"{by_hand.unpack(board)} && {start(board)}"], check=True)


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"model_sha256": "c0ffee"}')

    def log_message(self, *_: object) -> None:
        """Nothing: a test's output is its own."""

"""A board at rest says again what a look found; whatever changed since makes it look anew. Needs bash."""

import io
import itertools
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tiny_board import TinyBoard, powered, tiny_release

from fleetctl.device import vitals
from fleetctl.device.activate import no_checkpoint
from fleetctl.device.call import Call
from fleetctl.device.kept_look import devices_of
from fleetctl.device.layout import Board
from fleetctl.device.observe import observe
from fleetctl.transports import kept_look

KEY = "0123456789abcdef"
PATIENCE = 20.0


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyBoard]:
    """A board that serves a confirmed release."""
    with powered(tmp_path_factory.mktemp("kept") / "root with 'a quote'") as made:
        made.install(tiny_release(made.port))
        yield made


def looked(board: TinyBoard) -> dict[str, Any]:
    """The reply of a look that was kept: the first that is taken seconds after the board changed."""
    give_up = time.monotonic() + PATIENCE
    script(board).unlink(missing_ok=True)
    while not script(board).exists():
        assert time.monotonic() < give_up, "no look was kept"
        time.sleep(0.2)
        reply = board.ask("observe", {"keep": KEY})
    return reply


def script(board: TinyBoard) -> Path:
    return board.root / "state" / "look.sh"


def said_again(board: TinyBoard, key: str = KEY, slash: str = "") -> Mapping[str, Any] | None:
    words = ["env", "LC_ALL=C", "TZ=UTC0", "bash", "-p", script(board), key, slash]
    done = subprocess.run(words, capture_output=True, check=False)
    assert done.stdout or done.returncode != 0
    return kept_look.parse(done.stdout)


def test_what_is_said_again_is_what_a_look_finds(board: TinyBoard) -> None:
    """Every field but time and health is that of a look, which has the same kinds of numbers there."""
    reply = looked(board)
    said = said_again(board)

    assert said is not None
    assert reply.keys() == said.keys()
    assert {name for name in reply if reply[name] != said[name]} <= {"time", "health"}
    kinds = {name: type(value) for name, value in reply["health"].items()}
    assert kinds == {name: type(value) for name, value in said["health"].items()}
    assert reply["time"] <= said["time"]


def test_health_is_that_of_now(board: TinyBoard) -> None:
    """The sensors say to the shell what they say to Python, as near as two moments are."""
    looked(board)
    said = said_again(board)
    now = vitals.health(str(board.root))

    assert said is not None
    assert abs(now["uptime_s"] - said["health"]["uptime_s"]) < 30
    assert 0.5 < said["health"]["disk_free_bytes"] / now["disk_free_bytes"] < 2
    assert 0.2 < said["health"]["memory_free_bytes"] / now["memory_free_bytes"] < 5


def rewritten_as_old(path: Path, data: bytes) -> None:
    """Other bytes in a file's place, of the same length and with its times."""
    before = path.stat()
    path.chmod(0o644)
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def altered(board: TinyBoard) -> None:
    path = board.root / "current" / "model" / "golden.npy"
    rewritten_as_old(path, path.read_bytes()[:-1] + b"\xff")


def other_receipt(board: TinyBoard) -> None:
    path = board.root / "state" / "receipt.json"
    rewritten_as_old(path, path.read_bytes().replace(b"passed", b"failed"))


def linked_anew(board: TinyBoard) -> None:
    target = (board.root / "current").readlink()
    (board.root / "current").unlink()
    (board.root / "current").symlink_to(target)


def begun(board: TinyBoard) -> None:
    (board.root / "blobs" / "begun").mkdir(exist_ok=True)
    (board.root / "blobs" / "begun" / ("a" * 64)).write_bytes(b"part of a model")


def trusting(board: TinyBoard) -> None:
    (board.root / "trust").mkdir()
    (board.root / "trust" / "trust.json").write_text(json.dumps({"fleet": "f", "board": "b", "keys": []}))


CHANGES: dict[str, Callable[[TinyBoard], object]] = {
    "a byte of a file": altered,
    "a file gone": lambda board: (board.root / "current" / "config" / "serve.json").unlink(),
    "the receipt": other_receipt,
    "the link": linked_anew,
    "what was confirmed": lambda board: (board.root / "state" / "good").unlink(),
    "something under way": lambda board: (board.root / "state" / "pending.json").write_text("{}"),
    "a transfer that broke": begun,
    "a blob gone": lambda board: next((board.root / "blobs" / "sha256").iterdir()).unlink(),
    "keys it trusts": trusting,
    "the modules it keeps": lambda board: (board.root / "state" / "compiled").write_text("others"),
    "a stranger's file": lambda board: (board.root / "notes.txt").write_text("mine"),
    "no service": lambda board: board.cut_power(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changed_is_looked_at(tmp_path: Path, change: str) -> None:
    """The script says nothing, and a look tells what is so now."""
    with powered(tmp_path / "root") as board:
        board.install(tiny_release(board.port))
        looked(board)
        assert said_again(board) is not None
        CHANGES[change](board)

        assert said_again(board) is None


def test_a_look_at_a_release_that_has_just_been_left_is_not_kept(tmp_path: Path) -> None:
    """A busy board that looks at one release, and stands on another before it sees on what it stands."""
    with powered(tmp_path / "root") as board:
        left = tiny_release(board.port)
        board.install(left)
        board.install(tiny_release(board.port, threshold=0.9))
        looked(board)
        script(board).unlink()

        class JustLeft(Board):
            seen = iter([left.digest])

            @property
            def current(self) -> str | None:
                return next(self.seen, super().current)

        reply = observe(
            Call(JustLeft(str(board.root)), {"keep": KEY}, io.BytesIO(), no_checkpoint, "", False)
        )
        assert reply["current"] == left.digest
        assert not script(board).exists()


class OtherProcessEachTime(BaseHTTPRequestHandler):
    """A service that starts anew between any two questions."""

    started = itertools.count(1)

    def do_GET(self) -> None:
        said = json.dumps({"status": "ok", "release": "0" * 64, "pid": next(self.started)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def test_a_look_is_not_kept_beside_the_words_of_another_process(tmp_path: Path) -> None:
    """What the service says is left out where it is what it said: that has to be what the look found."""
    with powered(tmp_path / "root") as board:
        board.install(tiny_release(board.port))
        looked(board)
        script(board).unlink()
        board.cut_power()
        with ThreadingHTTPServer(("127.0.0.1", board.port), OtherProcessEachTime) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            assert board.ask("observe", {"keep": KEY})["service"]["loaded"]["pid"] == 1
            server.shutdown()
        assert not script(board).exists()


def test_only_the_asker_by_that_key_is_told(board: TinyBoard) -> None:
    """Another version of the board's code, or another Python asked about, is another key."""
    looked(board)
    assert said_again(board, "fedcba9876543210") is None


def test_a_look_at_what_has_just_changed_is_not_kept(tmp_path: Path) -> None:
    """Stamps count seconds: the board could change again under the same."""
    with powered(tmp_path / "root") as board:
        board.install(tiny_release(board.port))
        board.ask("observe", {"keep": KEY})
        assert not script(board).exists()


def test_a_look_changes_nothing_unless_asked_to(board: TinyBoard) -> None:
    """`observe` alone leaves the board as it is."""
    looked(board)
    script(board).unlink()
    board.ask("observe")
    assert not script(board).exists()


def test_a_board_that_is_not_at_rest_keeps_nothing(tmp_path: Path) -> None:
    """What is altered, or not served, is looked at each time."""
    with powered(tmp_path / "root") as board:
        board.install(tiny_release(board.port))
        altered(board)
        time.sleep(2.5)
        board.ask("observe", {"keep": KEY})
        assert not script(board).exists()


@pytest.fixture
def slash(tmp_path: Path) -> Path:
    """A kernel's folders, with one device on USB."""
    for path, text in {
        "proc/sys/kernel/random/boot_id": "boot-1\n",
        "proc/meminfo": "MemTotal: 9 kB\nMemAvailable: 1000 kB\n",
        "proc/uptime": "12.5 3\n",
        "proc/loadavg": "0.25 0 0 1/9 7\n",
        "sys/class/thermal/thermal_zone0/temp": "41000\n",
        "sys/class/thermal/thermal_zone1/temp": "52500\n",
        "sys/bus/usb/devices/1-1/idVendor": "1d6b\n",
        "sys/bus/usb/devices/1-1/idProduct": "0002\n",
        "dev/null0": "",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def with_devices_of(board: TinyBoard, slash: Path) -> None:
    """Let the kept look be one that was taken with these devices plugged in."""
    lines = script(board).read_text().splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if line.startswith("devices="))
    lines[place] = f"devices='{devices_of(str(slash))}'\n"
    script(board).write_text("".join(lines))


def test_devices_and_the_start_of_the_system_count(board: TinyBoard, slash: Path) -> None:
    """An Edge TPU that was plugged in, another device in a port, or a reboot: each is looked at."""
    looked(board)
    with_devices_of(board, slash)
    said = said_again(board, slash=str(slash))
    assert said is not None
    assert {
        "temperature_c": 52.5,
        "memory_free_bytes": 1024000,
        "uptime_s": 12.5,
        "load1": 0.25,
    }.items() <= said["health"].items()

    for path, text in {
        "dev/apex_0": "",
        "sys/bus/usb/devices/1-1/idVendor": "18d1\n",
        "proc/sys/kernel/random/boot_id": "boot-2\n",
    }.items():
        (slash / path).write_text(text)
        assert said_again(board, slash=str(slash)) is None
        with_devices_of(board, slash)
        assert said_again(board, slash=str(slash)) is not None


def test_another_service_process_is_told(board: TinyBoard) -> None:
    """A service that was started anew serves the same release: what it says of itself is that of now."""
    looked(board)
    script(board).write_text(script(board).read_text().replace('"pid": ', '"pid": 9'))
    said = said_again(board)

    assert said is not None
    assert board.healthz()["pid"] == said["service"]["loaded"]["pid"]

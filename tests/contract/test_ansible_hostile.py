"""Boards that do not keep to the protocol: what they say is data, and none can hold the others up."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from contract_worlds import DEADLINE, LabWorld, Releases, by_board
from msgspec.structs import replace
from process_tree import descendants

from fleetctl.manifest.schema import Board
from fleetctl.transports.base import ReplyStatus

pytestmark = pytest.mark.e2e

POISON = b"correct-horse-battery-staple"

SILENT = "import time; time.sleep(120)"
ENDLESS = "import os\nwhile True: os.write(1, b'x' * 65536)"
ESCAPES = (
    "import json,sys; sys.stdin.buffer.read(); "
    r"e = '\x1b]0;owned\x07\u202egnp.exe {{ 7*7 }} \ud800'; "
    "print(json.dumps({'ok': False, 'code': '', 'error': e}))"
)
NO_REPLY = "print('Welcome to my board!')"
DEEP = "import sys; sys.stdin.buffer.read(); print('[' * 200000)"
NAN = 'import sys; sys.stdin.buffer.read(); print(\'{"ok": true, "missing": NaN}\')'

BROKEN = "import sys; sys.stdin.buffer.read(); sys.exit('SyntaxError: invalid syntax')"
FORBIDDEN = "import sys; sys.stderr.write('sh: 1: python3: Permission denied'); sys.exit(126)"


def take_over(board: Board, script: str) -> None:
    """Have the board answer every verb with a script of its own: what it runs as `python3` is its affair."""
    interpreter = Path(board.root).parents[1] / "bin" / "python3"
    for folder in (Path(board.root), interpreter.parent):
        folder.mkdir(parents=True)
    # Called as `python3 -I -S -c CODE VERB --root ROOT`: the script gets the verb, and what follows it.
    interpreter.write_text(f"#!{sys.executable} -IS\nimport sys\ndel sys.argv[1:5]\n{script}")
    interpreter.chmod(0o755)


@contextlib.contextmanager
def memory_below() -> Iterator[Callable[[], int]]:
    """The most memory, in KiB, that a program started below this process ever had while the block ran."""
    found, over = [0], threading.Event()
    itself = Path("/proc/self/cmdline").read_bytes()

    def look() -> None:
        while not over.wait(0.05):
            for pid in descendants(os.getpid()):
                with contextlib.suppress(OSError):  # it ended
                    # Until a child has become its program it has this process's memory, trainings and all.
                    if Path(f"/proc/{pid}/cmdline").read_bytes() != itself:
                        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                        found.extend(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield lambda: max(found)
    finally:
        over.set()
        watcher.join()


def test_hostile_boards_are_failures_and_hold_up_nobody(lab: LabWorld, releases: Releases) -> None:
    """Escapes, noise, a broken Python, NaN, silence, endless talk: each a failure of that board alone."""
    scripts = [ESCAPES, NO_REPLY, BROKEN, FORBIDDEN, DEEP, NAN, ENDLESS, SILENT]
    *hostile, honest = lab.boards(len(scripts) + 1)
    for board, script in zip(hostile, scripts, strict=True):
        take_over(board, script)
    # Only the silent board is meant to run out of time: the others have enough of it on a busy machine too.
    *talking, quiet = [releases.order(board) for board in hostile]
    orders = [*talking, replace(quiet, deadline=8.0)]
    begun = time.monotonic()
    with memory_below() as most:
        replies = by_board(lab.transport.release([*orders, releases.order(honest)]))
    took = time.monotonic() - begun

    escapes, noise, broken, forbidden, deep, nan, endless, silent = (replies[board.name] for board in hostile)
    assert replies[honest.name].data["state"] == "confirmed"
    assert "gnp.exe {{ 7*7 }}" in escapes.error
    for reply in (escapes, noise, broken, forbidden, deep, nan, endless):
        assert reply.status is ReplyStatus.FAILED
        assert reply.error.isprintable(), reply.error
        assert len(reply.error) < 1000
    assert "not a reply: 'Welcome to my board!'" in noise.error
    assert "ended with 1: SyntaxError: invalid syntax" in broken.error
    assert "ended with 126: sh: 1: python3: Permission denied" in forbidden.error
    assert "does not stop talking" in endless.error
    assert silent.status is ReplyStatus.TIMED_OUT
    assert took < 8.0 + 20.0
    assert 0 < most() < 1 << 20  # KiB: the endless talker was cut short
    lab.retire()


def test_a_login_script_that_ends_without_a_line_is_overheard(lab: LabWorld, releases: Releases) -> None:
    """A `.bashrc` sets the title of a terminal that is none: what follows on the same line is no title."""
    (board,) = lab.boards(1)
    interpreter = Path(board.root).parents[1] / "bin" / "python3"
    interpreter.parent.mkdir(parents=True)
    interpreter.write_text(f"#!/bin/sh\nprintf '\\033]0;pi@luxor\\007'\nexec {sys.executable} \"$@\"\n")
    interpreter.chmod(0o755)
    (reply,) = lab.transport.release([releases.order(board)])

    assert reply.ok, reply.error
    assert reply.data["state"] == "confirmed"
    lab.retire()


LIAR = """
import json, sys
sys.stdin.buffer.read()
with open({asked!r}, "a") as asked:
    print(sys.argv[1], file=asked)
receipt = json.loads({receipt!r})
print(json.dumps({{
    "missing": {{"ok": True, "missing": []}},
    "activate": {{"ok": True, "state": "pending", "receipt": receipt, "contract": {{}}, "smoke": {{}}}},
    "confirm": {{"ok": True, "state": "confirmed", "current": receipt["release"]}},
    "revert": {{"ok": True, "state": "reverted", "current": None, "receipt": receipt}},
}}[sys.argv[1]]))
sys.exit(0)
"""

LIES: list[dict[str, Any]] = [
    {"board": "another"},  # a receipt that was recorded elsewhere
    {"release": "0" * 64},
    {"loaded": {"release": "0" * 64}},  # it still serves the old one
    {"loaded": {"model_sha256": "0" * 64}},
    {"answers": []},
    {"answers": "all of them"},
    {},  # no lie that anybody could tell: the control
]


def test_lies_in_a_receipt_are_never_a_proof(lab: LabWorld, releases: Releases) -> None:
    """Another board's receipt, another release, another model, no answers: told to go back."""
    honest, *liars = lab.boards(len(LIES) + 1)
    (reply,) = lab.transport.release([releases.order(honest)])
    for liar, lie in zip(liars, LIES, strict=True):
        release = releases.order(liar).release.digest
        said = {**reply.data["receipt"], "board": liar.name, "release": release}
        loaded = {**said["loaded"], "release": release, **lie.get("loaded", {})}
        receipt = json.dumps({**said, **lie, "loaded": loaded})
        take_over(liar, LIAR.format(asked=f"{liar.root}/asked", receipt=receipt))
    replies = by_board(lab.transport.release([releases.order(liar) for liar in liars]))

    *caught, believed = [(Path(liar.root) / "asked").read_text().split() for liar in liars]
    assert [["missing", "activate", "revert"]] * len(caught) == caught
    assert ["missing", "activate", "confirm"] == believed
    assert {"failed"} == {replies[liar.name].data["judgement"]["outcome"] for liar in liars[:-1]}
    lab.retire()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into other processes through /proc")
def test_no_secret_reaches_ansible(
    lab: LabWorld, releases: Releases, monkeypatch: pytest.MonkeyPatch, temporary: Path
) -> None:
    """Nothing of our environment is in Ansible's, its arguments or files, and no file outlives a run."""
    monkeypatch.setenv("POISON_TOKEN", POISON.decode())
    (board,) = lab.boards(1)
    before = set(descendants(os.getpid()))
    known: set[bytes] = set()
    for reply in lab.transport.release([releases.order(board)]):
        assert reply.ok, reply.error
        playbooks = set(descendants(os.getpid())) - before
        known = {secrets(pid) for pid in playbooks} | {
            f.read_bytes() for f in temporary.rglob("*") if f.is_file()
        }
    # Waits within the shell: between two programs of one process the kernel shows no environment.
    waiting = ["sh", "-c", "echo; read answer"]
    with subprocess.Popen(waiting, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as inheriting:
        assert inheriting.stdout
        inheriting.stdout.readline()  # it has begun, so the kernel shows its environment
        found_where_it_is = POISON in secrets(inheriting.pid)
        inheriting.kill()

    assert any(b"release.yml" in text for text in known), "the playbook was not looked at"
    assert any(b"fleetctl.work/v1" in text for text in known), "the run's files were not looked at"
    assert not any(POISON in text for text in known)
    assert found_where_it_is, "the search finds nothing anywhere"
    assert list(temporary.iterdir()) == []
    lab.retire()


def test_unknown_and_changed_keys_come_with_the_command_to_run(lab: LabWorld, releases: Releases) -> None:
    """A refused host key names the file and the exact commands that accept the new key."""
    board, _ = lab.boards(2)
    (unknown,) = lab.distrust(board).release([releases.order(board)])
    (changed,) = lab.mistrust(board).release([releases.order(board)])

    assert f"ssh-keyscan -p {board.port} 127.0.0.1 >> " in unknown.hint
    assert "is not in known_hosts" in unknown.error
    assert f"ssh-keygen -R '[127.0.0.1]:{board.port}' -f " in changed.hint
    assert "reinstalled, or another machine" in changed.error
    lab.retire()


@pytest.mark.slow
def test_twenty_boards_at_once(lab: LabWorld, releases: Releases) -> None:
    """Twenty boards are released to in one go, and each is heard of exactly once."""
    boards = lab.boards(20)
    replies = by_board(lab.transport.release([releases.order(board) for board in boards]))

    assert {board.name for board in boards} == set(replies)
    assert {"confirmed"} == {reply.data.get("state", reply.error) for reply in replies.values()}
    confirmed = lab.transport.confirm(
        boards, {b.name: releases.order(b).release.digest for b in boards}, deadline=DEADLINE
    )
    assert {"confirmed"} == {reply.data.get("state", reply.error) for reply in confirmed}
    lab.retire()


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, its path short enough for ssh sockets, unlike that of pytest."""
    folder = Path(tempfile.mkdtemp(prefix="t"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    shutil.rmtree(folder)


def secrets(pid: int) -> bytes:
    """Environment and arguments of a process; empty once it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""

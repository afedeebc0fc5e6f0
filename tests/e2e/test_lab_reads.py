"""Reads over ssh against real servers: boards as they are, boards that misbehave, keys that do not match."""

import contextlib
import json
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from virtual_lab import Lab

from fleetctl.manifest.schema import Board
from fleetctl.transports.base import Reply, ReplyStatus
from fleetctl.transports.ssh import SshReader

pytestmark = pytest.mark.e2e

Runtime = Callable[[str], Board]


@pytest.fixture
def runtime(lab: Lab) -> Iterator[Runtime]:
    """Gives `luxor-02` a release whose `activate.py` is the text handed in."""
    root = Path(lab.boards["luxor-02"].root)
    script = root / "current" / "runtime" / "activate.py"

    def install(text: str) -> Board:
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(text)
        return lab.board("luxor-02")

    yield install
    subprocess.run(["rm", "-rf", root / "current"], check=True)


def observe(lab: Lab, board: Board, deadline: float = 15.0) -> Reply:
    [reply] = lab.reader().observe([board], deadline=deadline)
    return reply


def test_a_board_without_a_release_is_observed_all_the_same(lab: Lab) -> None:
    """The script is sent to a board that has none, and there is no release, nor anything of others'."""
    reply = observe(lab, lab.board("luxor-01"))

    assert reply.ok, reply.error
    assert (reply.data["current"], reply.data["good"], reply.data["foreign"]) == (None, None, False)
    assert reply.data["service"]["state"] == "absent"


def test_a_name_means_the_same_in_capitals(lab: Lab, tmp_path: Path) -> None:
    """Host names have no case: a known one is known however the manifest writes it, as to OpenSSH."""
    known = tmp_path / "known_hosts"
    known.write_text(lab.files.known_hosts.read_text().replace("127.0.0.1", "localhost"))
    board = replace(lab.board("luxor-01"), host="LocalHost")
    (reply,) = SshReader(known, lab.files.identity).observe([board], deadline=15.0)

    assert reply.ok, reply.error


def test_a_board_whose_script_was_damaged_is_observed_all_the_same(lab: Lab, runtime: Runtime) -> None:
    """A flipped bit in the runtime of a release must not keep anybody from mending it."""
    reply = observe(lab, runtime("def main(:\n"))

    assert reply.ok, reply.error
    assert reply.data["service"]["state"] == "absent"


def test_a_real_release_is_read_with_every_verb(new_lab: Callable[[], Lab]) -> None:
    """Observe, probe, logs and history of a board that serves a release."""
    lab = new_lab()
    lab.up("luxor-01")
    release = lab.install("luxor-01")
    board, reader = lab.board("luxor-01"), lab.reader()

    [seen] = reader.observe([board], deadline=15)
    [proof] = reader.probe([board], deadline=15)
    [logs] = reader.logs([board], lines=5, deadline=15)
    [history] = reader.history([board], last=5, deadline=15)

    assert seen.data["current"] == seen.data["service"]["loaded"]["release"] == release.digest
    assert proof.data["receipt"]["loaded"]["release"] == release.digest
    assert len(proof.data["receipt"]["answers"]) == 4
    assert 0 < len(logs.data["lines"]) <= 5
    assert history.data["receipts"][-1]["release"] == release.digest


def test_the_request_reaches_the_board(runtime: Runtime, lab: Lab) -> None:
    """The release's own script is asked, with the verb, the root and one line of JSON."""
    board = runtime(
        "import json, sys; print(json.dumps({'ok': True, 'argv': sys.argv[1:], 'in': sys.stdin.read()}))"
    )
    [reply] = lab.reader().logs([board], lines=7, deadline=15)

    assert reply.data == {"ok": True, "argv": ["logs", "--root", board.root], "in": '{"lines":7}\n'}


def test_a_login_script_may_talk_first(runtime: Runtime, lab: Lab) -> None:
    """Only the last line is the answer."""
    assert observe(lab, runtime("print('Welcome!'); print('{\"ok\": true, \"current\": null}')")).ok


MISBEHAVIOURS = {
    "says no": ('print(\'{"ok": false, "code": "busy", "error": "the lock is held"}\')', "the lock is held"),
    "endless": ("while True: print('x' * 65536)", "more than 1 MiB"),
    "endless aside": ("import sys\nwhile True: print('x' * 65536, file=sys.stderr)", "more than 1 MiB"),
    "no JSON": ("print('hello')", "not a reply"),
    "another type": ("print('[1, 2]')", "not a reply"),
    "too deep": ("print('[' * 100_000)", "not a reply"),
    "NaN": ('print(\'{"ok": true, "load1": NaN}\')', "not a reply"),
    "binary": ("import sys; sys.stdout.buffer.write(bytes(range(256)))", "not a reply"),
    "escapes": ("print('\\x1b[2J\\x1b]0;owned\\x07')", "not a reply"),
    "escapes in its words": (
        'print(\'{"ok": false, "code": "x", "error": "\\\\u001b[31mred\\\\u202e"}\')',
        "red",
    ),
    "nothing": ("", "nothing"),
    "last words": ("import sys; sys.stderr.write('\\x1b[31mbroken'); sys.exit(2)", "broken"),
    "killed": ("import os; os.kill(os.getpid(), 9)", "a signal ended it"),
}


@pytest.mark.parametrize("name", MISBEHAVIOURS)
def test_a_board_that_misbehaves_has_failed_with_a_clean_sentence(
    name: str, runtime: Runtime, lab: Lab
) -> None:
    """Whatever a board says, the reply is `FAILED` and its sentence can be printed."""
    script, expected = MISBEHAVIOURS[name]
    reply = observe(lab, runtime(script))

    assert reply.status is ReplyStatus.FAILED
    assert expected in reply.error
    assert reply.error.isprintable() and len(reply.error) < 700
    assert not reply.data


def test_a_board_that_hangs_is_given_up_at_its_deadline(runtime: Runtime, lab: Lab) -> None:
    """A silent verb times out; another board's answer does not wait for it."""
    slow = runtime("import time; time.sleep(600)")
    start = time.monotonic()
    replies = list(lab.reader().observe([slow, lab.board("luxor-01")], deadline=2.0))

    assert [(r.board, r.status) for r in replies] == [
        ("luxor-01", ReplyStatus.OK),
        ("luxor-02", ReplyStatus.TIMED_OUT),
    ]
    assert time.monotonic() - start < 6


def test_run_gives_what_a_command_said_and_how_it_ended(lab: Lab) -> None:
    """Output, error output and exit status come back, from every board."""
    boards = [lab.board("luxor-01"), lab.board("luxor-02")]
    replies = lab.reader().run(boards, "echo out; echo aside >&2; exit 4", deadline=15)
    said = {"exit": 4, "stdout": "out\n", "stderr": "aside\n"}

    assert {r.board: dict(r.data) for r in replies} == {"luxor-01": said, "luxor-02": said}


def test_run_tells_a_signal_from_an_exit(lab: Lab) -> None:
    """A command that a signal ended has no exit status."""
    [reply] = lab.reader().run([lab.board("luxor-01")], "kill -KILL $$", deadline=15)

    assert reply.ok and reply.data["exit"] is None


def test_an_unknown_host_key_is_refused_with_the_command_that_accepts_it(lab: Lab, tmp_path: Path) -> None:
    """The hint's command, run as it stands, makes the very same read succeed."""
    board, trusted = lab.board("luxor-01"), tmp_path / "new folder" / "known_hosts"
    trusted.parent.mkdir()
    reader = SshReader(trusted, lab.files.identity)
    [reply] = reader.observe([board], deadline=15)

    assert reply.status is ReplyStatus.REFUSED
    assert "SHA256:" in reply.error
    subprocess.run(["/bin/sh", "-c", _command_in(reply.hint)], check=True, capture_output=True)
    [again] = reader.observe([board], deadline=15)
    assert again.ok, again.error


def test_a_changed_host_key_is_refused_with_the_commands_that_accept_it(lab: Lab, tmp_path: Path) -> None:
    """Another board answers on the address: refused, until the new key takes the old one's place."""
    board, other = lab.board("luxor-01"), lab.board("luxor-02")
    keys = dict(line.split(" ", 1) for line in lab.files.known_hosts.read_text().splitlines())
    trusted = tmp_path / "known_hosts"
    trusted.write_text(f"[{board.host}]:{board.port} {keys[f'[{other.host}]:{other.port}']}\n")
    reader = SshReader(trusted, lab.files.identity)
    [reply] = reader.observe([board], deadline=15)

    assert reply.status is ReplyStatus.REFUSED
    assert "another machine" in reply.error and "SHA256:" in reply.error
    subprocess.run(["/bin/sh", "-c", _command_in(reply.hint)], check=True, capture_output=True)
    [again] = reader.observe([board], deadline=15)
    assert again.ok, again.error


def _command_in(hint: str) -> str:
    return hint[hint.index("`") + 1 : hint.rindex("`")]


def test_a_key_the_board_does_not_know_is_refused(lab: Lab) -> None:
    """Authentication that fails says what to do about it."""
    [reply] = SshReader(lab.files.known_hosts, lab.files.host_key("luxor-01")).observe(
        [lab.board("luxor-01")], deadline=15
    )

    assert reply.status is ReplyStatus.REFUSED
    assert "authorized_keys" in reply.hint


def test_no_key_of_the_user_and_no_known_host_of_the_user_counts(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The config and known_hosts in `~/.ssh` change neither where a read goes nor whom it trusts."""
    home = tmp_path / "home" / ".ssh"
    home.mkdir(parents=True)
    (home / "config").write_text("Host *\n  Port 1\n  User nobody\n  StrictHostKeyChecking no\n")
    (home / "known_hosts").write_text(lab.files.known_hosts.read_text())
    monkeypatch.setenv("HOME", str(home.parent))
    board = lab.board("luxor-01")

    [trusting] = lab.reader().observe([board], deadline=15)
    [strict] = SshReader(tmp_path / "nobody", lab.files.identity).observe([board], deadline=15)

    assert trusting.ok
    assert strict.status is ReplyStatus.REFUSED


def test_default_keys_are_tried_without_an_identity(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no identity named, `~/.ssh/id_ed25519` opens the door, as ssh users expect."""
    home = tmp_path / ".ssh"
    home.mkdir(mode=0o700)
    (home / "id_ed25519").write_bytes(lab.files.identity.read_bytes())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)

    [reply] = SshReader(lab.files.known_hosts, None).observe([lab.board("luxor-01")], deadline=15)

    assert reply.ok, reply.error


def test_stuck_key_exchanges_do_not_eat_others_time(lab: Lab) -> None:
    """Two servers that stop after their banner hold the only two turns: who waits behind loses no time."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        stuck = [
            replace(lab.board("luxor-02"), name=f"stuck-{i}", port=server.getsockname()[1]) for i in range(2)
        ]
        threading.Thread(target=_speak_and_stop, args=(server, 2), daemon=True).start()
        reader = SshReader(lab.files.known_hosts, lab.files.identity, workers=2)
        replies = {
            reply.board: reply.status
            for reply in reader.run([*stuck, lab.board("luxor-01")], "true", deadline=3)
        }

    late = ReplyStatus.TIMED_OUT
    assert replies == {"stuck-0": late, "stuck-1": late, "luxor-01": ReplyStatus.OK}


def _speak_and_stop(server: socket.socket, times: int) -> None:
    lines = [server.accept()[0] for _ in range(times)]
    for line in lines:
        line.sendall(b"SSH-2.0-stuck\r\n")
    for line in lines:
        with line, contextlib.suppress(OSError):
            while line.recv(1 << 16):
                pass


def test_reads_keep_within_the_limit_on_open_files(lab: Lab) -> None:
    """With a hundred files to open, sixty boards are read all the same."""
    board = lab.board("luxor-01")
    settings = {"host": board.host, "port": board.port, "user": board.user, "root": board.root}
    program = (
        "import json, resource, sys\n"
        "from pathlib import Path\n"
        "from fleetctl.manifest.schema import Board, BoardKind, VariantName\n"
        "from fleetctl.transports.ssh import SshReader\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))\n"
        "named = lambda n: Board(n, BoardKind.GENERIC, 'm', VariantName.INT8, **json.loads(sys.argv[3]))\n"
        "reader = SshReader(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "replies = list(reader.run([named(str(i)) for i in range(60)], 'true', deadline=30))\n"
        "print(sum(reply.ok for reply in replies), [reply.error for reply in replies if not reply.ok][:1])\n"
    )
    argv = [
        sys.executable,
        "-c",
        program,
        str(lab.files.known_hosts),
        str(lab.files.identity),
        json.dumps(settings),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    assert done.stdout == "60 []\n", done.stderr


def test_an_interrupted_read_does_not_wait_for_silent_boards(lab: Lab, runtime: Runtime) -> None:
    """A program that gives up on its replies ends at once, though boards are still silent."""
    board = runtime("import time; time.sleep(600)")
    settings = {
        "host": board.host,
        "port": board.port,
        "user": board.user,
        "root": board.root,
        "python": board.python,
    }
    program = (
        "import json, os, signal, sys, threading\n"
        "from pathlib import Path\n"
        "from fleetctl.manifest.schema import Board, BoardKind, VariantName\n"
        "from fleetctl.transports.ssh import SshReader\n"
        "board = Board('b', BoardKind.GENERIC, 'm', VariantName.INT8, **json.loads(sys.argv[3]))\n"
        "replies = SshReader(Path(sys.argv[1]), Path(sys.argv[2])).observe([board], deadline=600)\n"
        "threading.Timer(1.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
        "next(replies)\n"
    )
    argv = [
        sys.executable,
        "-c",
        program,
        str(lab.files.known_hosts),
        str(lab.files.identity),
        json.dumps(settings),
    ]
    done = subprocess.run(argv, capture_output=True, timeout=20, check=False)

    assert done.stderr.rstrip().endswith(b"KeyboardInterrupt"), shlex.join(argv)

"""What is sent to a board runs there, with nothing of ours installed and nothing written."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetctl.render.sources import board_runtime
from fleetctl.transports import board_script, wire


def ask(
    root: Path, script: bytes, verb: str = "observe", **request: object
) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        wire.command(verb, str(root), script),
        input=wire.standard_input(script, request),
        capture_output=True,
        check=False,
    )


def keep_modules(root: Path) -> Path:
    """What a board keeps of a release with our modules; returns the file."""
    runtime = root / "releases" / ("0" * 64) / "runtime"
    runtime.mkdir(parents=True)
    for path, source in board_runtime().items():
        (runtime.parent / path).write_bytes(source)
    (root / "state").mkdir()
    script = (
        board_script.whole()
        + f"""
from fleetctl_device.compiled import keep_those_of
from fleetctl_device.layout import Board
keep_those_of(Board({str(root)!r}), {"0" * 64!r})
""".encode()
    )
    script = script.replace(b"sys.exit(status)", b"pass", 1)  # after the verb, which comes first
    assert ask(root, script).stderr == b""
    return root / "state" / "compiled"


def test_the_whole_script_needs_nothing_on_the_board(tmp_path: Path) -> None:
    """It arrives on standard input ahead of its request, and leaves no trace."""
    done = ask(tmp_path / "none", board_script.whole())

    assert wire.parse_reply("observe", done.stdout)["current"] is None
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("verb", board_script.VERBS)
def test_every_verb_is_inside(tmp_path: Path, verb: str) -> None:
    """Whether the modules of all verbs are sent or its own: each replies, and none is a defect."""
    for script in (board_script.whole(), board_script.whole(verb)):
        done = ask(tmp_path / "root", script, verb)
        with contextlib.suppress(wire.BoardSaidNo):
            wire.parse_reply(verb, done.stdout)

        assert b"" == done.stderr


def test_a_look_is_sent_no_more_than_it_needs() -> None:
    """A board without a release is looked at before anything else, and by a script of a third."""
    assert 2 * len(wire.deflated(board_script.whole("observe"))) < len(wire.deflated(board_script.whole()))


AT_ONCE = """
import ast, time
from concurrent.futures import ThreadPoolExecutor
from fleetctl.transports import board_script

parse, busy, most = ast.parse, [], []

def slowly(source):
    busy.append(source)
    most.append(len(busy))
    time.sleep(0.01)
    try:
        return parse(source)
    finally:
        busy.pop()

def ask(number):
    return board_script.whole("observe") if number == 0 else board_script.by_digest("/")

ast.parse = slowly
with ThreadPoolExecutor(8) as boards:
    scripts = set(boards.map(ask, range(8)))
print(len(scripts), max(most))
"""


def test_one_thread_parses_at_a_time() -> None:
    """All boards are asked at once, and Python before 3.11.9 fails now and then where two threads parse."""
    done = subprocess.run([sys.executable, "-c", AT_ONCE], capture_output=True, text=True, check=False)

    assert ("2 1\n", "") == (done.stdout, done.stderr)


def test_modules_that_are_kept_are_run(tmp_path: Path) -> None:
    """A board that keeps every module answers with them, and is sent no more than their digest."""
    keep_modules(tmp_path)
    script = board_script.by_digest(str(tmp_path))

    assert wire.parse_reply("observe", ask(tmp_path, script).stdout)["current"] is None
    assert len(wire.deflated(script)) < 600


def test_a_board_that_was_made_fit_keeps_the_modules(tmp_path: Path) -> None:
    """Its very first look and release need not be sent any; and it says which it keeps."""
    done = ask(tmp_path, board_script.whole("prepare"), "prepare", runtime=board_script.runtime_digest())
    looked = ask(tmp_path, board_script.by_digest(str(tmp_path)))

    assert b"" == done.stderr
    assert wire.parse_reply("observe", looked.stdout)["modules"] == board_script.runtime_digest()


def test_modules_for_another_python_are_not_among_what_a_board_says_it_keeps(tmp_path: Path) -> None:
    """Neither are none: both would be asked for in vain."""
    kept = keep_modules(tmp_path)
    head, body = kept.read_bytes().split(b"\n", 1)
    kept.write_bytes(head[:-1] + (b"0" if head[-1:] != b"0" else b"1") + b"\n" + body)
    of_another = ask(tmp_path, board_script.whole("observe"))
    kept.unlink()
    none = ask(tmp_path, board_script.whole("observe"))

    said = [wire.parse_reply("observe", done.stdout)["modules"] for done in (of_another, none)]
    assert said == [None, None]


@pytest.mark.parametrize("verb", board_script.VERBS)
def test_verbs_of_every_day_are_kept(kept: Path, verb: str) -> None:
    """Each of them is answered from what a board keeps; the others have to be sent, and are known to be."""
    root = kept.parent.parent
    done = ask(root, board_script.by_digest(str(root)), verb)
    answers = b"ModuleNotFoundError" not in done.stdout

    assert answers == board_script.is_everyday(verb)


def test_a_board_that_keeps_none_says_so(tmp_path: Path) -> None:
    """It does before it has read the request, and says nothing else."""
    done = ask(tmp_path, board_script.by_digest(str(tmp_path)))

    assert (board_script.NOT_KEPT, b"") == (done.returncode, done.stdout)


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=25, deadline=None)
def test_modules_that_were_altered_count_as_absent(kept: Path, place: float, bit: int) -> None:
    """A flipped bit, wherever in what a board keeps, is noticed before any of it runs."""
    whole = kept.read_bytes()
    altered = bytearray(whole)
    altered[int(place * len(whole))] ^= 1 << bit
    try:
        kept.write_bytes(altered)
        done = ask(kept.parent.parent, board_script.by_digest(str(kept.parent.parent)))
    finally:
        kept.write_bytes(whole)

    assert (board_script.NOT_KEPT, b"") == (done.returncode, done.stdout)


def test_modules_of_another_version_count_as_absent(kept: Path) -> None:
    """What a board keeps of an older runtime is not what this controller means."""
    script = board_script.by_digest(str(kept.parent.parent))
    digest = kept.read_bytes()[:64]
    other = script.replace(digest, b"0" * 64)

    assert digest in script
    assert board_script.NOT_KEPT == ask(kept.parent.parent, other).returncode


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return keep_modules(tmp_path_factory.mktemp("board"))


def test_only_what_activate_needs_is_sent() -> None:
    """The serving process comes with the release."""
    assert {"activate", "observe", "watcher", "probe", "judge"} <= board_script.modules().keys()
    assert not {"serve", "preprocess", "runtime"} & board_script.modules().keys()


def test_the_script_is_the_same_in_every_process() -> None:
    """Its bytes depend on the modules alone."""
    program = (
        "import sys; from fleetctl.transports.board_script import whole; sys.stdout.buffer.write(whole())"
    )
    sent = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert {board_script.whole()} == sent


def test_threads_that_ask_at_once_parse_once() -> None:
    """Each board is asked by a thread of its own, and Python 3.11 breaks where several parse at once."""
    program = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from fleetctl.transports.board_script import modules, whole
parsed = []

def hear(event, about):
    if event == "compile" and about[1] == "<unknown>":
        parsed.append(about)

sys.addaudithook(hear)
ready = threading.Barrier(16)
with ThreadPoolExecutor(16) as pool:
    scripts = set(pool.map(lambda _: (ready.wait(), whole())[1], range(16)))
print(len(scripts), len(parsed) - len(modules()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert ("1 1\n", "") == (done.stdout, done.stderr)  # one script, and the loader besides its modules


def test_anything_but_the_usage_is_refused(tmp_path: Path) -> None:
    """Words that `activate.py` does not know are a mistake of the caller's: exit status 2, and no reply."""
    for words in ([], ["observe"], ["dance", "--root", "x"], ["observe", "--root", "x", "--loud"]):
        command = wire.command("observe", str(tmp_path), board_script.whole())[:-3]
        done = subprocess.run(
            [*command, *words],
            input=wire.standard_input(board_script.whole(), {}),
            capture_output=True,
            check=False,
        )

        assert (2, b"") == (done.returncode, done.stdout)
        assert done.stderr.startswith(b"usage: activate.py {activate,")

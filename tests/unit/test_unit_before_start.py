"""What a unit does before it starts the service: the line of the template, run by a shell as systemd does."""

import configparser
import fcntl
import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from contract_worlds import Releases, generic_board
from msgspec.structs import replace

from fleetctl.manifest.schema import ServiceManager
from fleetctl.store import BlobStore

GOOD, TRIAL = "a" * 64, "b" * 64


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A board's folders, with a release that was confirmed and another on trial."""
    root = tmp_path / "root of a board"
    for release in (GOOD, TRIAL):
        (root / "releases" / release / "runtime").mkdir(parents=True)
    (root / "state").mkdir()
    (root / "current").symlink_to(f"releases/{TRIAL}")
    return root


@pytest.fixture
def line(root: Path, tmp_path: Path) -> list[str]:
    """`ExecStartPre` of a rendered release, whose Python is a program that says what it is asked."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    board = replace(
        generic_board("luxor-01"), root=str(root), python=str(python), service=ServiceManager.SYSTEMD
    )
    order = Releases(BlobStore(tmp_path / "store")).order(board)
    ref = order.release.files["unit/fleetctl-serve.service"]
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(BlobStore(order.blobs).get(ref.sha256).decode())
    return [word.replace("$$", "$") for word in shlex.split(unit["Service"]["ExecStartPre"].lstrip("+"))]


def started(line: list[str], path: str = os.environ["PATH"]) -> str:
    done = subprocess.run(line, capture_output=True, text=True, check=True, env={"PATH": path})
    return done.stdout.strip()


@contextmanager
def held(root: Path) -> Iterator[None]:
    """The board's lock, as a verb holds it."""
    with (root / "state" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def asked(root: Path, release: str) -> str:
    return f"{root}/{release}/runtime/activate.py recover --root {root} --before-start"


def test_the_release_confirmed_last_sees_that_the_link_is_safe(root: Path, line: list[str]) -> None:
    """That on trial may be what is wrong; where none was confirmed there is no other."""
    assert asked(root, "current") == started(line)
    (root / "state" / "good").write_text(f"{GOOD}\n")
    assert asked(root, f"releases/{GOOD}") == started(line)


def test_no_python_is_started_while_a_verb_is_at_work(root: Path, line: list[str]) -> None:
    """Whoever holds the lock starts the service; a lock that somebody held says nothing."""
    with held(root):
        assert started(line) == ""
    assert asked(root, "current") == started(line)


def test_a_board_without_flock_asks_python(root: Path, line: list[str], tmp_path: Path) -> None:
    """Which finds the lock held by itself."""
    (tmp_path / "nothing").mkdir()
    with held(root):
        assert asked(root, "current") == started(line, path=str(tmp_path / "nothing"))


def test_without_the_interpreter_that_serves_another_is_asked(
    root: Path, line: list[str], tmp_path: Path
) -> None:
    """An upgrade of the system took it away; whichever `python3` there is can go back to that of before."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "python").rename(tmp_path / "bin" / "python3")

    assert asked(root, "current") == started(line, path=f"{tmp_path / 'bin'}:{os.environ['PATH']}")

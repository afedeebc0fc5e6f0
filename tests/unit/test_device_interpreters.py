"""Another interpreter for a board that serves: it proves its release anew, or goes back to the one before."""

import hashlib
import json
import site
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
from board_wheels import real_wheels, request_of, tar_of
from tiny_board import TinyBoard, TinyRelease, tiny_release

from fleetctl.device.environment import environment_name


@pytest.fixture(scope="module")
def wheels() -> dict[str, bytes]:
    return real_wheels()


def lay_out(board: TinyBoard, name: str, line: str = "") -> dict[str, bytes]:
    """Have an environment lie on a board as `prepare` would make it, which takes long, of the wheels that
    this returns; `line` is one of Python that it runs at its start."""
    wheels = {f"{name}-1.0-py3-none-any.whl": name.encode()}
    digests = {wheel: hashlib.sha256(data).hexdigest() for wheel, data in wheels.items()}
    path = board.root / "environments" / environment_name(digests)
    make_venv(path, "\n".join([*(site.getsitepackages() if line else ()), line]))
    record = {"wheels": digests, "python": list(sys.version_info[:3])}
    (path / "fleetctl.json").write_text(json.dumps(record))
    return wheels


def make_venv(path: Path, lines: str) -> None:
    venv.create(path, symlinks=True)
    (next(path.glob("lib/python*/site-packages")) / "able.pth").write_text(lines + "\n")


def able(board: TinyBoard, name: str) -> dict[str, bytes]:
    """An environment that has the packages of this one, and notes whom it started."""
    return lay_out(
        board, name, f"import os; open({str(started(board))!r}, 'a').write('{name} %d,' % os.getpid())"
    )


def started(board: TinyBoard) -> Path:
    return board.root.parent / "started"


def served_with(board: TinyBoard) -> str:
    """Which environment the service was started with."""
    pid = str(board.healthz()["pid"])
    return next(
        name
        for name, by in (line.split() for line in started(board).read_text().split(",") if line)
        if by == pid
    )


def prepare(board: TinyBoard, wheels: dict[str, bytes], **more: Any) -> dict[str, Any]:
    payload = tar_of(wheels)
    return board.ask("prepare", request_of(wheels, bundle_bytes=len(payload), proof=""), payload, **more)


def release_on(board: TinyBoard) -> TinyRelease:
    """A release that is served with the interpreter that `prepare` makes."""
    made = tiny_release(board.port)
    return made.with_json("config/service.json", python=str(board.root / "venv" / "bin" / "python"))


@pytest.mark.parametrize("killed_at", ["", "environment-made", "proof-demanded"])
def test_another_interpreter_has_the_release_proved_again(board: TinyBoard, killed_at: str) -> None:
    """The service runs on with the one before, so the board is marked as one to be proved; what proves it
    starts the service with the new one. Killed on the way, the next time does."""
    release, others = release_on(board), able(board, "two")
    prepare(board, able(board, "one"))
    board.install(release)
    before, mark = board.healthz()["pid"], board.root / "state" / "repaired"
    if killed_at:
        assert {} == prepare(board, others, crash_at=killed_at)
    said = prepare(board, others)

    assert ["python environment", "release to be proved again"] == said["changed"]
    assert (before, release.digest) == (board.healthz()["pid"], mark.read_text().splitlines()[0])
    assert board.ask("observe")["repaired"]
    assert [] == prepare(board, others)["changed"]
    board.install(release)
    assert "two" == served_with(board)
    assert (False, False) == (mark.exists(), board.ask("observe")["repaired"])


@pytest.fixture
def spoiled(board: TinyBoard) -> TinyRelease:
    """A release that is served, though the interpreter was changed since for one that cannot serve."""
    release = release_on(board)
    prepare(board, able(board, "one"))
    board.install(release)
    prepare(board, lay_out(board, "without-numpy"))
    return release


@pytest.mark.parametrize(
    ("threshold", "killed_at"), [(None, ""), (0.9, ""), (None, "reversal-recorded"), (0.9, "serving-again")]
)
def test_from_an_interpreter_that_cannot_serve_a_board_goes_back(
    board: TinyBoard, spoiled: TinyRelease, threshold: float | None, killed_at: str
) -> None:
    """It shows when the release is proved, and the interpreter that it was proved with serves again."""
    tried = spoiled if threshold is None else spoiled.with_json("config/serve.json", threshold=threshold)
    reply = board.activate(tried, crash_at=killed_at)
    if killed_at:  # the watcher too
        board.ask("recover")
    receipt = board.ask("history", {"last": 1})["receipts"][0]

    assert ({} if killed_at else "reverted") == (reply and reply["state"])
    assert "the board went back to the Python environment of before, too" == receipt["reasons"][-1]
    assert ("reverted", spoiled.digest, "one") == (receipt["state"], board.serves(), served_with(board))
    assert not board.ask("observe")["repaired"]
    assert "unchanged" == board.activate(spoiled)["state"]


@pytest.mark.parametrize("is_on_trial", [False, True], ids=["at rest", "on trial"])
def test_a_board_that_boots_into_an_interpreter_that_cannot_serve_goes_back(
    board: TinyBoard, spoiled: TinyRelease, is_on_trial: bool
) -> None:
    """It serves what it served before, with what it served it with."""
    if is_on_trial:
        board.activate(spoiled.with_json("config/serve.json", threshold=0.9), crash_at="pending-written")
    board.cut_power()
    board.ask("recover")

    assert (spoiled.digest, "one") == (board.serves(), served_with(board))


def test_a_board_that_boots_into_no_interpreter_at_all_goes_back(
    board: TinyBoard, spoiled: TinyRelease
) -> None:
    """A failing card took it away, or power went while one made by hand was set aside."""
    (board.root / "venv" / "bin" / "python").unlink()
    board.cut_power()

    assert board.ask("recover")["ok"]
    assert (spoiled.digest, "one") == (board.serves(), served_with(board))


def test_a_start_after_a_trial_that_was_cut_short_has_the_interpreter_of_before(
    board: TinyBoard, spoiled: TinyRelease
) -> None:
    """The service manager starts it before anybody can see whether the new one serves."""
    now = (board.root / "venv").readlink()
    board.activate(spoiled.with_json("config/serve.json", threshold=0.9), crash_at="pending-written")
    board.cut_power()
    board.ask("recover", options=["--before-start"])
    before = (board.root / "venv").readlink()

    assert now != before
    assert (board.root / before / "lib").is_dir()


def test_what_was_never_proved_is_nothing_to_go_back_to(board: TinyBoard, spoiled: TinyRelease) -> None:
    """Two changes of the interpreter, neither of which can serve: the board goes back over both."""
    prepare(board, lay_out(board, "neither-has-this"))

    assert ("reverted", "one") == (board.activate(spoiled)["state"], served_with(board))


def test_an_environment_made_by_hand_serves_again(board: TinyBoard) -> None:
    """Set aside for one that cannot serve, it is what the board goes back to."""
    release, link = release_on(board), board.root / "venv"
    make_venv(link, "\n".join(site.getsitepackages()))
    board.install(release)
    prepare(board, lay_out(board, "without-numpy"))

    assert "reverted" == board.activate(release)["state"]
    assert ("venv.before.1", release.digest) == (str(link.readlink()), board.serves())


def test_no_release_is_confirmed_for_an_interpreter_it_never_ran_on(
    board: TinyBoard, wheels: dict[str, bytes]
) -> None:
    """While one is on probation, `venv` stays; afterwards it may change."""
    release = tiny_release(board.port)
    board.activate(release)
    assert "busy" == prepare(board, wheels)["code"]
    assert not (board.root / "venv").exists()
    board.confirm(release)

    assert prepare(board, wheels)["ok"]

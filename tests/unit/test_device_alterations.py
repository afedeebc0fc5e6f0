"""What somebody changes on a board behind our back is told by the board, and put right by its own release."""

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_board import TinyBoard, TinyRelease, powered, tiny_release

OWNER = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyBoard]:
    """A board that keeps and serves a release."""
    with powered(tmp_path_factory.mktemp("altered") / "root") as made:
        made.install(tiny_release(made.port))
        yield made


@pytest.fixture
def release(board: TinyBoard) -> TinyRelease:
    return tiny_release(board.port)


def write(board: TinyBoard, path: str, text: str) -> Path:
    """Replace a file of the current release, as an editor does, with a time long ago."""
    target = board.root / "current" / path
    target.unlink()
    target.write_text(text)
    os.utime(target, (0, 86400))
    return target


def test_a_board_tells_what_was_altered(board: TinyBoard, release: TinyRelease) -> None:
    """The changed file with its age and owner, the deleted one without an owner, the others not at all."""
    assert {} == board.ask("observe")["altered"]
    write(board, "config/serve.json", release.files["config/serve.json"].decode() + " ")
    (board.root / "current" / "model" / "golden.npy").unlink()
    told = board.ask("observe")["altered"]

    assert ["config/serve.json", "model/golden.npy"] == sorted(told)
    assert ("1970-01-02T00:00:00Z", OWNER) == tuple(told["config/serve.json"][k] for k in ("since", "by"))
    assert (None, None) == tuple(told["model/golden.npy"][key] for key in ("sha256", "by"))


@pytest.mark.parametrize("killed_at", ["", "staged", "pending-written"])
def test_the_release_itself_puts_it_right(board: TinyBoard, release: TinyRelease, killed_at: str) -> None:
    """Bringing the same release again repairs the file, and starts the service anew: it may have loaded the
    altered one. Killed on the way, the next time does."""
    write(board, "config/serve.json", "{}")
    pid = board.healthz()["pid"]
    if killed_at:
        assert {} == board.activate(release, crash_at=killed_at)
    board.install(release)

    assert {} == board.ask("observe")["altered"]
    assert pid != board.healthz()["pid"]
    assert ("unchanged", []) == (board.activate(release)["state"], list(board.root.glob("state/repaired")))

"""The board's code runs on the oldest Python a board has, and needs nothing of ours there."""

import ast
import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_board import DEVICE, TinyBoard, powered, tiny_release

from fleetctl.transports import wire
from fleetctl.transports.board_script import VERBS, modules, whole

MODULES = sorted(DEVICE.glob("*.py"))
WITHOUT_NUMPY = {"checks", "detection_terms", "golden_answers", "judge", "loader", "npy", "probe", "scenes"}
ALLOWED = {"numpy", *sys.stdlib_module_names}


def test_python_3_7_is_enough() -> None:
    """Mendel Linux on a Coral board has Python 3.7."""
    argv = [sys.executable, "-c", "import vermin; vermin.main()", "-t=3.7-", "--violations", str(DEVICE)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def imported(path: Path) -> set[str]:
    """Top-level names of what a module imports, its siblings aside."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_nothing_else_is_imported(path: Path) -> None:
    """The standard library and numpy; what speaks to transports or judges, not even that."""
    names = imported(path)
    if path.stem == "edge_client":  # where a container brings it along
        names.discard("azure")
    if path.stem in {*modules(), *WITHOUT_NUMPY}:
        assert "numpy" not in names
    assert names <= ALLOWED


@pytest.mark.parametrize("name", modules())
def test_siblings_are_imported_at_once(name: str) -> None:
    """A verb may delete the release that it runs from: nothing of ours is left to import in its midst."""
    tree = ast.parse((DEVICE / f"{name}.py").read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    inside = [node for function in functions for node in ast.walk(function)]

    assert [] == [node.module for node in inside if isinstance(node, ast.ImportFrom) and node.level]


def old_python() -> str | None:
    """A Python 3.7 or 3.8, where this machine has one."""
    pyenv = Path.home() / ".pyenv" / "versions"
    candidates = [
        shutil.which("python3.7"),
        shutil.which("python3.8"),
        *map(str, pyenv.glob("3.[78].*/bin/python3")),
    ]
    for candidate in candidates:
        if candidate and subprocess.run([candidate, "-c", "pass"], capture_output=True).returncode == 0:
            return candidate
    return None


@pytest.mark.skipif(old_python() is None, reason="no Python 3.7 or 3.8 on this machine")
def test_a_life_on_an_old_python(tmp_path: Path) -> None:
    """The verbs themselves run on an old interpreter, beside a service with one of its own."""
    with powered(tmp_path / "root") as board:
        board.python = old_python() or ""
        release = tiny_release(board.port)
        board.install(release)
        assert board.ask("observe")["service"]["loaded"]["release"] == release.digest
        wrong = release.with_file("model/model.tflite", b"junk")
        assert board.activate(wrong)["state"] == "reverted"
        assert board.serves() == release.digest


@pytest.mark.skipif(old_python() is None, reason="no Python 3.7 or 3.8 on this machine")
@pytest.mark.parametrize("verb", VERBS)
def test_the_sent_script_on_an_old_python(tmp_path: Path, verb: str) -> None:
    """Every verb can be sent to a board with an old interpreter, which answers and complains of nothing."""
    script = whole()
    command = [old_python() or "", "-W", "error", *wire.command(verb, str(tmp_path), script)[1:]]
    done = subprocess.run(command, input=wire.standard_input(script, {}), capture_output=True)

    with contextlib.suppress(wire.BoardSaidNo):
        wire.parse_reply(verb, done.stdout)
    assert b"" == done.stderr


def test_boards_are_plain_folders(tmp_path: Path) -> None:
    """Asking a board that was never touched leaves it untouched."""
    board = TinyBoard(tmp_path / "root")
    assert board.ask("missing", {"blobs": ["0" * 64]})["missing"] == ["0" * 64]
    assert board.ask("observe")["foreign"] is False
    assert not board.root.exists()

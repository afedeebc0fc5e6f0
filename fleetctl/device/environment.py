"""The interpreter that serves, with its packages, made on the board from wheels that the controller sends.

An environment is a folder of `environments/`, named after the interpreter and wheels it was made of, and
`venv` is a link to one: it changes by one rename, and a board that loses power meanwhile has the old one.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from typing import Any, Dict, List, Mapping, Set

from .board_error import BoardError
from .call import Checkpoint
from .commands import run
from .durable import atomic_write, fsync_directory, swap_link
from .files import names, read_json, to_json
from .layout import Board
from .repaired import demand_proof, linked, venv

WHEEL = re.compile(r"[A-Za-z0-9_.+!-]{1,200}\.whl\Z")
PATIENCE_S = 1200  # an emulated or slow board takes minutes to unpack
_RECORD = "fleetctl.json"
# numpy buries what went wrong under a page of advice: the first error of a chain is what a person can act on.
_PROVE = """
import sys
try:
    exec(sys.argv[1])
except Exception as error:
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    sys.exit("%s: %s" % (type(error).__name__, " ".join(str(error).split())))
"""


def described_environment(board: Board) -> Dict[str, Any]:
    """The wheels (file name to sha256) that `venv` was made of; null where it is absent or not our own."""
    record = read_json(os.path.join(venv(board), _RECORD))
    wheels = record.get("wheels")
    works = isinstance(wheels, dict) and is_whole(venv(board))
    return {
        "present": os.path.lexists(venv(board)),
        "wheels": wheels if works else None,
        "python": record.get("python") if works else None,
    }


def ensure_environment(
    board: Board, wheels: Mapping[str, str], folder: str, proof: str, checkpoint: Checkpoint
) -> bool:
    """Have `venv` be an environment of exactly these wheels; true if that took a change.

    Args:
        wheels: file name to sha256; pip's own wheel is among them.
        folder: where the wheel files lie.
        proof: a Python statement that must succeed in it.

    Raises:
        BoardError: `environment-failed`, with pip's last words; `venv` is as it was.
    """
    name = environment_name(wheels)
    path = environment_path(board, name)
    if is_in_use(board, name):
        checkpoint("environment-made")
        return False
    if not is_whole(path):
        make_environment(path, wheels, folder, proof)
    checkpoint("environment-made")
    is_by_hand = os.path.lexists(venv(board)) and not os.path.islink(venv(board))
    before = name_aside(venv(board)) if is_by_hand else linked(board)
    if board.current is not None:
        # What serves runs on with the interpreter of before, and would meet the new one at the next boot
        # only. Before the link: whatever ends this in between, the board is proved once too often.
        demand_proof(board, board.current, None if is_linked(board, name) else before)
    checkpoint("proof-demanded")
    if is_linked(board, name):
        return True
    if is_by_hand:
        set_aside(venv(board))
    swap_link(venv(board), os.path.join("environments", name))
    return True


def is_in_use(board: Board, name: str) -> bool:
    """Whether `venv` is that environment, and whole: then there is nothing to do."""
    return is_linked(board, name) and is_whole(environment_path(board, name))


def is_linked(board: Board, name: str) -> bool:
    return linked(board) == os.path.join("environments", name)


def loaded_environments(folder: str) -> Set[str]:
    """Names of those in `folder` that a process has something of in memory, such as numpy's libraries.

    Its command line says `venv`, which may be another by now, and its program is the system's Python.
    """
    inside = os.path.realpath(folder) + os.sep
    found: Set[str] = set()
    for pid in filter(str.isdigit, names("/proc")):
        try:
            with open("/proc/%s/maps" % pid, encoding="utf-8", errors="surrogateescape") as stream:
                starts = [(line, line.find(inside)) for line in stream]
        except OSError:  # it ended, or is another user's and we are not root: no service of ours
            continue
        found.update(line[at + len(inside) :].split(os.sep)[0] for line, at in starts if at >= 0)
    return found


def environment_name(wheels: Mapping[str, str]) -> str:
    made_of = to_json({"python": list(sys.version_info[:3]), "wheels": dict(wheels)})
    return hashlib.sha256(made_of).hexdigest()[:16]


def environment_path(board: Board, name: str) -> str:
    return os.path.join(board.root, "environments", name)


def is_whole(path: str) -> bool:
    """Whether an environment was made to its end, and still has its interpreter."""
    return os.path.isfile(os.path.join(path, _RECORD)) and os.access(
        os.path.join(path, "bin", "python"), os.X_OK
    )


def is_sound(path: str, proof: str) -> bool:
    """Whether an environment still has its packages; one that cannot say, memory being short, has them."""
    import subprocess  # slow to import: only where there is an environment

    argv = [os.path.join(path, "bin", "python"), "-I", "-c", _PROVE, proof]
    nowhere = subprocess.DEVNULL
    try:
        done = subprocess.run(argv, stdin=nowhere, stdout=nowhere, stderr=nowhere, timeout=PATIENCE_S)
    except (OSError, subprocess.TimeoutExpired):
        return True
    return done.returncode != 1


def disown(path: str) -> None:
    """Have an environment count as nothing, so that it is made anew."""
    os.remove(os.path.join(path, _RECORD))


def make_environment(path: str, wheels: Mapping[str, str], folder: str, proof: str) -> None:
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        fill_environment(path, wheels, folder, proof)
    except (BoardError, OSError):
        shutil.rmtree(path, ignore_errors=True)  # what serves needs the room, if that is what was short
        raise


def fill_environment(path: str, wheels: Mapping[str, str], folder: str, proof: str) -> None:
    # In its final place, for its programs name it; without its record it counts as nothing.
    _run([sys.executable, "-m", "venv", "--without-pip", path])
    python = os.path.join(path, "bin", "python")
    files = [os.path.join(folder, name) for name in sorted(wheels)]
    pip = [file for file in files if os.path.basename(file).startswith("pip-")]
    if not pip:
        raise BoardError("bad-request", "no wheel of pip is among the wheels")
    packages = [file for file in files if file not in pip]
    # pip runs from its own wheel: a board may have neither pip nor ensurepip.
    install = ["install", "--no-index", "--no-deps", "--no-compile"]
    _run([python, os.path.join(pip[0], "pip"), *install, *packages])
    _run([python, "-I", "-c", _PROVE, proof])
    record = {"wheels": dict(wheels), "python": list(sys.version_info[:3])}
    os.sync()  # tens of thousands of small files: before the record says that they are whole
    atomic_write(os.path.join(path, _RECORD), to_json(record))


def set_aside(path: str) -> None:
    """What somebody made by hand keeps its bytes, under another name."""
    folder = os.path.dirname(path)
    os.rename(path, os.path.join(folder, name_aside(path)))
    fsync_directory(folder)


def name_aside(path: str) -> str:
    number = 1
    while os.path.lexists("%s.before.%d" % (path, number)):
        number += 1
    return "%s.before.%d" % (os.path.basename(path), number)


def _run(argv: List[str]) -> None:
    run(argv, "environment-failed", PATIENCE_S)

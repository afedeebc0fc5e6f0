"""The board verbs that `fleetctl bootstrap` asks: what a board is, and making it fit, on a folder of ours."""

import io
import json
import mmap
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from board_wheels import PROOF, real_wheels, request_of, tar_of, toy_wheel

from fleetctl.device.activate import main
from fleetctl.device.layout import Board
from fleetctl.device.prepare_verb import drop_old_environments
from fleetctl.transports import dialogue, wire
from fleetctl.transports.orders import Preparation


@pytest.fixture(scope="module")
def wheels() -> dict[str, bytes]:
    return real_wheels()


def ask(
    root: Path, verb: str, request: dict[str, Any], capsys: pytest.CaptureFixture[str], payload: bytes = b""
) -> dict[str, Any]:
    line = json.dumps({**request, "bundle_bytes": len(payload)}).encode() + b"\n"
    units = root.parent / "etc" / "systemd" / "system"
    main([verb, "--root", str(root)], io.BytesIO(line + payload), unit_folder=str(units))
    reply: dict[str, Any] = json.loads(capsys.readouterr().out)
    return reply


def test_a_board_says_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The words that decide which wheels a board gets are there, and asking changes nothing."""
    root = tmp_path / "board"
    said = ask(root, "describe", {"user": "nobody-of-that-name", "python": sys.executable}, capsys)

    assert {"path": sys.executable, "exists": True} == {
        k: said["platform"]["python"][k] for k in ("path", "exists")
    }
    assert [True, list(sys.version_info[:3])] == [said["ok"], said["python"]]
    assert {"present": False, "wheels": None, "python": None} == said["environment"]
    assert not said["user"]["present"]
    assert not root.exists()


def test_an_environment_is_made_of_wheels_and_then_left_alone(
    tmp_path: Path, wheels: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """The first time takes a change and leaves an interpreter with the package; the second changes nothing,
    without the wheels being sent again."""
    root = tmp_path / "board"
    first = ask(root, "prepare", request_of(wheels), capsys, tar_of(wheels))
    second = ask(root, "prepare", request_of(wheels), capsys)

    assert (["python environment"], []) == (first["changed"], second["changed"])
    assert set(wheels) == set(second["description"]["environment"]["wheels"])
    subprocess.run([root / "venv" / "bin" / "python", "-I", "-c", PROOF], check=True)


def test_an_environment_without_its_interpreter_is_made_anew(
    tmp_path: Path, wheels: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """`describe` says that there is none; preparing the board again does not take its record for it."""
    root = tmp_path / "board"
    ask(root, "prepare", request_of(wheels), capsys, tar_of(wheels))
    python = root / "venv" / "bin" / "python"
    python.unlink()
    assert ask(root, "describe", {}, capsys)["environment"]["wheels"] is None
    again = ask(root, "prepare", request_of(wheels), capsys, tar_of(wheels))

    assert ["python environment"] == again["changed"]
    subprocess.run([python, "-I", "-c", PROOF], check=True)


def test_an_environment_of_another_python_is_made_anew(
    tmp_path: Path, wheels: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """An update from 3.11.2 to 3.11.9 changes no wheel's name: they are sent again all the same."""
    root = tmp_path / "board"
    ask(root, "prepare", request_of(wheels), capsys, tar_of(wheels))
    made_by_another(root)
    files = [write(tmp_path / name, data) for name, data in wheels.items()]
    board = talks(root, capsys)
    first, second = (dialogue.prepare(Preparation(request_of(wheels), tuple(files)), board) for _ in range(2))

    assert (["python environment"], []) == (first["changed"], second["changed"])


def test_an_environment_that_lost_a_package_is_made_anew(
    tmp_path: Path, wheels: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """A failing card or somebody took it; its record says otherwise, so the wheels are asked for."""
    root = tmp_path / "board"
    ask(root, "prepare", request_of(wheels), capsys, tar_of(wheels))
    (lost,) = (root / "venv").glob("lib/python*/site-packages/toy.py")
    lost.unlink()
    files = [write(tmp_path / name, data) for name, data in wheels.items()]
    preparation = Preparation(request_of(wheels), tuple(files))
    first, second = (dialogue.prepare(preparation, talks(root, capsys)) for _ in range(2))

    assert (["python environment"], []) == (first["changed"], second["changed"])
    assert lost.exists()


def talks(root: Path, capsys: pytest.CaptureFixture[str]) -> dialogue.Ask:
    """A board that answers as over a transport."""

    def board(verb: str, request: Mapping[str, Any], payload: bytes = b"") -> Mapping[str, Any]:
        said = ask(root, verb, dict(request), capsys, payload)
        return wire.parse_reply(verb, json.dumps(said).encode())

    return board


def made_by_another(root: Path) -> None:
    """Have the environment of a board be as another Python of the same minor version made it."""
    record = root / "venv" / "fleetctl.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "python": [3, sys.version_info[1], 99]}))
    other = root / "environments" / ("0" * 16)
    (root / "venv").resolve().rename(other)
    (root / "venv").unlink()
    (root / "venv").symlink_to(other.relative_to(root))


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_file_in_the_place_of_an_environment_is_set_aside(
    tmp_path: Path, wheels: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing that somebody put there is lost, whatever it is."""
    root = tmp_path / "board"
    root.mkdir()
    (root / "venv").write_text("mine")
    said = ask(root, "prepare", request_of(wheels), capsys, tar_of(wheels))

    assert ["python environment"] == said["changed"]
    assert "mine" == (root / "venv.before.1").read_text()


def test_an_environment_made_by_hand_is_set_aside(
    tmp_path: Path, wheels: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody's own `venv` keeps its bytes under another name."""
    root = tmp_path / "board"
    (root / "venv").mkdir(parents=True)
    (root / "venv" / "mine").write_text("mine")
    said = ask(root, "prepare", request_of(wheels), capsys, tar_of(wheels))

    assert ["python environment"] == said["changed"]
    assert "mine" == (root / "venv.before.1" / "mine").read_text()


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda files: {**files, "toy-1.0-py3-none-any.whl": toy_wheel()[:-1] + b"x"}, "bad-bundle"),
        (lambda files: {**files, "evil-1.0-py3-none-any.whl": b"x"}, "bad-bundle"),
        (lambda _: {}, "missing-blobs"),
    ],
    ids=["altered on the way", "one that was not asked for", "none at all"],
)
def test_wheels_are_checked(
    spoil: Any, code: str, tmp_path: Path, wheels: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not, byte for byte, what was announced never becomes an environment."""
    root = tmp_path / "board"
    said = ask(root, "prepare", request_of(wheels), capsys, tar_of(spoil(wheels)))

    assert (False, code) == (said["ok"], said["code"])
    assert not (root / "venv").exists()


def test_an_environment_that_does_not_work_is_not_used(
    tmp_path: Path, wheels: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """When the proof fails, the interpreter that was there stays."""
    root = tmp_path / "board"
    ask(root, "prepare", request_of(wheels), capsys, tar_of(wheels))
    before = (root / "venv").readlink()
    other = {**wheels, "toy-1.0-py3-none-any.whl": toy_wheel()}
    pip = next(name for name in wheels if name.startswith("pip-"))
    asked = request_of({pip: other[pip]})
    said = ask(root, "prepare", asked, capsys, tar_of({pip: other[pip]}))

    assert (False, "environment-failed") == (said["ok"], said["code"])
    assert before == (root / "venv").readlink()
    assert [before.name] == [path.name for path in (root / "environments").iterdir()]
    assert not (root / "wheelhouse").exists(), "what came to nothing keeps its room"


def test_what_went_wrong_first_is_said(
    tmp_path: Path, wheels: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """numpy answers the error of its library with a page of advice, whose last line helps nobody."""
    proof = """
try:
    raise ImportError('libtoy.so: failed to map segment')
except ImportError as error:
    raise ImportError('please\\nread this') from error
"""
    said = ask(tmp_path / "board", "prepare", request_of(wheels, proof=proof), capsys, tar_of(wheels))

    assert "`python`: ImportError: libtoy.so: failed to map segment" == said["error"]


def test_a_program_that_the_kernel_ended_is_said(
    tmp_path: Path, wheels: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """Where memory is short it dies without a word, and the board says which signal it was."""
    asked = request_of(wheels, proof="import os; os.kill(os.getpid(), 9)")
    said = ask(tmp_path / "board", "prepare", asked, capsys, tar_of(wheels))

    assert "environment-failed" == said["code"]
    assert "ended by signal 9: is there memory enough" in said["error"]


def test_the_udev_rule_is_written_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A Coral's rule goes beside systemd's folder, and a second time changes nothing."""
    root = tmp_path / "board"
    request = request_of({}, udev=True)
    said = [ask(root, "prepare", request, capsys)["changed"] for _ in range(2)]

    assert [["udev rule"], []] == said
    rules = tmp_path / "etc" / "udev" / "rules.d" / "60-fleetctl-edgetpu.rules"
    assert "1a6e" in rules.read_text()


@pytest.mark.parametrize(
    "request_",
    [
        {"wheels": []},
        {"wheels": {"../evil.whl": ["0" * 64, 1]}},
        {"wheels": {"a.whl": ["0", 1]}},
        {"wheels": {"a.whl": ["0" * 64, True]}},
        {"user": "root; rm -rf /"},
        {"user": 7},
    ],
    ids=str,
)
def test_malformed_requests_are_refused(
    request_: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing but names, digests and sizes is taken for such."""
    said = ask(tmp_path / "board", "prepare", {"user": "", "wheels": {}, **request_}, capsys)

    assert "bad-request" == said["code"]


def test_an_environment_that_was_never_finished_gives_its_room_back(
    tmp_path: Path, wheels: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """A board that lost power in its midst got other wheels since; the one before stays."""
    root = tmp_path / "board"
    for name in ("unfinished", "before"):
        (root / "environments" / name / "bin").mkdir(parents=True)
    (root / "environments" / "before" / "bin" / "python").symlink_to(sys.executable)
    (root / "environments" / "before" / "fleetctl.json").write_text("{}")
    os.utime(root / "environments" / "before", (1, 1))
    said = ask(root, "prepare", request_of(wheels), capsys, tar_of(wheels))

    assert said["ok"]
    assert {"before", (root / "venv").readlink().name} == {
        path.name for path in (root / "environments").iterdir()
    }


def test_an_environment_that_a_process_runs_from_stays(tmp_path: Path) -> None:
    """A third one makes room of the first only where nothing has its libraries in memory any more."""
    folder, link = tmp_path / "environments", tmp_path / "venv"
    for second, name in enumerate("ABCD"):
        (folder / name).mkdir(parents=True)
        (folder / name / "numpy.so").write_bytes(b"x")
        os.utime(folder / name, (second, second))
    link.symlink_to("environments/D")
    with (folder / "A" / "numpy.so").open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
        drop_old_environments(Board(str(tmp_path)), "D")
        assert ["A", "C", "D"] == sorted(path.name for path in folder.iterdir())
    drop_old_environments(Board(str(tmp_path)), "D")

    assert ["C", "D"] == sorted(path.name for path in folder.iterdir())


def test_a_32_bit_system_on_a_64_bit_kernel_gets_32_bit_wheels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a Raspberry Pi 4 boots a 32-bit system; the machine is told as `observe` tells it."""
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "pi", "6.6", "#1", "aarch64")))
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)

    assert "armv7l" == ask(tmp_path / "board", "describe", {}, capsys)["machine"]

"""The board verbs that `fleetctl bootstrap` asks: what a board is, and making it fit, on a folder of ours."""

import ensurepip
import hashlib
import io
import json
import mmap
import os
import site
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_board import TinyBoard, TinyRelease, powered, tiny_release

from fleetctl.device.activate import main
from fleetctl.device.prepare_verb import drop_old_environments

PROOF = "import toy; assert toy.ANSWER == 42"


@pytest.fixture(scope="module")
def wheels() -> dict[str, bytes]:
    """pip's own wheel, as Python brings it, and a package of three lines."""
    # Debian keeps them apart from Python, and says where.
    places = [Path(ensurepip.__file__).parent / "_bundled", Path("/usr/share/python-wheels")]
    found = [wheel for place in places for wheel in place.glob("pip-*.whl")]
    if not found:
        pytest.skip(f"this Python brings no wheel of pip: looked in {places}")
    bundled = found[0]
    return {bundled.name: bundled.read_bytes(), "toy-1.0-py3-none-any.whl": toy_wheel()}


def toy_wheel(**more: str) -> bytes:
    """A wheel of one module; `more` are files beside it, by the letters of their names before `.pth`."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("toy.py", "ANSWER = 42\n")
        for name, text in more.items():
            archive.writestr(f"{name}.pth", text)
        archive.writestr("toy-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
        archive.writestr(
            "toy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("toy-1.0.dist-info/RECORD", "toy.py,,\ntoy-1.0.dist-info/METADATA,,\n")
    return stream.getvalue()


def tar_of(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def ask(
    root: Path, verb: str, request: dict[str, Any], capsys: pytest.CaptureFixture[str], payload: bytes = b""
) -> dict[str, Any]:
    line = json.dumps({**request, "bundle_bytes": len(payload)}).encode() + b"\n"
    units = root.parent / "etc" / "systemd" / "system"
    main([verb, "--root", str(root)], io.BytesIO(line + payload), unit_folder=str(units))
    reply: dict[str, Any] = json.loads(capsys.readouterr().out)
    return reply


def request_of(wheels: dict[str, bytes], **more: Any) -> dict[str, Any]:
    asked = {name: [hashlib.sha256(data).hexdigest(), len(data)] for name, data in wheels.items()}
    return {"user": "", "udev": False, "wheels": asked, "proof": PROOF, **more}


def test_a_board_says_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The words that decide which wheels a board gets are there, and asking changes nothing."""
    root = tmp_path / "board"
    said = ask(root, "describe", {"user": "nobody-of-that-name"}, capsys)

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


@pytest.fixture
def board(tmp_path: Path) -> Iterator[TinyBoard]:
    with powered(tmp_path / "root") as made:
        yield made


def able_wheel(started: Path, name: str) -> bytes:
    """A wheel whose environment finds the packages of this one, and notes whom it started."""
    paths = "\n".join(site.getsitepackages())
    return toy_wheel(
        able=f"{paths}\nimport os; open({str(started)!r}, 'a').write('{name} %d,' % os.getpid())\n"
    )


def prepare(board: TinyBoard, wheels: dict[str, bytes], **more: Any) -> dict[str, Any]:
    payload = tar_of(wheels)
    return board.ask("prepare", request_of(wheels, bundle_bytes=len(payload)), payload, **more)


def release_on(board: TinyBoard) -> TinyRelease:
    """A release that is served with the interpreter that `prepare` makes."""
    made = tiny_release(board.port)
    return made.with_json("config/service.json", python=str(board.root / "venv" / "bin" / "python"))


@pytest.mark.parametrize("killed_at", ["", "environment-made", "proof-demanded"])
def test_another_interpreter_has_the_release_proved_again(
    board: TinyBoard, tmp_path: Path, wheels: dict[str, bytes], killed_at: str
) -> None:
    """The service runs on with the one before, so the board is marked as one to be proved; what proves it
    starts the service with the new one. Killed on the way, the next time does."""
    toy, started, release = "toy-1.0-py3-none-any.whl", tmp_path / "started", release_on(board)
    prepare(board, {**wheels, toy: able_wheel(started, "one")})
    board.install(release)
    before, mark = board.healthz()["pid"], board.root / "state" / "repaired"
    others = {**wheels, toy: able_wheel(started, "two")}
    if killed_at:
        assert {} == prepare(board, others, crash_at=killed_at)
    said = prepare(board, others)

    assert ["python environment", "release to be proved again"] == said["changed"]
    assert (before, f"{release.digest}\n") == (board.healthz()["pid"], mark.read_text())
    assert board.ask("observe")["repaired"]
    assert [] == prepare(board, others)["changed"]
    board.install(release)
    assert f"two {board.healthz()['pid']}" in started.read_text().split(",")
    assert (False, False) == (mark.exists(), board.ask("observe")["repaired"])


def test_an_interpreter_that_cannot_serve_shows_when_it_is_proved(
    board: TinyBoard, tmp_path: Path, wheels: dict[str, bytes]
) -> None:
    """Not at the next boot."""
    toy, release = "toy-1.0-py3-none-any.whl", release_on(board)
    prepare(board, {**wheels, toy: able_wheel(tmp_path / "started", "one")})
    board.install(release)
    prepare(board, wheels)  # without numpy

    assert "revert_failed" == board.activate(release)["state"]


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


def test_an_environment_that_a_process_runs_from_stays(tmp_path: Path) -> None:
    """A third one makes room of the first only where nothing has its libraries in memory any more."""
    folder, link = tmp_path / "environments", tmp_path / "venv"
    for second, name in enumerate("ABCD"):
        (folder / name).mkdir(parents=True)
        (folder / name / "numpy.so").write_bytes(b"x")
        os.utime(folder / name, (second, second))
    link.symlink_to("environments/D")
    with (folder / "A" / "numpy.so").open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
        drop_old_environments(str(tmp_path), "D", str(link))
        assert ["A", "C", "D"] == sorted(path.name for path in folder.iterdir())
    drop_old_environments(str(tmp_path), "D", str(link))

    assert ["C", "D"] == sorted(path.name for path in folder.iterdir())


def test_a_32_bit_system_on_a_64_bit_kernel_gets_32_bit_wheels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a Raspberry Pi 4 boots a 32-bit system; the machine is told as `observe` tells it."""
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "pi", "6.6", "#1", "aarch64")))
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)

    assert "armv7l" == ask(tmp_path / "board", "describe", {}, capsys)["machine"]

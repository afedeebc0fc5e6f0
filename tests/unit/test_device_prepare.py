"""The board verbs that `fleetctl bootstrap` asks: what a board is, and making it fit, on a folder of ours."""

import ensurepip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from fleetctl.device.activate import main

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


def toy_wheel() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("toy.py", "ANSWER = 42\n")
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

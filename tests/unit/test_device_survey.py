"""What a board sees of its own interpreter without running it, in folders that look like a board's."""

import os
import sys
from pathlib import Path

import pytest
from tiny_board import TinyBoard

from fleetctl.device.survey import libedgetpu, machine, places_of, survey


def environment(root: Path, *packages: str, shared: bool = False, python: str = "python3.11") -> Path:
    """A virtual environment's interpreter; `packages` are folders and files in its site-packages."""
    (root / "bin").mkdir(parents=True)
    (root / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = {str(shared).lower()}\n"
    )
    site = root / "lib" / python / "site-packages"
    site.mkdir(parents=True)
    for package in packages:
        (site / package).mkdir()
    interpreter = root / "bin" / "python"
    interpreter.touch()
    return interpreter


@pytest.mark.parametrize(
    ("packages", "tflite"),
    [
        (["tflite_runtime-2.14.0.dist-info"], "tflite_runtime 2.14.0"),
        (["tflite_runtime-2.5.0.post1.egg-info"], "tflite_runtime 2.5.0.post1"),
        (["ai_edge_litert-2.3.0.dist-info"], "ai_edge_litert 2.3.0"),
        (["tensorflow-2.15.1.dist-info", "tensorflow_io-0.3.dist-info"], "tensorflow 2.15.1"),
        (["ai_edge_litert-2.3.0.dist-info", "tflite_runtime-2.14.0.dist-info"], "tflite_runtime 2.14.0"),
        (["numpy-1.26.4.dist-info", "tflite_runtime"], ""),
        ([], ""),
        (["our_wheels.pth"], None),
    ],
)
def test_the_runtime_that_a_service_would_find(
    tmp_path: Path, packages: list[str], tflite: str | None
) -> None:
    """The first of the packages that are tried, with its version; empty only where there surely is none."""
    python = environment(tmp_path / "venv", *packages)

    said = survey(str(python))

    assert {"path": str(python), "exists": True, "version": "3.11"} == said["python"]
    assert tflite == said["tflite"]


def test_a_shared_environment_may_hold_more(tmp_path: Path) -> None:
    """Where the system's packages count too, what is not seen here may be there."""
    said = survey(str(environment(tmp_path / "venv", shared=True)))

    assert (True, None) == (said["python"]["exists"], said["tflite"])


def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    """A path that leads nowhere is a fact; so is a link to a Python that was removed."""
    link = tmp_path / "venv" / "bin" / "python"
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "gone")

    assert [False, False] == [
        survey(str(path))["python"]["exists"] for path in (tmp_path / "no" / "python", link)
    ]


@pytest.mark.parametrize("upgraded", [False, True])
def test_an_environment_whose_system_was_upgraded_holds_nothing(upgraded: bool, tmp_path: Path) -> None:
    """Its link leads to the next Python, which does not look where the one before kept its packages."""
    python = environment(tmp_path / "venv", "tflite_runtime-2.14.0.dist-info", python="python3.9")
    system = tmp_path / "usr" / "bin" / ("python3.11" if upgraded else "python3.9")
    system.parent.mkdir(parents=True)
    system.touch()
    python.unlink()
    python.symlink_to(system)
    said = survey(str(python))

    expected = ("3.11", "") if upgraded else ("3.9", "tflite_runtime 2.14.0")
    assert expected == (said["python"]["version"], said["tflite"])
    assert str(system) in places_of(str(python))


def test_a_command_name_is_left_to_who_runs_it() -> None:
    """Another user has another search path: nothing is claimed."""
    said = survey("python3.99")

    assert ({"path": "python3.99", "exists": True, "version": None}, None) == (said["python"], said["tflite"])


STATUS = """\
Package: libedgetpu-dev
Status: install ok installed
Version: 9.9

Package: libedgetpu1-max
Status: install ok installed
Architecture: arm64
Version: 16.0tf2.17.1-1.bookworm
Description: Support library for Edge TPU

Package: zlib1g
Version: 1:1.2.13
"""


@pytest.mark.parametrize(
    ("installed", "status", "version"),
    [
        ("libedgetpu1-max:arm64.list", STATUS, "16.0tf2.17.1-1.bookworm"),
        ("libedgetpu1-max.list", STATUS, "16.0tf2.17.1-1.bookworm"),
        ("libedgetpu1-std.list", STATUS, None),
        ("libedgetpu-dev.list", STATUS, None),
        ("libedgetpu1-max.list", "\x00" * 100, None),
        ("libedgetpu1-max.list", None, None),
    ],
)
def test_the_library_by_dpkgs_own_record(
    tmp_path: Path, installed: str, status: str | None, version: str | None
) -> None:
    """The version is the one of the installed package, whatever stands around it."""
    (tmp_path / "info").mkdir()
    (tmp_path / "info" / installed).touch()
    if status is not None:
        (tmp_path / "status").write_text(status)

    assert version == libedgetpu(str(tmp_path))


def test_a_board_without_dpkg(tmp_path: Path) -> None:
    """No record is no claim."""
    assert libedgetpu(str(tmp_path / "none")) is None


def test_this_very_interpreter() -> None:
    """What is seen from outside is what the interpreter says of itself."""
    said = survey(sys.executable)

    assert f"{sys.version_info.major}.{sys.version_info.minor}" == said["python"]["version"]
    assert os.uname().machine == machine() == said["machine"]
    assert isinstance(said["edge_tpu"], bool)


def test_a_fresh_board_looks_at_the_python_it_is_told_of(tmp_path: Path) -> None:
    """Before its first release the controller alone knows which one is to serve; else it is the usual one."""
    told, usual = environment(tmp_path / "env", "ai_edge_litert-2.3.0.dist-info"), "venv/bin/python"
    board = TinyBoard(tmp_path / "root")
    seen = [
        board.ask("observe", request)["platform"] for request in ({"python": str(told)}, {}, {"python": 7})
    ]

    assert [str(told), str(board.root / usual), str(board.root / usual)] == [
        s["python"]["path"] for s in seen
    ]
    assert ["ai_edge_litert 2.3.0", None, None] == [s["tflite"] for s in seen]

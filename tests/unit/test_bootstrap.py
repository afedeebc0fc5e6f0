"""What `fleetctl bootstrap` makes of what boards say of themselves."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fleetctl.bootstrap.boards import checks, exposure_of, platform_of, preparation
from fleetctl.bootstrap.units import unit_of
from fleetctl.bootstrap.wheelhouse import Platform, fetch
from fleetctl.errors import FleetError, ToolchainMissing
from fleetctl.manifest.loader import load
from fleetctl.manifest.schema import Accelerator, Board, BoardKind, ServiceManager, VariantName
from fleetctl.project import Project
from fleetctl.render.renderer import Renderer

PI = Platform("aarch64", (3, 11), (2, 36))
BOARD = Board("luxor-01", BoardKind.RASPBERRYPI4, "reader", VariantName.INT8)
SAID = {
    "machine": "aarch64",
    "python": [3, 11, 2],
    "glibc": [2, 36],
    "free_bytes": 1 << 30,
    "clock": 1000.0,
    "systemd": True,
    "root": True,
    "environment": {"wheels": None},
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


class Pip:
    """Stands in for pip: notes how it was called, and leaves files."""

    def __init__(self, *names: str, status: int = 0, stderr: str = "") -> None:
        self.names, self.status, self.stderr = names, status, stderr
        self.calls: list[Sequence[str]] = []

    def __call__(self, argv: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        self.calls.append(argv)
        for name in self.names:
            (Path(argv[argv.index("--dest") + 1]) / name).write_text(name)
        return subprocess.CompletedProcess(argv, self.status, "", self.stderr)


def test_wheels_are_asked_for_by_the_boards_platform(tmp_path: Path) -> None:
    """pip is told the board's Python, processor and C library, newest tag first."""
    pip = Pip("numpy-1-py3-none-any.whl")
    fetch(PI, tmp_path, pip)
    (argv,) = pip.calls

    assert "3.11" == argv[argv.index("--python-version") + 1]
    tags = [argv[i + 1] for i, word in enumerate(argv) if word == "--platform"]
    assert "manylinux_2_36_aarch64" == tags[0]
    assert "manylinux2014_aarch64" in tags
    assert "tflite-runtime>=2.7,<2.15" in argv


def test_wheels_are_fetched_once(tmp_path: Path) -> None:
    """A second board of a platform costs no download; a download that was cut short is made again."""
    pip = Pip("numpy-1-py3-none-any.whl")
    first, second = fetch(PI, tmp_path, pip), fetch(PI, tmp_path, pip)
    assert (1, first) == (len(pip.calls), second)

    (tmp_path / PI.name / "complete").unlink()
    fetch(PI, tmp_path, pip)
    assert 2 == len(pip.calls)


def test_a_newer_python_gets_the_newer_runtime(tmp_path: Path) -> None:
    """tflite-runtime has no wheels beyond Python 3.11."""
    pip = Pip()
    fetch(replace(PI, python=(3, 13)), tmp_path, pip)

    assert "ai-edge-litert>=2" in pip.calls[0]


def test_no_wheels_is_said_in_pips_words(tmp_path: Path) -> None:
    """The last thing pip complained of is what a person reads."""
    pip = Pip(status=1, stderr="WARNING: x\nERROR: No matching distribution found for tflite-runtime\n")
    with pytest.raises(FleetError, match=r"aarch64-cp311-glibc2\.36: No matching distribution"):
        fetch(PI, tmp_path, pip)


def test_a_python_without_pip_is_said(tmp_path: Path) -> None:
    """Environments that other tools made may lack pip."""
    pip = Pip(status=1, stderr="/usr/bin/python3: No module named pip\n")
    with pytest.raises(ToolchainMissing, match="pip"):
        fetch(PI, tmp_path, pip)


@given(st.dictionaries(st.sampled_from(sorted(SAID)), json_values))
def test_whatever_a_board_says_is_judged(said: dict[str, Any]) -> None:
    """No description is too strange for an answer, and only listed platforms are believed."""
    platform = platform_of(said)
    judged = checks(BOARD, said, now=1000.0)

    assert all(isinstance(check.ok, bool) for check in judged)
    assert platform is None or platform.machine in ("x86_64", "aarch64", "armv7l")


def test_a_fit_board_passes_every_check() -> None:
    """The board that all the others are spoiled from."""
    assert all(check.ok for check in checks(BOARD, SAID, now=1000.0))
    assert PI == platform_of(SAID)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("platform", {"machine": "riscv64"}),
        ("platform", {"python": [2, 7, 18]}),
        ("platform", {"glibc": []}),
        ("disk", {"free_bytes": 1 << 20}),
        ("clock", {"clock": 0.0}),
        ("systemd", {"systemd": False}),
        ("root", {"root": False}),
    ],
)
def test_an_unfit_board_says_why(name: str, said: dict[str, Any]) -> None:
    """Each thing a board needs is asked for by name, with what to do."""
    failed = [check for check in checks(BOARD, {**SAID, **said}, now=1000.0) if not check.ok]

    assert [name] == [check.name for check in failed]
    assert all(check.hint for check in failed)


def test_a_board_that_has_its_environment_needs_no_room_for_it() -> None:
    """A full disk does not stop a second run, which changes nothing."""
    said = {**SAID, "free_bytes": 0, "environment": {"wheels": {}}}
    assert all(check.ok for check in checks(BOARD, said, now=1000.0))


def test_an_interpreter_of_the_users_own_is_left_alone(tmp_path: Path) -> None:
    """A board whose manifest names another python gets no environment."""
    wheel = tmp_path / "a-1-py3-none-any.whl"
    wheel.write_text("a")
    own = preparation(replace(BOARD, python="/usr/bin/python3"), PI, {wheel.name: wheel})
    ours = preparation(BOARD, PI, {wheel.name: wheel})

    assert ({}, ()) == (own.request["wheels"], own.wheels)
    assert ([wheel.name], (wheel,)) == (list(ours.request["wheels"]), ours.wheels)


def test_what_only_systemd_boards_need_is_asked_of_them_alone() -> None:
    """A process board gets no user; a board without accelerator no udev rule."""
    system = preparation(replace(BOARD, accelerator=Accelerator.REQUIRED), PI, {}).request
    process = preparation(replace(BOARD, service=ServiceManager.PROCESS), PI, {}).request

    assert ("fleetctl", True) == (system["user"], system["udev"])
    assert ("", False) == (process["user"], process["udev"])


def test_a_board_that_must_use_an_edge_tpu_needs_its_library() -> None:
    """Without libedgetpu such a board is not fit, and the message says where to read on."""
    board = replace(BOARD, accelerator=Accelerator.REQUIRED)
    lacking, having = ({**SAID, "libedgetpu": files} for files in ([], ["libedgetpu.so.1"]))

    (failed,) = [check for check in checks(board, lacking, now=1000.0) if not check.ok]
    assert ("libedgetpu", "install it: docs/bootstrap.md#coral-boards") == (failed.name, failed.hint)
    assert all(check.ok for check in checks(board, having, now=1000.0))


@pytest.mark.parametrize(
    ("said", "score"),
    [(1.4, 1.4), (0, 0.0), (10, 10.0), (11, None), (-1, None), (True, None), ("1.4", None), (None, None)],
)
def test_an_exposure_is_a_number_or_nothing(said: object, score: float | None) -> None:
    """A board's own words are believed only where they are a score."""
    assert exposure_of({"exposure": said}) == score


def test_a_unit_needs_no_model() -> None:
    """The unit that a board's releases will bring can be judged before anything is built."""
    manifest = Path(__file__).parents[2] / "inventory" / "fleet.yaml"
    fleet = load(manifest)
    board = next(iter(fleet.boards.values()))
    renderer = Renderer.of(Project(manifest).templates)

    assert "ExecStart=" in unit_of(renderer, fleet, board)
    assert "" == unit_of(renderer, fleet, replace(board, service=ServiceManager.PROCESS))

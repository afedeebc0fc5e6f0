"""What `fleetctl bootstrap` makes of what boards say of themselves."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from stand_in_pip import Pip

from fleetctl.bootstrap.boards import NOBODY, checks, exposure_of, look, platform_of, preparation
from fleetctl.bootstrap.units import unit_of
from fleetctl.bootstrap.wheelhouse import Platform, fetch, list_of
from fleetctl.cli.bootstrap import Outcome, _prepare
from fleetctl.device.prepare_verb import TO_BE_PROVED
from fleetctl.manifest.loader import load
from fleetctl.manifest.schema import Accelerator, Board, BoardKind, ServiceManager, VariantName
from fleetctl.project import Project
from fleetctl.render.renderer import Renderer
from fleetctl.store import sha256
from fleetctl.transports.base import Reply, ReplyStatus

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


class Boards:
    """Stands in for the transport: notes who is prepared, and says what they say."""

    def __init__(self, *changed: str) -> None:
        self.changed, self.asked = list(changed), list[str]()

    def prepare(self, boards: Sequence[Board], *_: Any, **__: Any) -> Iterator[Reply]:
        self.asked += [board.name for board in boards]
        return (Reply(board.name, ReplyStatus.OK, {"changed": self.changed}) for board in boards)


def prepared(transport: Any, platforms: dict[str, Platform], folder: Path) -> dict[str, Outcome]:
    outcomes = {name: Outcome(name, platform=platform) for name, platform in platforms.items()}
    _prepare(transport, [replace(BOARD, name=name) for name in platforms], outcomes, folder, NOBODY)
    return outcomes


def test_boards_whose_wheels_cannot_be_had_do_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are not fit, and say why; no other board hears of it."""
    fetch(PI, tmp_path, Pip("a-1-py3-none-any.whl"))
    monkeypatch.setattr("fleetctl.bootstrap.wheelhouse._run", Pip(status=1, stderr="ERROR: none for you\n"))
    boards, old = Boards("python environment"), replace(PI, python=(3, 7))
    outcomes = prepared(boards, {"old-01": old, "new-01": PI, "old-02": old}, tmp_path)

    assert ["new-01"] == boards.asked
    assert [False, True, False] == [outcome.ok for outcome in outcomes.values()]
    said = outcomes["old-02"]
    assert ("no wheels for aarch64-cp37-glibc2.36: none for you", True) == (said.error, "index" in said.hint)

    boards = Boards()
    prepared(boards, {"old-01": old}, tmp_path)
    assert [] == boards.asked


def test_it_says_who_is_to_be_proved_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And by what; and which wheels they got, for people to compare."""
    fetch(PI, tmp_path, Pip("a-1-py3-none-any.whl"))
    prepared(Boards("python environment", TO_BE_PROVED), {"luxor-01": PI}, tmp_path)
    said = capsys.readouterr().err

    assert "`fleetctl rollout` starts and proves it anew, on luxor-01" in said
    assert f"sha256 of their list: {sha256(list_of(PI, tmp_path).read_bytes())}" in said


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
        ("disk", {"read_only": True}),
        ("venv", {"venv": False}),
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


@pytest.mark.parametrize(("clock", "seen"), [(100.0, "900 s behind ours"), (5000.0, "4000 s ahead of ours")])
def test_a_clock_that_is_off_says_which_way(clock: float, seen: str) -> None:
    """Whose clock is off is for a person to say; a dead battery leaves a board behind."""
    judged = {check.name: check.detail for check in checks(BOARD, {**SAID, "clock": clock}, now=1000.0)}
    assert seen == judged["clock"]


def test_a_board_that_has_its_environment_needs_no_room_for_it() -> None:
    """A full disk does not stop a second run, which changes nothing."""
    said = {**SAID, "free_bytes": 0, "venv": False, "environment": {"wheels": {}}}
    assert all(check.ok for check in checks(BOARD, said, now=1000.0))


def test_an_interpreter_of_the_users_own_needs_no_venv() -> None:
    """Debian keeps the module in a package of its own, which such a board can do without."""
    board = replace(BOARD, python="/usr/bin/python3")
    assert all(check.ok for check in checks(board, {**SAID, "venv": False}, now=1000.0))


@pytest.mark.parametrize(
    ("platform", "detail"),
    [
        ({"python": {"exists": False}, "tflite": None}, "there is no /usr/bin/python3"),
        ({"python": {"exists": True}, "tflite": ""}, "/usr/bin/python3 has no TFLite runtime"),
        ({"python": {"exists": True}, "tflite": "tflite_runtime 2.5.0"}, None),
        ({"python": {"exists": True}, "tflite": None}, None),
        (None, None),
    ],
    ids=["gone", "bare", "whole", "hidden", "silent"],
)
def test_an_interpreter_of_the_users_own_has_to_have_a_runtime(platform: Any, detail: str | None) -> None:
    """Nobody installs it there for them; what a board cannot tell is not held against it."""
    board = replace(BOARD, python="/usr/bin/python3")
    judged = checks(board, {**SAID, "platform": platform}, now=1000.0)

    assert [detail] == [next((check.detail for check in judged if not check.ok), None)]
    assert all(check.ok for check in checks(BOARD, {**SAID, "platform": platform}, now=1000.0))


def test_only_an_interpreter_of_the_users_own_is_looked_at() -> None:
    """A board reads the lists of all its packages for that, and nothing judges it by the one we make."""
    own = look(replace(BOARD, python="/usr/bin/python3"), "[Unit]")

    assert {"user": "fleetctl", "unit": "[Unit]"} == look(BOARD, "[Unit]")
    assert {**look(BOARD, "[Unit]"), "python": "/usr/bin/python3"} == own


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
    assert ("libedgetpu", "install it: docs/bootstrap.md#the-edge-tpus-library") == (failed.name, failed.hint)
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

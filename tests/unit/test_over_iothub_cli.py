"""Boards via iothub on the command line: what manifest and environment say, and which verbs refuse."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from fleetctl.cli import main
from fleetctl.cli.over_iothub import settings
from fleetctl.errors import OverQuota
from fleetctl.images.module_board import in_module
from fleetctl.manifest.loader import load
from fleetctl.manifest.schema import (
    Accelerator,
    Board,
    BoardKind,
    HubTier,
    IotHub,
    ServiceManager,
    VariantName,
    Via,
)
from fleetctl.plan import Action, Plan, Step, WaveSteps
from fleetctl.proposal.quota import HubCost, hub_cost
from fleetctl.transports.base import ReplyStatus
from fleetctl.transports.fake import FakeTransport
from fleetctl.transports.faults import Faults
from fleetctl.transports.routed import RoutedTransport

MANIFEST = """
apiVersion: fleetctl/v1
kind: Fleet
metadata: {name: unas}
models:
  reader: {task: classification, dataset: {kind: rendered}, variants: [int8, edgetpu]}
boards:
  luxor-01: {board: generic, model: reader, host: 192.0.2.11}
  karnak-07: {board: generic, model: reader, via: iothub}
  coral-01: {board: coral-dev-board, model: reader, via: iothub, accelerator: required}
"""
KEY = "HostName=hub.invalid;SharedAccessKeyName=o;SharedAccessKey=c2VjcmV0"

Said = Callable[[list[str]], tuple[int, str]]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Said:
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "fleet.yaml").write_text(MANIFEST)
    monkeypatch.chdir(tmp_path)

    def run(words: list[str]) -> tuple[int, str]:
        status = main(words)
        return status, capfd.readouterr().err

    return run


TRIAL = {"CONNECTION_STRING": KEY, "REGISTRY": "registry.invalid/fleet"}


@pytest.mark.parametrize(
    ("environment", "on", "says"),
    [
        ({}, "karnak-07", "nothing says which IoT Hub to use"),
        ({"CONNECTION_STRING": KEY}, "karnak-07", "nothing says where module images go"),
        ({**TRIAL, "REGISTRY": "fleet"}, "karnak-07", "which is no repository of an OCI registry"),
        ({**TRIAL, "BASE": "a b"}, "karnak-07", "which is no name of an image"),
        ({**TRIAL, "TIER": "S9"}, "karnak-07", "FLEETCTL_IOTHUB_TIER is 'S9'"),
        ({**TRIAL, "UNITS": "0"}, "karnak-07", "FLEETCTL_IOTHUB_UNITS is '0'"),
        ({**TRIAL, "LAYERED": "yes"}, "karnak-07", "FLEETCTL_IOTHUB_LAYERED is 'yes'"),
    ],
)
def test_what_is_lacking_is_named(
    said: Said, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], on: str, says: str
) -> None:
    """Nobody is asked anything before all is known that has to be; the key is in no message."""
    for name, value in environment.items():
        monkeypatch.setenv(f"FLEETCTL_IOTHUB_{name}", value)
    status, err = said(["status", "--on", on])

    assert (2, True) == (status, says in err), err
    assert "c2VjcmV0" not in err


WRITTEN = "{registry: registry.invalid/team/fleet, tier: S2, units: 3, layered: true}"


def test_the_manifest_says_it_and_the_environment_may_say_otherwise(tmp_path: Path) -> None:
    """What is written holds, each value by itself, unless a variable that is set says something else."""
    path = tmp_path / "fleet.yaml"
    path.write_text(f"{MANIFEST}iothub: {WRITTEN}\n")
    written = load(path).iothub
    over = {"FLEETCTL_IOTHUB_REGISTRY": "127.0.0.1:5000/lab", "FLEETCTL_IOTHUB_LAYERED": "0"}

    assert IotHub("", "registry.invalid/team/fleet", "", HubTier.S2, 3, True) == settings(written, {})
    assert IotHub("", "127.0.0.1:5000/lab", "", HubTier.S2, 3, False) == settings(written, over)
    assert IotHub() == load_without(path)


def load_without(path: Path) -> IotHub:
    path.write_text(MANIFEST)
    return load(path).iothub


def test_a_plan_is_reckoned_for_the_hub_that_is_written_down() -> None:
    """Ten units make a rollout ten times as fast; more sorts of boards than it has room for are refused."""
    boards = {f"b{n}": replace(board(f"b{n}", Via.IOTHUB)) for n in range(30)}
    configs = {name: {"board": name, "threshold": n // 3} for n, name in enumerate(boards)}
    steps = tuple(Step(name, Action.INSTALL, (), None, "0" * 64, 1) for name in boards)
    plan = Plan("unas", (WaveSteps(1, "canary", 0.0, steps[:3]), WaveSteps(2, "100 %", 0.0, steps)))

    def cost(hub: IotHub) -> HubCost:
        fleet = SimpleNamespace(boards=boards, iothub=hub)
        found = hub_cost(plan, fleet, configs)  # type: ignore[arg-type]
        assert found is not None
        return found

    one, ten = cost(IotHub()), cost(IotHub(units=10))
    assert (33, 10, one.calls) == (one.boards, one.deployments, ten.calls)
    assert one.minutes == pytest.approx(10 * ten.minutes)
    cost(IotHub(tier=HubTier.F1)).refuse()
    configs["b0"] = {"board": "b0", "threshold": -1}
    with pytest.raises(OverQuota, match=r"needs 11 deployments, and a hub \(F1\) has room for 10"):
        cost(IotHub(tier=HubTier.F1)).refuse()


@pytest.mark.parametrize(
    "verb", [["exec", "--yes"], ["bootstrap"], ["bootstrap", "--check"], ["leave", "--yes"]]
)
def test_verbs_that_need_ssh_refuse_by_name(
    said: Said, monkeypatch: pytest.MonkeyPatch, verb: list[str]
) -> None:
    """Where no ssh leads, no command runs, and the boards are named."""
    monkeypatch.setenv("FLEETCTL_IOTHUB_CONNECTION_STRING", KEY)
    monkeypatch.setenv("FLEETCTL_IOTHUB_REGISTRY", "registry.invalid/fleet")
    command = ["--", "true"] if verb[0] == "exec" else []
    status, err = said([*verb, "--on", "karnak-07,luxor-01", *command])

    assert (2, True) == (status, "no ssh leads to boards via iothub: karnak-07" in err), err
    assert "leave them out with --on '!karnak-07'" in err


def board(name: str, via: Via) -> Board:
    return Board(
        name=name,
        board=BoardKind.GENERIC,
        model="reader",
        variant=VariantName.INT8,
        via=via,
        service=ServiceManager.SYSTEMD,
    )


def test_each_board_is_asked_over_its_own_way() -> None:
    """In a fleet of both kinds every board is heard of once, over the way that the manifest says."""
    ways = {
        Via.ANSIBLE: FakeTransport(faults=Faults({"*": {"refused": True}})),
        Via.IOTHUB: FakeTransport(faults=Faults({"*": {"unreachable": True}})),
    }
    boards = [board("a", Via.ANSIBLE), board("b", Via.IOTHUB), board("c", Via.ANSIBLE)]
    routed = RoutedTransport(ways)
    asked = {
        "observe": routed.observe(boards, deadline=1),
        "probe": routed.probe(boards, deadline=1),
        "logs": routed.logs(boards, lines=1, deadline=1),
        "history": routed.history(boards, last=1, deadline=1),
        "confirm": routed.confirm(boards, dict.fromkeys("abc", "0" * 64), deadline=1),
        "revert": routed.revert(boards, {}, reason="", deadline=1),
    }
    expected = {"a": ReplyStatus.REFUSED, "b": ReplyStatus.UNREACHABLE, "c": ReplyStatus.REFUSED}
    for verb, replies in asked.items():
        assert expected == {reply.board: reply.status for reply in replies}, verb


def test_a_board_is_rendered_for_its_container() -> None:
    """Of interpreter and services of a board over IoT Hub its image decides, not the manifest."""
    over_hub, over_ssh = board("b", Via.IOTHUB), board("a", Via.ANSIBLE)
    made = in_module(replace(over_hub, accelerator=Accelerator.PREFERRED))

    assert over_ssh == in_module(over_ssh)
    assert (ServiceManager.PROCESS, "/opt/venv/bin/python", "/opt/fleetctl") == (
        made.service,
        made.python,
        made.root,
    )
    assert ("3.11", Accelerator.PREFERRED) == (made.runtime["python"], made.accelerator)

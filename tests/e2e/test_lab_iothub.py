"""`fleetctl lab up --iothub` and `fleetctl lab iothub` as a person uses them."""

import socket
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from azure.iot.hub import IoTHubRegistryManager
from iothub_hub import eventually, own_address
from published import published

from fleetctl.cli import main
from fleetctl.lab.iothub.agent import Agent, Place
from fleetctl.lab.iothub.control import ask
from fleetctl.lab.iothub.edge_boards import is_connected, key_of
from fleetctl.lab.iothub.files import HubFiles

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("iothub")]

MANIFEST = """
apiVersion: fleetctl/v1
kind: Fleet
metadata: {name: unas}
models:
  reader: {task: classification, dataset: {kind: rendered}}
boards:
  luxor-01: {board: generic, model: reader, host: 192.0.2.11}
"""


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "fleet.yaml").write_text(MANIFEST)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    main(["lab", "down"])


def status(capfd: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    capfd.readouterr()
    code = main(["lab", "iothub", "status", "--output", "json"])
    data = published(capfd.readouterr().out)
    assert isinstance(data, dict)
    return code, data


def test_the_lab_has_a_hub_from_up_to_down(
    fleet: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub comes with the lab, takes the SDK with what is written down, and goes when it is not kept."""
    up = ["lab", "up", "--iothub", "--iothub-address", own_address(), "--iothub-tier", "S3"]
    assert 0 == main(up)
    code, data = status(capfd)
    assert (0, "fleetctl.lab-iothub/v1", True) == (code, data["schema"], data["up"])
    access = Path(data["files"]["connection_string"])
    assert stat.S_IMODE(access.stat().st_mode) == 0o600
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", data["files"]["certificate"])
    registry = IoTHubRegistryManager.from_connection_string(access.read_text().strip())
    registry.create_device_with_sas("luxor-01", "", "", "enabled")
    assert 0 == main(["lab", "iothub", "fault", "--throttle", "1"])
    assert 1 == len(registry.get_devices())
    assert 0 == main(["lab", "iothub", "clock", "86400"])
    assert 0 == main(["lab", "iothub", "clock", "--", "-90"])  # a clock that is wrong can be set again
    assert 0 == status(capfd)[1]["faults"]["throttle"]
    assert 0 == main(["lab", "iothub", "certificate", "luxor-01"])
    assert "luxor-01.pem" in capfd.readouterr().out
    assert 0 == main(["lab", "down", "--keep"])
    assert (1, False) == (status(capfd)[0], status(capfd)[1]["up"])
    assert 0 == main(up)
    assert ["luxor-01"] == [each.device_id for each in registry.get_devices()]
    registry.protocol.close()
    assert 0 == main(["lab", "down"])
    assert not (fleet / ".fleetctl" / "lab").exists()


class NoModule:
    """An agent's board without anything to run."""

    def stop(self) -> None: ...


@pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLSv1_2 is deprecated")  # the SDK's own choice
def test_a_board_of_the_hub_has_power_once_its_agent_answers(fleet: Path) -> None:
    """The twin of an agent never tells, here as on Azure: `lab up` and `lab stop` wait for its answer."""
    address = own_address()
    assert 0 == main(["lab", "up", "--iothub", "--iothub-address", address])
    files = HubFiles(fleet / ".fleetctl" / "lab" / "iothub")
    device = {"deviceId": "karnak-07", "status": "enabled", "capabilities": {"iotEdge": True}}
    ask(files, "PUT", "devices/karnak-07?api-version=2021-04-12", device)
    agent = Agent(
        Place("karnak-07", address, files.certificate, partial(key_of, files, "karnak-07")),
        NoModule(),  # type: ignore[arg-type]
    )
    assert not is_connected(files, "karnak-07")
    agent.start()
    eventually(lambda: is_connected(files, "karnak-07"))
    agent.stop()
    eventually(lambda: not is_connected(files, "karnak-07"))


@pytest.mark.usefixtures("fleet")
def test_a_hub_that_cannot_be_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    """An address that others could reach, and one whose port is taken, are refused with what to try."""
    assert 2 == main(["lab", "up", "--iothub", "--iothub-address", "0.0.0.0"])
    assert "no loopback address" in capfd.readouterr().err
    with socket.create_server((own_address(), 8883)):
        assert 70 == main(["lab", "up", "--iothub", "--iothub-address", own_address()])
    said = capfd.readouterr().err
    assert ":8883 is taken" in said
    assert "--iothub-address" in said


@pytest.mark.usefixtures("fleet")
def test_without_a_hub_its_verbs_say_so(capfd: pytest.CaptureFixture[str]) -> None:
    """Verbs that need a hub end with usage's exit code and name the command that starts one."""
    for verb in (["fault", "--drop", "1"], ["clock", "5"], ["certificate", "luxor-01"]):
        assert 2 == main(["lab", "iothub", *verb])
        assert "fleetctl lab up --iothub" in capfd.readouterr().err

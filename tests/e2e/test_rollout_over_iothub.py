"""The main job without a route to any board, as docs/iothub.md tells it: a hub, a registry, containers."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from azure.iot.hub import IoTHubConfigurationManager, IoTHubRegistryManager
from base_images import engine_rootfs, publish, quickly
from docker_boards import client_of_engine, demand
from iothub_hub import own_address
from long_matrices import takes
from prepare_boards import MACHINES, WHEELHOUSE
from quadrant_fleet import QuadrantFleet
from registry import running_registry

from fleetctl.images.module_image import PYTHON
from fleetctl.lab.iothub import edge_boards
from fleetctl.lab.iothub.files import HubFiles
from fleetctl.lab.state import LabFiles
from fleetctl.project import Project
from fleetctl.remotes.oci import OciRemote

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("iothub")]

MANUAL = Path(__file__).resolve().parents[2] / "docs" / "iothub.md"
MANIFEST = """\
apiVersion: fleetctl/v1
kind: Fleet
metadata: {name: quadrants}
models:
  quadrants:
    task: classification
    dataset: {kind: folder, path: photos}
    variants: [int8]
    smoke: {samples: 4}
defaults: {model: quadrants, board: BOARD, via: iothub}
groups:
  canary: {boards: [edge-01]}
boards:
  edge-01: {serve_port: 28081}
  edge-02: {serve_port: 28082}
rollout:
  waves: [{group: canary}, {percent: 100}]
  confirm_timeout: 10m
  deadline: 20m
iothub: {registry: REGISTRY/fleet/quadrants, base: "REGISTRY/base:bookworm", tier: S3}
"""
UP = ("lab", "up", "--iothub", "--driver", "docker", "--iothub-address", own_address(), "--iothub-tier", "S3")


@dataclass
class EdgeFleet:
    """A fleet in git whose boards are containers that a hub knows of."""

    fleet: QuadrantFleet
    engine: Any

    @property
    def hub(self) -> HubFiles:
        return HubFiles.of(LabFiles.of(Project(self.fleet.root / "inventory" / "fleet.yaml")))

    def run(self, *words: str) -> Any:
        return self.fleet.run(*words, transport="manifest", patience=1500)

    def build(self, message: str) -> None:
        """Make what the lock lacks, and commit it."""
        built = self.run("build")
        assert built.status == 0, built.err
        self.fleet.commit(message)

    def status(self) -> dict[str, Any]:
        return {board["board"]: board for board in self.run("status", "-o", "json").json["boards"]}

    def container(self, board: str) -> Any:
        runner = edge_boards.runner_of(self.engine, self.hub, board)
        return self.engine.containers.get(f"{runner.volume}-module")


@pytest.fixture
def edge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[EdgeFleet]:
    """A fleet before its first rollout, its lab up, and the shell told of the hub."""
    architecture = getattr(request, "param", "amd64")
    demand(architecture)
    if not (WHEELHOUSE / f"{MACHINES[architecture]}-cp311-glibc2.36-iothub" / "SHA256SUMS").exists():
        pytest.skip("no wheels for module images: run `make boards`")
    with ExitStack() as stack:
        engine = stack.enter_context(client_of_engine())
        registry = stack.enter_context(running_registry(tmp_path / "registry"))
        stack.callback(forget_images, engine, f"{registry}/fleet/quadrants")
        tree = engine_rootfs(engine, f"fleetctl/board-base:{architecture}")
        publish(OciRemote(f"oci://{registry}/base"), "bookworm", {architecture: tree}, compress=quickly)
        fleet = QuadrantFleet.make(tmp_path / "fleet")
        board = "generic" if architecture == "amd64" else "raspberrypi4"
        text = MANIFEST.replace("REGISTRY", registry).replace("BOARD", board)
        (fleet.root / "inventory" / "fleet.yaml").write_text(text)
        fleet.commit("Go over a hub")
        shutil.copytree(WHEELHOUSE, fleet.root / ".fleetctl" / "wheelhouse")
        made = EdgeFleet(fleet, engine)
        stack.callback(made.run, "lab", "down")
        up = made.run(*UP, *(("--on", "edge-01") if architecture != "amd64" else ()))
        assert up.status == 0, up.err
        monkeypatch.setenv("FLEETCTL_IOTHUB_CONNECTION_STRING", made.hub.access.read_text().strip())
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(made.hub.certificate))
        yield made


def forget_images(engine: Any, repository: str) -> None:
    """Remove what was fetched from a registry that is gone by now."""
    for image in engine.images.list(repository):
        engine.images.remove(image.id, force=True)


def told() -> list[str]:
    """The commands of the manual's walk, as they are typed, without those that edit a model."""
    walk = MANUAL.read_text("utf-8").split("### A walk", 1)[1].split("\n### ", 1)[0]
    return re.findall(r'^\$ (?:eval "\$\()?fleetctl (.*?)(?:\)")?(?: +#.*)?$', walk, re.MULTILINE)


def test_from_image_to_proof_and_back(edge: EdgeFleet) -> None:
    """What the manual walks through: images are built, a release is proved, a bad model is reverted."""
    assert_shell_is_told(edge)
    too_early = edge.run("rollout", "--yes")
    assert (11, True) == (too_early.status, "hint: `fleetctl build` makes it" in too_early.err), too_early.err
    edge.build("Images of quadrants")
    first = edge.run("rollout", "--yes")

    assert first.status == 0, first.err
    proved = {name: board["loaded"] for name, board in edge.status().items()}
    assert {"edge-01", "edge-02"} == set(proved)
    assert (0, 0) == (edge.run("plan").status, edge.run("smoke").status)
    assert_well_made(edge)

    edge.fleet.mix_up_labels()
    edge.build("Images of faster quadrants")
    second = edge.run("rollout", "--yes")

    assert second.status == 40, second.err
    assert "edge-01: rolled back, " in second.err
    assert "golden answers agree" in second.err
    assert proved == {name: board["loaded"] for name, board in edge.status().items()}
    assert_few_deployments()

    edge.fleet.git("revert", "--no-edit", "HEAD", "HEAD~1")
    assert 0 == edge.run("plan").status
    assert_power_can_be_cut(edge)

    refused = edge.run("exec", "--on", "edge-01", "--", "true")
    assert (2, True) == (refused.status, "no ssh leads to boards via iothub: edge-01" in refused.err)
    assert [" ".join(UP[:5]), "lab iothub env", "rollout --yes", "build", "rollout --yes"] == told()[:5]


def assert_shell_is_told(edge: EdgeFleet) -> None:
    """What `lab iothub env` prints makes a shell work with the hub, and does not hold the key."""
    lines = edge.run("lab", "iothub", "env").out
    key = edge.hub.access.read_text().rpartition("SharedAccessKey=")[2].strip()
    script = f'{lines}\necho "$FLEETCTL_IOTHUB_CONNECTION_STRING"\ncat "$REQUESTS_CA_BUNDLE"'
    said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout

    assert key not in lines
    assert said.startswith(edge.hub.access.read_text())
    assert edge.hub.certificate.read_text() in said


def assert_well_made(edge: EdgeFleet) -> None:
    """The image runs as nobody special, says what it carries, is pinned by digest, and is healthy."""
    registry = IoTHubRegistryManager.from_connection_string(os.environ["FLEETCTL_IOTHUB_CONNECTION_STRING"])
    desired = registry.get_module_twin("edge-01", "$edgeAgent").properties.desired
    registry.protocol.close()
    assert "@sha256:" in desired["modules"]["fleetctl"]["settings"]["image"]
    container = edge.container("edge-01")
    config, host = container.attrs["Config"], container.attrs["HostConfig"]
    assert ("10001:10001", False) == (config["User"], host["Privileged"])
    assert ["ALL"] == host["CapDrop"]
    argv = ["git", "-C", str(edge.fleet.root), "rev-parse", "HEAD~1"]  # the commit it was built from
    commit = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    labels = config["Labels"]
    assert commit == labels["org.opencontainers.image.revision"]
    assert {"fleetctl.image", "fleetctl.model"} <= set(labels)
    assert 0 == container.exec_run([PYTHON, *config["Healthcheck"]["Test"][2:]]).exit_code
    bill = container.exec_run(["cat", "/fleetctl-image/sbom.cdx.json"]).output.decode()
    assert all(
        word in bill for word in ('"CycloneDX"', "azure-iot-device", "pkg:deb/debian/libc6", "model.tflite")
    )


def assert_few_deployments() -> None:
    """What no board follows any more is collected."""
    hub = IoTHubConfigurationManager.from_connection_string(os.environ["FLEETCTL_IOTHUB_CONNECTION_STRING"])
    found = [each.id for each in hub.get_configurations(100)]
    hub.protocol.close()
    assert len(found) <= 3, found


def assert_power_can_be_cut(edge: EdgeFleet) -> None:
    """A board without power is offline to everybody, and serves again when it has power."""
    assert 0 == edge.run("lab", "stop", "edge-02").status
    assert "not connected" in str(edge.run("status", "-o", "json").out)
    assert 1 == edge.run("lab", "status").status
    assert 0 == edge.run("lab", "start", "edge-02").status
    lab = edge.run("lab", "status", "-o", "json").json
    assert {"edge-01": True, "edge-02": True} == lab["edge_boards"]


@takes("minutes of emulation")
@pytest.mark.parametrize("edge", ["arm64"], indirect=True)
def test_an_image_for_raspberry_pis_is_made_here_and_proves_itself(edge: EdgeFleet) -> None:
    """An arm64 image, made on this machine without running any of it, serves and is proved as aarch64."""
    edge.build("Image of quadrants")
    done = edge.run("rollout", "--yes", "--on", "edge-01")

    assert done.status == 0, done.err
    (proof,) = edge.run("history", "--on", "edge-01", "-o", "json").json["receipts"]
    assert ("aarch64", "confirmed") == (proof["runtime"]["machine"], proof["state"])


def test_boards_that_would_share_a_port_are_refused(tmp_path: Path) -> None:
    """Before anything starts, and with what to write."""
    (tmp_path / "inventory").mkdir()
    text = (
        MANIFEST.replace("BOARD", "generic").replace("REGISTRY", "127.0.0.1:5000").replace("28082", "28081")
    )
    (tmp_path / "inventory" / "fleet.yaml").write_text(text)
    argv = [sys.executable, "-m", "fleetctl", "lab", "up", "--iothub", "--driver", "docker"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (2, True) == (
        done.returncode,
        "edge-01 and edge-02 would both listen on port 28081" in done.stderr,
    )
    assert not (tmp_path / ".fleetctl" / "lab").exists()

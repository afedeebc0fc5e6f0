"""The main job without a route to any board: images in a registry, a hub, and modules in containers."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from base_images import engine_rootfs, publish, quickly
from docker_boards import client_of_engine, demand
from iothub_hub import Clients, agent_place, hub_with_clients, own_address, settings
from prepare_boards import WHEELHOUSE
from quadrant_fleet import QuadrantFleet
from registry import running_registry

from fleetctl.images.module_image import PYTHON
from fleetctl.lab.iothub.agent import Agent
from fleetctl.lab.iothub.docker_runner import DockerRunner
from fleetctl.remotes.oci import OciRemote

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.xdist_group("iothub"),
    pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLSv1_2 is deprecated"),  # the SDK's own choice
]

BOARDS = {"edge-01": 28081, "edge-02": 28082}
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
defaults: {model: quadrants, board: generic, via: iothub}
groups:
  canary: {boards: [edge-01]}
boards:
  edge-01: {serve_port: 28081}
  edge-02: {serve_port: 28082}
rollout:
  waves: [{group: canary}, {percent: 100}]
  confirm_timeout: 60s
iothub: {registry: REGISTRY/fleet/quadrants, base: "REGISTRY/base:bookworm", tier: S3}
"""


class EdgeFleet:
    """A fleet in git whose boards are containers that a hub knows of."""

    def __init__(self, fleet: QuadrantFleet, clients: Clients, runners: dict[str, DockerRunner]) -> None:
        self.fleet, self.clients, self.runners = fleet, clients, runners
        self.agents: dict[str, Agent] = {}

    def run(self, *words: str) -> Any:
        return self.fleet.run(*words, transport="manifest", patience=400)

    def build(self, message: str) -> None:
        """Make what the lock lacks, and commit it."""
        built = self.run("build")
        assert built.status == 0, built.err
        self.fleet.commit(message)

    def status(self) -> dict[str, Any]:
        return {board["board"]: board for board in self.run("status", "-o", "json").json["boards"]}


@pytest.fixture
def edge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EdgeFleet]:
    demand("amd64")
    if not (WHEELHOUSE / "x86_64-cp311-glibc2.36-iothub" / "complete").exists():
        pytest.skip("no wheels for module images: run `make boards`")
    with ExitStack() as stack:
        engine = stack.enter_context(client_of_engine())
        registry = stack.enter_context(running_registry(tmp_path / "registry"))
        stack.callback(forget_images, engine, f"{registry}/fleet/quadrants")
        clients = stack.enter_context(hub_with_clients(settings(tmp_path / "hub", keeps=False)))
        monkeypatch.setenv("FLEETCTL_IOTHUB_CONNECTION_STRING", clients.hub.connection_string)
        publish(
            OciRemote(f"oci://{registry}/base"),
            "bookworm",
            {"amd64": engine_rootfs(engine, "fleetctl/board-base:amd64")},
            compress=quickly,
        )
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", os.environ["REQUESTS_CA_BUNDLE"])
        fleet = QuadrantFleet.make(tmp_path / "fleet")
        (fleet.root / "inventory" / "fleet.yaml").write_text(MANIFEST.replace("REGISTRY", registry))
        fleet.commit("Go over a hub")
        shutil.copytree(WHEELHOUSE, fleet.root / ".fleetctl" / "wheelhouse")
        prefix = own_address().replace(".", "-")
        made = EdgeFleet(fleet, clients, {name: DockerRunner(engine, f"{prefix}-{name}") for name in BOARDS})
        for name, runner in made.runners.items():
            clients.edge_device(name)
            stack.callback(runner.remove)
            made.agents[name] = Agent(agent_place(clients, name), runner)
            made.agents[name].start()
            stack.callback(made.agents[name].stop)
        yield made


def forget_images(engine: Any, repository: str) -> None:
    """Remove what was built for a registry that is gone by now."""
    for image in engine.images.list(repository):
        engine.images.remove(image.id, force=True)


def test_from_image_to_proof_and_back(edge: EdgeFleet) -> None:
    """A release reaches containers by image and deployment and is proved; a bad model is reverted."""
    too_early = edge.run("rollout", "--yes")
    assert (11, True) == (too_early.status, "hint: `fleetctl build` makes it" in too_early.err), too_early.err
    assert {None} == {board["loaded"] for board in edge.status().values()}
    edge.build("Images of quadrants")
    first = edge.run("rollout", "--yes")

    assert first.status == 0, first.err
    proved = {name: board["loaded"] for name, board in edge.status().items()}
    assert set(BOARDS) == set(proved)
    assert (0, 0) == (edge.run("plan").status, edge.run("smoke").status)
    assert_well_made(edge)

    edge.fleet.mix_up_labels()
    edge.build("Images of faster quadrants")
    second = edge.run("rollout", "--yes")

    assert second.status == 40, second.err
    assert "edge-01: rolled back, " in second.err
    assert "golden answers agree" in second.err
    assert proved == {name: board["loaded"] for name, board in edge.status().items()}
    ids = [each.id for each in edge.clients.deployments.get_configurations(100)]
    assert len(ids) <= 3, ids

    edge.fleet.git("revert", "--no-edit", "HEAD", "HEAD~1")
    assert 0 == edge.run("plan").status

    refused = edge.run("exec", "--on", "edge-01", "--", "true")
    assert (2, True) == (refused.status, "no ssh leads to boards via iothub: edge-01" in refused.err)


def assert_well_made(edge: EdgeFleet) -> None:
    """The image runs as nobody special, says what it carries, is pinned by digest, and is healthy."""
    desired = edge.clients.registry.get_module_twin("edge-01", "$edgeAgent").properties.desired
    reference = desired["modules"]["fleetctl"]["settings"]["image"]
    assert "@sha256:" in reference
    runner = edge.runners["edge-01"]
    with client_of_engine() as client:
        container = client.containers.get(f"{runner.volume}-module")
        config, host = container.attrs["Config"], container.attrs["HostConfig"]
        assert ("10001:10001", False) == (config["User"], host["Privileged"])
        assert ["ALL"] == host["CapDrop"]
        argv = ["git", "-C", str(edge.fleet.root), "rev-parse", "HEAD~1"]
        commit = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
        labels = config["Labels"]
        assert commit == labels["org.opencontainers.image.revision"]  # that it was built from
        assert {"fleetctl.image", "fleetctl.model"} <= set(labels)
        health = [PYTHON, *config["Healthcheck"]["Test"][2:]]
        assert 0 == container.exec_run(health).exit_code
        bill = container.exec_run(["cat", "/fleetctl-image/sbom.cdx.json"]).output.decode()
        assert all(word in bill for word in ('"CycloneDX"', "azure-iot-device", "numpy", "model.tflite"))

"""What a rollout over IoT Hub asks of hub and controller: 10,000 boards in 5 waves, on the lab's hub.

The boards are simulated inside the hub's process: each answers its deployment with the golden answers. States
calls by kind, wall time and the controller's memory, once: it takes minutes, and counts do not vary.
"""

import asyncio
import hashlib
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from contract_worlds import Releases
from msgspec.structs import replace

from benchmarks.harness import NotMeasured, Result
from fleetctl.device.edge_report import SCHEMA, SECTION, filled, pack
from fleetctl.lab.iothub.emulator import Emulator, Settings
from fleetctl.lab.iothub.hub import Hub
from fleetctl.lab.iothub.identities import EDGE_AGENT, EDGE_HUB, Identity
from fleetctl.manifest.schema import Board, BoardKind, ServiceManager, VariantName, Via
from fleetctl.store import BlobStore, canonical_json, sha256
from fleetctl.transports.iothub import IotHubTransport, Pace
from fleetctl.transports.iothub_client import HubClient
from fleetctl.transports.iothub_images import FolderImages
from fleetctl.transports.iothub_quota import Hub as Size
from fleetctl.transports.iothub_quota import Need, estimate
from fleetctl.transports.iothub_signin import SignIn

BOARDS = 10_000
WAVES = (0.001, 0.05, 0.25, 0.6, 1.0)
CALLS_ALLOWED = 200


def measure() -> Iterator[Result]:
    for package in ("aiohttp", "amqtt", "azure.iot.hub"):
        if not _is_installed(package):
            raise NotMeasured(f"{package} is not installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        argv = [sys.executable, "-m", "benchmarks.iothub_scale", "--hub", name, str(BOARDS)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as hub:
            try:
                assert hub.stdout is not None
                yield from _measured(folder, hub.stdout.readline().strip())
            finally:
                hub.terminate()


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # its parent is not there either
        return False


def _measured(folder: Path, access: str) -> Iterator[Result]:
    os.environ["REQUESTS_CA_BUNDLE"] = str(folder / "ca" / "ca.pem")
    releases = Releases(BlobStore(folder / "store"))
    orders = [releases.order(board(number)) for number in range(BOARDS)]
    idle = memory()
    host = access.partition("HostName=")[2].partition(";")[0]
    client = HubClient(SignIn(host, access))
    transport = IotHubTransport(client, FolderImages(folder / "images"), Size("S3", 10), pace=Pace(poll=1.0))
    began = time.perf_counter()
    seen = sum(reply.ok for reply in transport.observe([order.board for order in orders], deadline=60))
    assert seen == BOARDS, f"{seen} boards observed"
    observing, done, tagging, start = client.calls, 0, 0, 0
    for share in WAVES:
        end = max(start + 1, round(share * BOARDS))
        wave = orders[start:end]
        for reply in transport.release(wave):
            assert reply.data.get("state") == "confirmed", (reply.status, reply.error, reply.data)
            done += 1
        tagging += -(-len(wave) // 100)
        start = end
    assert done == BOARDS, f"{done} boards confirmed"
    client.close()
    label = f"{BOARDS:,} boards in {len(WAVES)} waves"
    yield Result(f"{label}, calls without tags", client.calls - tagging, "calls", goal=CALLS_ALLOWED)
    yield Result(f"{label}, of which observing", observing, "calls")
    yield Result(f"{label}, calls for tags", tagging, "calls")
    yield Result(f"{label}, wall time", round(time.perf_counter() - began, 1), "s")
    yield Result(f"{label}, controller's memory", round(memory()), "MiB")
    yield Result(f"{label}, of which the orders themselves", round(idle), "MiB")
    yield Result(f"{label}, least time at S1, one unit", round(minutes(BOARDS), 1), "min")


def minutes(boards: int) -> float:
    """What the planner says of the same rollout at the smallest paid tier."""
    cuts = [0.0, *WAVES]
    sizes = [round((end - start) * boards) for start, end in zip(cuts, WAVES, strict=False)]
    return sum(estimate(Need(size, size, 1), Size()).minutes for size in sizes)


def memory() -> float:
    """MiB of this process at its largest."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def board(number: int) -> Board:
    return Board(
        name=f"board-{number:05}",
        board=BoardKind.GENERIC,
        model="quadrants",
        variant=VariantName.INT8,
        via=Via.IOTHUB,
        service=ServiceManager.PROCESS,
    )


class Boards:
    """Every board at once: each answers what its module is told, at once and rightly."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        hub.on_desired.append(self.hear)

    def hear(self, identity: Identity, patch: Mapping[str, Any]) -> None:
        if identity.module != "fleetctl":
            return
        desired = identity.twin.desired
        agent = self._hub.module(identity.device, EDGE_AGENT).twin.desired.values
        image = agent["modules"]["fleetctl"]["settings"]["image"].partition("@")[0]
        said = answer(identity.device, desired.values, patch["$version"], image)
        self._hub.report(identity, {SECTION: said})


def answer(name: str, desired: Mapping[str, Any], version: int, image: str) -> dict[str, Any]:
    files, contract, record = carried(image)
    all_files = dict(files)
    for entry in desired["texts"].values():
        data = filled(entry["text"], name).encode()
        all_files[entry["path"]] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    release = sha256(canonical_json({"schema": "fleetctl.release/v1", "files": all_files}))
    loaded = {"release": release, "model_sha256": files["model/model.tflite"]["sha256"], "pid": 1}
    answers = [{"label": label, "score": 1.0, "elapsed_ms": 1.0} for label in contract]
    receipt = {
        "board": name,
        "release": release,
        "loaded": loaded,
        "accelerator": {"wanted": "none", "used": "cpu", "present": False},
        "answers": answers,
        "outcome": "passed",
        "state": "confirmed",
    }
    reply = {"ok": True, "state": "confirmed", "current": release, "receipt": receipt}
    seen = {"ok": True, "current": release, "good": release}
    return {
        "schema": SCHEMA,
        "consignment": desired["consignment"],
        "answered": version,
        "image": record,
        "release": release,
        "state": "confirmed",
        "reply": pack(reply),
        "observation": pack(seen),
    }


@cache
def carried(image: str) -> tuple[Mapping[str, Any], list[str], str]:
    """Files, golden labels and digest of an image."""
    record = json.loads((Path(image) / "image.json").read_bytes())
    contract = json.loads((Path(image) / "model" / "contract.json").read_bytes())
    return record["files"], [each["label"] for each in contract["golden"]], record["digest"]


async def serve(folder: Path, count: int) -> None:
    settings = Settings(folder, mqtt_port=0, tier="S3", units=1000, evaluation=0.5, keeps=False)
    emulator = Emulator(replace(settings, key="a2V5"))
    for number in range(count):
        name = f"board-{number:05}"
        emulator.hub.put(name, "", {"capabilities": {"iotEdge": True}}, None)
        for module in (EDGE_AGENT, EDGE_HUB):
            emulator.hub.module(name, module).is_connected = True
    Boards(emulator.hub)
    await emulator.start()
    print(emulator.connection_string, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    assert sys.argv[1] == "--hub"
    asyncio.run(serve(Path(sys.argv[2]), int(sys.argv[3])))

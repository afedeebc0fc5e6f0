"""The content of a deployment: `$edgeAgent` and `$edgeHub` by their schemas, and our module. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from fleetctl.manifest.schema import Attached, Board
from fleetctl.transports.iothub_consignment import Consignment

MODULE = "fleetctl"
AGENT, HUB = "$edgeAgent", "$edgeHub"
LABEL = "fleetctl"
_CREATE_PIECE = 512  # characters; the agent puts createOptions, createOptions01, ... together again
_KEEPS = "/opt/fleetctl"  # what of a board outlives its container
_STATE = "fleetctl-module"  # a volume: it belongs to whom the image says
_RUNTIME_IMAGES = {
    "edgeAgent": "mcr.microsoft.com/azureiotedge-agent:1.5",
    "edgeHub": "mcr.microsoft.com/azureiotedge-hub:1.5",
}


class Surroundings(Struct, frozen=True):
    """What else a deployment says: it is whole where boards have no other modules, else a layer."""

    is_layered: bool = False
    system_images: Mapping[str, str] = field(default_factory=lambda: dict(_RUNTIME_IMAGES))


def content(
    consignment: Consignment, image: str, boards: Sequence[Board], around: Surroundings
) -> dict[str, Any]:
    """`modulesContent` of the deployment that brings a consignment."""
    ours = {MODULE: {"properties.desired": consignment.desired()}}
    module = _module(image, create_options(boards))
    if around.is_layered:
        return {AGENT: {f"properties.desired.modules.{MODULE}": module}, **ours}
    agent = {
        "schemaVersion": "1.1",
        "runtime": {"type": "docker", "settings": {"minDockerVersion": "v1.25"}},
        "systemModules": _system_modules(around.system_images),
        "modules": {MODULE: module},
    }
    hub = {
        "schemaVersion": "1.2",
        "routes": {"predictions": f"FROM /messages/modules/{MODULE}/outputs/predictions INTO $upstream"},
        "storeAndForwardConfiguration": {"timeToLiveSecs": 7200},
    }
    return {AGENT: {"properties.desired": agent}, HUB: {"properties.desired": hub}, **ours}


def create_options(boards: Sequence[Board]) -> dict[str, Any]:
    """How the engine makes the container: one volume, the device of an Edge TPU, never privileged."""
    host: dict[str, Any] = {
        "Init": True,
        "Binds": [f"{_STATE}:{_KEEPS}"],
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
    }
    if devices := _devices(boards):
        host["Devices"] = [
            {"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"} for path in devices
        ]
    return {"HostConfig": host}


def _devices(boards: Sequence[Board]) -> list[str]:
    attached = {board.attached for board in boards}
    soldered = any(board.board.has_edge_tpu for board in boards)
    usb = ["/dev/bus/usb"] if Attached.USB in attached else []
    return usb + (["/dev/apex_0"] if soldered or Attached.PCIE in attached else [])


def _module(image: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "docker",
        "status": "running",
        "restartPolicy": "always",
        "version": "1.0",
        "settings": {"image": image, **_pieces(json.dumps(options, separators=(",", ":")))},
    }


def _pieces(text: str) -> dict[str, str]:
    pieces = [text[start : start + _CREATE_PIECE] for start in range(0, len(text), _CREATE_PIECE)]
    return {"createOptions" + (f"{n:02}" if n else ""): piece for n, piece in enumerate(pieces)}


def _system_modules(images: Mapping[str, str]) -> dict[str, Any]:
    hub = {"type": "docker", "status": "running", "restartPolicy": "always"}
    return {
        "edgeAgent": {"type": "docker", "settings": {"image": images["edgeAgent"], "createOptions": "{}"}},
        "edgeHub": {**hub, "settings": {"image": images["edgeHub"], "createOptions": "{}"}},
    }

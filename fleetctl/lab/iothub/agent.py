"""A small edge agent: follows the desired properties of `$edgeAgent` on a virtual board.

It starts, replaces and restarts the one module it is told of, reports how that goes, and hands the module
what it needs to sign in. Microsoft's agent does far more; docs/iothub.md has the differences.
"""

import contextlib
import json
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct, field

from fleetctl.lab.iothub.identities import EDGE_AGENT
from fleetctl.transports.iothub_content import MODULE

_LOOK_EVERY = 0.2  # seconds
_BACK_OFF = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # seconds before the next restart
_CREATE = "createOptions"
_DONE, _FAILED = 200, 500  # of a deployment; what failed is tried again


class ImageMissing(Exception):
    """The image cannot be had; the message says why."""


class Runner(Protocol):
    """What runs a module on one board."""

    def fetch(self, image: str) -> None:
        """Have the image here. Raises `ImageMissing`."""

    def start(self, image: str, options: Mapping[str, Any], environment: Mapping[str, str]) -> None: ...

    def exit_code(self) -> int | None:
        """None while the module runs."""

    def stop(self) -> None:
        """End the module; what it keeps on the board stays."""


class Place(Struct, frozen=True):
    """The board, and how it reaches its hub."""

    device: str
    hub: str  # name or address; MQTT is on 8883
    certificate: Path  # of the hub's CA
    key_of: Callable[[str], str]  # base64 key of a module of this board

    def connection_string(self, module: str) -> str:
        """What a module signs in with, in the form that IoT Edge uses for development."""
        names = {
            "HostName": self.hub,
            "GatewayHostName": self.hub,
            "DeviceId": self.device,
            "ModuleId": module,
            "SharedAccessKey": self.key_of(module),
        }
        return ";".join(f"{name}={value}" for name, value in names.items())


class _Running(Struct):
    """The module as it was last started."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    is_wanted: bool = False
    restarts: int = 0
    retry_at: float = 0.0
    status: str = "stopped"
    description: str = ""


class Agent:
    """The agent of one board, on a thread of its own."""

    def __init__(self, place: Place, runner: Runner) -> None:
        self._place, self._runner = place, runner
        self._todo: queue.Queue[bool] = queue.Queue()  # False ends it
        self._module = _Running()
        self._told: dict[str, Any] = {}
        self._version: Any = None
        self._outcome = {"code": _DONE, "description": ""}
        self._client: Any = None
        self._is_behind = False  # what is desired could not be taken up yet
        self._thread = threading.Thread(target=self._work, name=f"agent {place.device}", daemon=True)

    def start(self) -> None:
        """Connect and begin to follow."""
        from azure.iot.device import IoTHubModuleClient

        self._client = IoTHubModuleClient.create_from_connection_string(
            self._place.connection_string(EDGE_AGENT).replace(f"GatewayHostName={self._place.hub};", ""),
            server_verification_cert=self._place.certificate.read_text(),
        )
        self._client.on_twin_desired_properties_patch_received = lambda _: self._todo.put(True)
        self._client.on_method_request_received = self._answer
        self._client.connect()
        self._todo.put(True)
        self._thread.start()

    def stop(self) -> None:
        """End the module and disconnect, as a power cut would."""
        self._todo.put(False)
        self._thread.join()
        try:
            self._runner.stop()
        finally:
            self._client.shutdown()

    def _answer(self, request: Any) -> None:
        """A direct method: whoever wants to know whether the board is there asks with `ping`."""
        from azure.iot.device import MethodResponse

        status = 200 if request.name == "ping" else 404
        self._client.send_method_response(MethodResponse.create_from_method_request(request, status))

    def _work(self) -> None:
        while True:
            try:
                is_new = self._todo.get(timeout=_LOOK_EVERY)
                if not is_new:
                    return
            except queue.Empty:
                is_new = False
            try:
                self._follow() if is_new or self._is_behind else self._look()
            except Exception as error:  # noqa: BLE001 - hub or engine are away, each in many ways: tried again
                print(f"{self._place.device}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                self._is_behind = True
                time.sleep(_LOOK_EVERY)
            self._tell()

    def _follow(self) -> None:
        """Take up what is desired now."""
        self._is_behind = True
        self._take_up(self._client.get_twin()["desired"])
        self._is_behind = self._outcome["code"] != _DONE

    def _take_up(self, desired: Mapping[str, Any]) -> None:
        self._version, self._outcome = desired.get("$version"), {"code": _DONE, "description": ""}
        wanted = (desired.get("modules") or {}).get(MODULE)
        if wanted is None:
            self._runner.stop()
            self._module = _Running()
            return
        settings = dict(wanted.get("settings") or {})
        if settings != self._module.settings or not self._module.is_wanted:
            self._replace(settings)

    def _replace(self, settings: Mapping[str, Any]) -> None:
        """Start another image; the one that runs is ended only once that is here."""
        try:
            self._runner.fetch(str(settings.get("image")))
        except ImageMissing as error:
            self._outcome = {"code": _FAILED, "description": f"Could not pull image {error}"}
            return
        self._runner.stop()
        self._module = _Running(settings, is_wanted=True)
        self._start()

    def _start(self) -> None:
        environment = {
            "IOTEDGE_DEVICEID": self._place.device,
            "EdgeHubConnectionString": self._place.connection_string(MODULE),
            "EdgeModuleCACertificateFile": str(self._place.certificate),
        }
        settings = self._module.settings
        self._runner.start(str(settings["image"]), create_options(settings), environment)
        self._module.status, self._module.description = "running", ""

    def _look(self) -> None:
        """Restart what has ended, later each time."""
        module = self._module
        if not module.is_wanted or (code := self._runner.exit_code()) is None:
            return
        if module.status == "running":
            pause = _BACK_OFF[min(module.restarts, len(_BACK_OFF) - 1)]
            module.restarts += 1
            module.retry_at = time.monotonic() + pause
            module.status, module.description = "backoff", f"exited with {code}; next start in {pause:g} s"
        elif time.monotonic() >= module.retry_at:
            self._start()

    def _tell(self) -> None:
        """Report what changed since it was last told; where the hub is away, later."""
        module = self._module
        state = {
            "runtimeStatus": module.status,
            "statusDescription": module.description,
            "restartCount": module.restarts,
            "settings": {"image": module.settings.get("image", "")},
            "type": "docker",
        }
        said = {
            "schemaVersion": "1.1",
            "lastDesiredVersion": self._version,
            "lastDesiredStatus": self._outcome,
            "modules": {MODULE: state if module.is_wanted else None},
        }
        if said != self._told:
            with contextlib.suppress(Exception):  # of the SDK's many
                self._client.patch_twin_reported_properties(said)
                self._told = json.loads(json.dumps(said))


def create_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`createOptions`, `createOptions01`, ... put together again, and read."""
    pieces = [str(settings[key]) for key in sorted(settings) if key.startswith(_CREATE)]
    return dict(json.loads("".join(pieces) or "{}"))

"""What a person can do to the lab's hub: bring it up, look at it, have it misbehave."""

import importlib.util
import ipaddress
import json
import shlex
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from fleetctl.errors import FleetError, ToolchainMissing, UsageError
from fleetctl.lab import detached
from fleetctl.lab.iothub.authority import Authority, Credentials
from fleetctl.lab.iothub.emulator import MQTT_PORT, OWNER
from fleetctl.lab.iothub.files import HubFiles, RunningHub, WantedHub
from fleetctl.lab.iothub.signin import token
from fleetctl.lab.ports import is_free
from fleetctl.store import atomic_write

_FOR_EVER = float(2**33)  # of a token: the hub's clock may be set to any time, and has to be set again
_START_PATIENCE = 30.0  # seconds
_POLL = 0.05
_CALL_PATIENCE = 30.0
_NEEDED = ("aiohttp", "amqtt", "cryptography", "lark")


def up(files: HubFiles, wanted: WantedHub) -> tuple[RunningHub, bool]:
    """Have a hub; says whether it was running already. One that was kept comes up with what it held.

    Raises:
        ToolchainMissing: a package that it stands on is not installed.
        UsageError: its address is no loopback address.
        FleetError: it did not come up; says why.
    """
    if (running := status(files)) is not None:
        return running, True
    _check_packages()
    _check_loopback(wanted.address)
    if not is_free(MQTT_PORT, wanted.address):
        raise FleetError(
            f"{wanted.address}:{MQTT_PORT} is taken, and devices know no other port",
            hint="end what listens there, or give the hub another loopback address with --iothub-address",
        )
    files.folder.mkdir(parents=True, exist_ok=True)
    files.record.unlink(missing_ok=True)
    before = WantedHub.read(files.wanted)
    port = before.service_port if before is not None and is_free(before.service_port, wanted.address) else 0
    replace(wanted, service_port=port).write(files.wanted)
    detached.start("fleetctl.lab.iothub.process", str(files.folder), files.log, "hub")
    running = _wait(files)
    replace(wanted, service_port=int(running.host.rpartition(":")[2])).write(files.wanted)
    return running, False


def status(files: HubFiles) -> RunningHub | None:
    """The running hub, or None."""
    return RunningHub.read(files.record) if detached.owner(files.daemon) is not None else None


def require(files: HubFiles) -> RunningHub:
    """The running hub.

    Raises:
        UsageError: it is not up.
    """
    running = status(files)
    if running is None:
        raise UsageError("the lab has no hub", hint="start one with `fleetctl lab up --iothub`")
    return running


def shell_lines(files: HubFiles, environment: Mapping[str, str]) -> str:
    """What tells a shell of the hub: where its key lies, and whom to trust besides those trusted anyway.

    Raises:
        UsageError: the hub is not up.
    """
    import certifi

    require(files)
    before = environment.get("REQUESTS_CA_BUNDLE", "")
    if not before or Path(before) == files.trust.absolute():
        before = certifi.where()
    atomic_write(files.trust, Path(before).read_text() + "\n" + files.certificate.read_text())
    key = shlex.quote(str(files.access.absolute()))
    return (
        f'export FLEETCTL_IOTHUB_CONNECTION_STRING="$(cat {key})"\n'
        f"export REQUESTS_CA_BUNDLE={shlex.quote(str(files.trust.absolute()))}"
    )


def certificate(files: HubFiles, device: str) -> Credentials:
    """A certificate with which a device of that name can sign in; made if it is not there."""
    require(files)
    return Authority(files.folder / "ca").device(device)


def call(files: HubFiles, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Ask the hub for something of the lab's own, below `/lab/`.

    Raises:
        UsageError: the hub is not up, or declines.
    """
    return ask(files, method, f"lab/{path}", body)


def ask(files: HubFiles, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Call the hub's service side, as its owner.

    Raises:
        UsageError: the hub is not up, or declines.
        FleetError: it does not answer.
    """
    host = require(files).host
    key = files.access.read_text().rpartition(";SharedAccessKey=")[2].strip()
    signed = token(host, key, expiry=_FOR_EVER, policy=OWNER)
    request = urllib.request.Request(
        f"https://{host}/{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": signed, "Content-Type": "application/json"},
        method=method,
    )
    trust = ssl.create_default_context(cafile=str(files.certificate))
    try:
        with urllib.request.urlopen(request, timeout=_CALL_PATIENCE, context=trust) as answer:
            said = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise UsageError(f"the hub declines: {_message(error.read())}") from error
    except OSError as error:
        raise FleetError(f"the hub does not answer: {error}", hint=f"see {files.log}") from error
    return said if isinstance(said, dict) else {}


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["Message"]).partition(";")[2]
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:200]


def _check_loopback(address: str) -> None:
    """A hub whose key lies in a file and whose faults anybody may order is for this machine alone."""
    try:
        is_loopback = ipaddress.ip_address(address).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise UsageError(f"{address!r} is no loopback address", hint="use one of 127.0.0.0/8")


def _check_packages() -> None:
    for name in _NEEDED:
        if importlib.util.find_spec(name) is None:
            raise ToolchainMissing(
                f"the hub needs {name}, which is not installed", hint="pip install 'fleetctl[lab]'"
            )


def _wait(files: HubFiles) -> RunningHub:
    give_up = time.monotonic() + _START_PATIENCE
    while time.monotonic() < give_up:
        if (running := RunningHub.read(files.record)) is not None:
            return running
        if detached.owner(files.daemon) is None:
            raise FleetError(f"the hub has ended: {detached.last_line(files.log)}", hint=f"see {files.log}")
        time.sleep(_POLL)
    raise FleetError(
        "the hub does not answer", hint=f"see {files.log}, or start over with `fleetctl lab down`"
    )

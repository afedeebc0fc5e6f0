"""Devices and modules as the registry knows them: who they are, how they sign in, and their twins."""

import base64
import re
import secrets
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from fleetctl.lab.iothub.refusal import bad_argument
from fleetctl.lab.iothub.twins import Section, Twin, etag_of

EDGE_AGENT, EDGE_HUB = "$edgeAgent", "$edgeHub"
BY_EDGE = "IotEdge"  # who manages the modules of a deployment
NEVER = "0001-01-01T00:00:00Z"
_NAME = re.compile(r"[A-Za-z0-9\-:.+%_#*?!(),=@;$']{1,128}")
_THUMBPRINTS = ("primaryThumbprint", "secondaryThumbprint")
_WAYS = ("sas", "selfSigned", "certificateAuthority", "none")

Json = Mapping[str, Any]


class Identity(Struct):
    """A device, or a module of one where `module` is given."""

    device: str
    module: str = ""
    generation: str = field(default_factory=lambda: str(secrets.randbits(59)))
    authentication: dict[str, Any] = field(default_factory=dict)
    is_enabled: bool = True
    reason: str = ""
    is_edge: bool = False
    scope: str = ""
    managed_by: str = ""
    version: int = 1
    twin: Twin = field(default_factory=Twin)
    is_connected: bool = False
    connection_changed: str = NEVER
    last_activity: str = NEVER

    @property
    def path(self) -> str:
        """What a token for it names, below the hub's host."""
        return f"devices/{self.device}" + (f"/modules/{self.module}" if self.module else "")

    @property
    def client(self) -> str:
        """What it calls itself over MQTT."""
        return f"{self.device}/{self.module}" if self.module else self.device

    @property
    def etag(self) -> str:
        return etag_of(self.version)

    @property
    def way(self) -> str:
        """How it signs in."""
        return str(self.authentication.get("type", "sas"))

    @property
    def keys(self) -> list[str]:
        pair = self.authentication.get("symmetricKey") or {}
        return [key for key in (pair.get("primaryKey"), pair.get("secondaryKey")) if key]

    @property
    def thumbprints(self) -> list[str]:
        pair = self.authentication.get("x509Thumbprint") or {}
        both = (pair.get("primaryThumbprint"), pair.get("secondaryThumbprint"))
        return [each.upper().replace(":", "") for each in both if each]

    @property
    def _shown(self) -> str:
        """Its connection as Azure shows it: never that of an edge agent, which sends no messages."""
        return "Connected" if self.is_connected and self.module != EDGE_AGENT else "Disconnected"

    def document(self) -> dict[str, Any]:
        """As the registry shows it."""
        common = {
            "deviceId": self.device,
            "generationId": self.generation,
            "etag": self.etag,
            "connectionState": self._shown,
            "connectionStateUpdatedTime": self.connection_changed,
            "lastActivityTime": self.last_activity,
            "cloudToDeviceMessageCount": 0,
            "authentication": self.authentication,
        }
        if self.module:
            return {**common, "moduleId": self.module, "managedBy": self.managed_by}
        return {
            **common,
            "status": "enabled" if self.is_enabled else "disabled",
            "statusReason": self.reason,
            "statusUpdatedTime": NEVER,
            "capabilities": {"iotEdge": self.is_edge},
            **({"deviceScope": self.scope} if self.scope else {}),
        }

    def twin_document(self) -> dict[str, Any]:
        """As queries and the twins' own paths show it."""
        twin = self.twin
        return {
            "deviceId": self.device,
            **({"moduleId": self.module} if self.module else {}),
            "etag": twin.etag,
            "deviceEtag": self.etag,
            "status": "enabled" if self.is_enabled else "disabled",
            "statusUpdateTime": NEVER,
            "connectionState": self._shown,
            "lastActivityTime": self.last_activity,
            "cloudToDeviceMessageCount": 0,
            "authenticationType": self.way,
            "x509Thumbprint": self.authentication.get("x509Thumbprint") or {},
            "version": twin.version,
            "tags": twin.tags,
            "properties": {"desired": twin.desired.document(), "reported": twin.reported.document()},
            "configurations": twin.configurations,
            "capabilities": {"iotEdge": self.is_edge},
            **({"deviceScope": self.scope} if self.scope else {}),
        }

    def change(self, document: Json) -> None:
        """Take over what a service may say of an identity.

        Raises:
            HubRefusal: the document is malformed.
        """
        self.authentication = _authentication(document.get("authentication"), self.authentication)
        status = document.get("status", "enabled")
        if status not in ("enabled", "disabled"):
            raise bad_argument(f"status {status!r} is neither enabled nor disabled")
        self.is_enabled = status == "enabled"
        self.reason = str(document.get("statusReason") or "")
        self.managed_by = str(document.get("managedBy") or self.managed_by)
        self.is_edge = _is_edge(document) if "capabilities" in document else self.is_edge
        if self.is_edge and not self.scope:
            self.scope = f"ms-azure-iot-edge://{self.device}-{self.generation}"


def new_identity(device: str, module: str, document: Json) -> Identity:
    """An identity that a service asked for.

    Raises:
        HubRefusal: its name or its document is malformed.
    """
    for name in (device, module) if module else (device,):
        if not _NAME.fullmatch(name):
            raise bad_argument(f"{name!r} cannot be the name of a device or module")
    identity = Identity(device, module)
    identity.change(document)
    return identity


def stored(identity: Identity) -> dict[str, Any]:
    """All there is to keep of an identity, as JSON."""
    twin = identity.twin
    return {
        **{name: getattr(identity, name) for name in _KEPT},
        "twin": {
            "tags": twin.tags,
            "version": twin.version,
            "configurations": twin.configurations,
            **{
                s.name: {"values": s.values, "metadata": s.metadata, "version": s.version}
                for s in _sections(twin)
            },
        },
    }


def restored(record: Json) -> Identity:
    """The identity of such a record; nobody is connected yet."""
    identity = Identity(**{name: record[name] for name in _KEPT})
    kept = record["twin"]
    identity.twin = Twin(
        kept["tags"],
        Section("desired", **kept["desired"]),
        Section("reported", **kept["reported"]),
        kept["version"],
        kept["configurations"],
    )
    return identity


_KEPT = (
    *("device", "module", "generation", "authentication", "is_enabled", "reason", "is_edge", "scope"),
    *("managed_by", "version", "connection_changed", "last_activity"),
)


def _sections(twin: Twin) -> tuple[Section, Section]:
    return twin.desired, twin.reported


def _is_edge(document: Json) -> bool:
    capabilities = document.get("capabilities")
    return isinstance(capabilities, Mapping) and capabilities.get("iotEdge") is True


def _authentication(given: Any, before: Json) -> dict[str, Any]:
    """How one signs in: as given, with fresh keys where there are none."""
    given = dict(given) if isinstance(given, Mapping) else dict(before)
    way = given.get("type") or "sas"
    if way not in _WAYS:
        raise bad_argument(f"authentication type {way!r} is none of {', '.join(_WAYS)}")
    keys = given.get("symmetricKey") if isinstance(given.get("symmetricKey"), Mapping) else {}
    prints = given.get("x509Thumbprint") if isinstance(given.get("x509Thumbprint"), Mapping) else {}
    assert isinstance(keys, Mapping)
    assert isinstance(prints, Mapping)
    makes_keys = way == "sas"
    pair = {name: _key(keys.get(name), makes_keys) for name in ("primaryKey", "secondaryKey")}
    return {
        "symmetricKey": {name: key for name, key in pair.items() if key},
        "x509Thumbprint": {name: str(prints[name]) for name in _THUMBPRINTS if prints.get(name)},
        "type": way,
    }


def _key(given: Any, makes: bool) -> str | None:
    if given:
        try:
            base64.b64decode(str(given), validate=True)
        except ValueError as error:
            raise bad_argument("a symmetric key is not base64") from error
        return str(given)
    return base64.b64encode(secrets.token_bytes(32)).decode() if makes else None

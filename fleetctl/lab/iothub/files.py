"""Where a lab's hub lies, and the record by which others find it."""

import json
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import asdict

from fleetctl.errors import FleetError
from fleetctl.lab.state import LabFiles
from fleetctl.store import atomic_write

SCHEMA = "fleetctl.lab-hub/v1"
T = TypeVar("T", "WantedHub", "RunningHub")


class HubFiles(Struct, frozen=True):
    """The hub's folder, `iothub` in the lab's."""

    folder: Path

    @classmethod
    def of(cls, files: LabFiles) -> "HubFiles":
        return cls(files.folder / "iothub")

    @property
    def daemon(self) -> Path:
        """Held locked by the daemon as long as it lives, with its pid inside."""
        return self.folder / "daemon.lock"

    @property
    def log(self) -> Path:
        return self.folder / "daemon.log"

    @property
    def wanted(self) -> Path:
        """What kind of hub there should be."""
        return self.folder / "wanted.json"

    @property
    def record(self) -> Path:
        """Written by the daemon once it listens."""
        return self.folder / "hub.json"

    @property
    def access(self) -> Path:
        """The connection string of the hub's owner, which holds its key; for its owner's eyes."""
        return self.folder / "connection-string"

    @property
    def certificate(self) -> Path:
        """Of the CA that vouches for the hub: what REQUESTS_CA_BUNDLE has to name."""
        return self.folder / "ca" / "ca.pem"

    @property
    def trust(self) -> Path:
        """That CA with those that are trusted anyway, for a shell that talks to others, too."""
        return self.folder / "ca" / "trust.pem"

    @property
    def boards(self) -> Path:
        """Which boards there should be, and which of them have power."""
        return self.folder / "boards.json"

    @property
    def boards_daemon(self) -> Path:
        """Held locked by the daemon of the boards' agents."""
        return self.folder / "boards.lock"

    @property
    def boards_log(self) -> Path:
        return self.folder / "boards.log"


class WantedHub(Struct, frozen=True):
    """A hub to have."""

    address: str = "127.0.0.1"
    tier: str = "S1"
    units: int = 1
    evaluation: float = 1.0  # seconds between two looks at target conditions
    service_port: int = 0  # 0: a free one

    def write(self, path: Path) -> None:
        atomic_write(path, json.dumps({"schema": SCHEMA, **asdict(self)}) + "\n")

    @classmethod
    def read(cls, path: Path) -> "WantedHub | None":
        """Raises `FleetError` where the file is not one that this version wrote."""
        record = _read(path)
        return None if record is None else _made(cls, record, path)


class RunningHub(Struct, frozen=True):
    """A hub that listens."""

    pid: int
    host: str  # of the service side, with its port: what a connection string names
    address: str
    mqtt_port: int
    tier: str
    units: int

    def write(self, path: Path) -> None:
        atomic_write(path, json.dumps({"schema": SCHEMA, **asdict(self)}) + "\n")

    @classmethod
    def read(cls, path: Path) -> "RunningHub | None":
        """Raises `FleetError` where the file is not one that this version wrote."""
        record = _read(path)
        return None if record is None else _made(cls, record, path)


def _made(kind: type[T], record: dict[str, Any], path: Path) -> T:
    try:
        return kind(**record)
    except TypeError as error:
        raise _foreign(path, error) from error


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_bytes())
        if record.pop("schema") != SCHEMA:
            raise ValueError(f"its schema is not {SCHEMA}")
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, AttributeError) as error:
        raise _foreign(path, error) from error
    return dict(record)


def _foreign(path: Path, error: Exception) -> FleetError:
    return FleetError(
        f"{path} is not a hub of this version ({error})", hint="start over with `fleetctl lab down`"
    )

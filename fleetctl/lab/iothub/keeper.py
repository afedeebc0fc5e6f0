"""The hub's state on disk: one file a device, so that a change is one small write; one of deployments."""

import json
from pathlib import Path
from typing import Any

from msgspec import to_builtins

from fleetctl.errors import FleetError
from fleetctl.lab.iothub.deployments import Configuration
from fleetctl.lab.iothub.hub import Hub
from fleetctl.lab.iothub.identities import restored, stored
from fleetctl.store import atomic_write, sha256

SCHEMA = "fleetctl.lab-hub/v1"


class Keeper:
    """Keeps a hub in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept_configurations = ""

    def restore(self, hub: Hub) -> None:
        """Give a fresh hub what was kept.

        Raises:
            FleetError: a file is not one that this version wrote.
        """
        devices = [
            each for path in sorted(self._devices.glob("*.json")) for each in self._read(path, "identities")
        ]
        configurations = self._read(self._configurations, "configurations")
        try:
            hub.restore(
                [restored(each) for each in devices], [Configuration(**each) for each in configurations]
            )
        except (KeyError, TypeError) as error:
            raise self._foreign(self.folder, error) from error

    def save(self, hub: Hub) -> None:
        """Write down what changed since the last time; when this returns, it is on disk."""
        for name, identities in hub.take_changed().items():
            path = self._devices / f"{sha256(name.encode())}.json"
            if identities:
                record = {
                    "schema": SCHEMA,
                    "device": name,
                    "identities": [stored(each) for each in identities],
                }
                atomic_write(path, json.dumps(record))
            else:
                path.unlink(missing_ok=True)
        self._save_configurations(hub)

    def _save_configurations(self, hub: Hub) -> None:
        text = json.dumps([to_builtins(each) for each in hub.configurations.values()])
        if text != self._kept_configurations:
            atomic_write(self._configurations, f'{{"schema": "{SCHEMA}", "configurations": {text}}}\n')
            self._kept_configurations = text

    @property
    def _devices(self) -> Path:
        return self.folder / "devices"

    @property
    def _configurations(self) -> Path:
        return self.folder / "configurations.json"

    def _read(self, path: Path, key: str) -> list[dict[str, Any]]:
        try:
            record = json.loads(path.read_bytes())
            if record["schema"] != SCHEMA or not isinstance(record[key], list):
                raise ValueError(f"its schema is not {SCHEMA}")
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError) as error:
            raise self._foreign(path, error) from error
        else:
            return list(record[key])

    def _foreign(self, path: Path, error: Exception) -> FleetError:
        return FleetError(
            f"{path} is not a hub of this version ({error})", hint="remove it to start with an empty hub"
        )

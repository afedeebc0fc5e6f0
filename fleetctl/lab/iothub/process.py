"""The hub's daemon, `python -m fleetctl.lab.iothub.process FOLDER`: serves until SIGTERM."""

import asyncio
import contextlib
import os
import re
import secrets
import signal
import sys
from base64 import b64encode
from pathlib import Path
from typing import IO

from fleetctl.errors import FleetError
from fleetctl.lab.detached import detach, is_at, lock
from fleetctl.lab.iothub.emulator import Emulator, Settings
from fleetctl.lab.iothub.files import HubFiles, RunningHub, WantedHub
from fleetctl.store import atomic_write

_LOOK_EVERY = 1.0  # seconds


async def _run(files: HubFiles, wanted: WantedHub, held: IO[bytes]) -> None:
    emulator = Emulator(_settings(files, wanted))
    ending = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, ending.set)
    await emulator.start()
    _tell(files, emulator)
    while not ending.is_set() and is_at(held, files.daemon):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ending.wait(), _LOOK_EVERY)
    await emulator.stop()


def _settings(files: HubFiles, wanted: WantedHub) -> Settings:
    return Settings(
        files.folder,
        host=wanted.address,
        address=wanted.address,
        service_port=wanted.service_port,
        tier=wanted.tier,
        units=wanted.units,
        evaluation=wanted.evaluation,
        key=_key(files),
    )


def _key(files: HubFiles) -> str:
    """The owner's key: that of the last time, so that what was written down elsewhere still holds."""
    before = files.access.read_text() if files.access.exists() else ""
    found = re.search(r";SharedAccessKey=(\S+)", before)
    return found[1] if found else b64encode(secrets.token_bytes(32)).decode()


def _tell(files: HubFiles, emulator: Emulator) -> None:
    settings = emulator.settings
    atomic_write(files.access, emulator.connection_string + "\n", mode=0o600)
    RunningHub(
        os.getpid(),
        emulator.service_host,
        settings.address,
        settings.mqtt_port,
        settings.tier,
        settings.units,
    ).write(files.record)


def main() -> None:
    """Return when the daemon is on its way, holding its lock; it answers in `hub.json` once it listens."""
    files = HubFiles(Path(sys.argv[1]))
    wanted = WantedHub.read(files.wanted) or WantedHub()
    with lock(files.daemon) as held:
        detach(held)
        try:
            asyncio.run(_run(files, wanted, held))
        except (FleetError, OSError) as error:
            sys.exit(f"{error}")


if __name__ == "__main__":
    main()

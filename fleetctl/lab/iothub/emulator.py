"""The hub with both its sides, on one event loop: for `fleetctl lab up --iothub`, in a thread for tests."""

import asyncio
import base64
import contextlib
import secrets
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, field

from fleetctl.lab.iothub import service_configurations, service_registry, service_twins
from fleetctl.lab.iothub.authority import Authority
from fleetctl.lab.iothub.device_side import DeviceSide
from fleetctl.lab.iothub.hub import Hub
from fleetctl.lab.iothub.keeper import Keeper
from fleetctl.lab.iothub.limits import TIERS, Meter
from fleetctl.lab.iothub.service import Service, application

if TYPE_CHECKING:
    from aiohttp import web

MQTT_PORT = 8883  # devices know no other
OWNER = "iothubowner"
_TICK = 0.1  # seconds


class HubClock:
    """The time, and by how much a test has it go ahead."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Settings(Struct, frozen=True):
    """Where a hub listens and what it is. Its folder holds the CA and, unless `keeps` is false, its state."""

    folder: Path
    host: str = "127.0.0.1"  # what clients call it; its certificate names it
    address: str = "127.0.0.1"
    service_port: int = 0  # 0: a free one
    mqtt_port: int = MQTT_PORT
    tier: str = "S1"
    units: int = 1
    evaluation: float = 0.5  # seconds between two looks at target conditions; Azure takes minutes
    keeps: bool = True
    key: str = field(default_factory=lambda: base64.b64encode(secrets.token_bytes(32)).decode())
    bearer: str = ""


class Emulator:
    """A hub at work. Everything but `start` and `stop` is read by others only through the network."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = HubClock()
        tier = TIERS[settings.tier].times(settings.units)
        self.hub = Hub(tier, self.clock)
        self.authority = Authority(settings.folder / "ca")
        self._keeper = Keeper(settings.folder / "state") if settings.keeps else None
        self.devices = DeviceSide(self.hub, self.authority, settings.host, self.clock, self._save)
        self.service = Service(
            self.hub,
            Meter(tier, self.clock),
            self.clock,
            self.devices,
            self._save,
            {OWNER: settings.key},
            settings.bearer,
            set_clock=self._set_clock,
        )
        self.service_port = 0
        self._stack = contextlib.AsyncExitStack()

    @property
    def service_host(self) -> str:
        """What a connection string names."""
        return f"{self.settings.host}:{self.service_port}"

    @property
    def connection_string(self) -> str:
        """What an owner signs in with: it holds the key."""
        return f"HostName={self.service_host};SharedAccessKeyName={OWNER};SharedAccessKey={self.settings.key}"

    async def start(self) -> None:
        """Restore the state and listen.

        Raises:
            OSError: a port is taken.
            FleetError: the state on disk is not this version's.
        """
        if self._keeper is not None:
            self._keeper.restore(self.hub)
        await self.devices.start(self.settings.address, self.settings.mqtt_port)
        self._stack.push_async_callback(self.devices.stop)
        await self._serve()
        beat = asyncio.create_task(self._beat())
        self._stack.callback(beat.cancel)

    async def stop(self) -> None:
        await self._stack.aclose()
        self._save()

    async def _serve(self) -> None:
        from aiohttp import web

        routes = [*service_registry.routes(), *service_twins.routes(), *service_configurations.routes()]
        runner = web.AppRunner(application(self.service, routes), access_log=None, shutdown_timeout=1)
        await runner.setup()
        self._stack.push_async_callback(_end, runner)
        server = self.authority.server(self.settings.host)
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(server.certificate, server.key)
        site = web.TCPSite(runner, self.settings.address, self.settings.service_port, ssl_context=tls)
        await site.start()
        self.service_port = int(runner.addresses[0][1])

    async def _beat(self) -> None:
        """Look at target conditions when their time has come, and at tokens that ran out."""
        due = 0.0
        while True:
            await asyncio.sleep(min(_TICK, self.settings.evaluation))
            self.devices.expire()
            if self.hub.needs_evaluation and time.monotonic() >= due:
                due = time.monotonic() + self.settings.evaluation
                self.hub.evaluate()
                self._save()

    def _save(self) -> None:
        if self._keeper is not None:
            self._keeper.save(self.hub)
        else:
            self.hub.take_changed()

    def _set_clock(self, ahead: float) -> None:
        self.clock.ahead = ahead


async def _end(runner: "web.AppRunner") -> None:
    """Stop serving at once: a client that keeps its connection open would hold up the end of TLS."""
    if runner.server is not None:
        for connection in runner.server.connections:
            if connection.transport is not None:
                connection.transport.abort()
    await runner.cleanup()
    await asyncio.sleep(0.01)  # until what was aborted is closed


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[Emulator]:
    """A hub in a thread of its own, for as long as the block lasts.

    Raises:
        OSError, FleetError: as `Emulator.start` does.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="hub", daemon=True)
    thread.start()
    emulator = Emulator(settings)
    try:
        asyncio.run_coroutine_threadsafe(emulator.start(), loop).result(30)
        yield emulator
    finally:
        asyncio.run_coroutine_threadsafe(emulator.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()

"""What a board said to `examine`, read with suspicion: what has the wrong type counts as not said."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from fleetctl.compatibility.offer import Reported
from fleetctl.observation import Observed, seconds_of
from fleetctl.untrusted import mapping, mappings, number, text, truth, whole

_SEVERAL = 16  # interfaces or accelerators of one board; more are not listened to


class Interface(Struct, frozen=True):
    name: str
    error_share: float | None  # of received packets
    signal_dbm: float | None


class EdgeTpuSeen(Struct, frozen=True):
    """An Edge TPU on the board's buses; `firmware` is None where it cannot be told (PCIe)."""

    bus: str
    port: str
    firmware: bool | None
    temperature_c: float | None


class Examination(Struct, frozen=True):
    """A board in detail. Bytes, Celsius, seconds; None for what the board cannot tell."""

    temperature_c: float | None = None
    throttled_flags: int | None = None  # of `vcgencmd get_throttled`
    load1: float | None = None
    cpus: int | None = None
    disk_total: int | None = None
    disk_free: int | None = None
    disk_read_only: bool | None = None
    files_free_share: float | None = None
    memory_total: int | None = None
    memory_free: int | None = None
    clock: float | None = None  # seconds since 1970
    synchronized: bool | None = None
    interfaces: tuple[Interface, ...] = ()
    default_route: bool | None = None
    edge_tpus: tuple[EdgeTpuSeen, ...] = ()
    service_state: str = ""
    restarts: int | None = None
    platform: Reported = field(default_factory=Reported)

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> "Examination":
        """Read the reply of the board verb `examine`."""
        health, disk, memory = (mapping(data.get(key)) for key in ("health", "disk", "memory"))
        clock, network, service = (mapping(data.get(key)) for key in ("clock", "network", "service"))
        return cls(
            temperature_c=number(health.get("temperature_c")),
            throttled_flags=whole(health.get("throttled_flags")),
            load1=number(health.get("load1")),
            cpus=whole(data.get("cpus")),
            disk_total=whole(disk.get("total_bytes")),
            disk_free=whole(disk.get("free_bytes")),
            disk_read_only=truth(disk.get("read_only")),
            files_free_share=_share(disk.get("free_files"), disk.get("total_files")),
            memory_total=whole(memory.get("total_bytes")),
            memory_free=whole(memory.get("free_bytes")),
            clock=seconds_of(clock.get("time")),
            synchronized=truth(clock.get("synchronized")),
            interfaces=tuple(map(_interface, mappings(network.get("interfaces"))[:_SEVERAL])),
            default_route=truth(network.get("default_route")),
            edge_tpus=tuple(map(_edge_tpu, mappings(data.get("edge_tpus"))[:_SEVERAL])),
            service_state=text(service.get("state")),
            restarts=whole(service.get("restarts")),
            platform=Observed.parse("", data).platform,
        )


def _interface(data: Mapping[str, Any]) -> Interface:
    errors = _share(data.get("errors"), data.get("packets"))
    return Interface(text(data.get("name")), errors, number(data.get("signal_dbm")))


def _edge_tpu(data: Mapping[str, Any]) -> EdgeTpuSeen:
    return EdgeTpuSeen(
        text(data.get("bus")),
        text(data.get("port")),
        truth(data.get("firmware")),
        number(data.get("temperature_c")),
    )


def _share(part: object, whole: object) -> float | None:
    some, total = number(part), number(whole)
    return None if some is None or not total else some / total

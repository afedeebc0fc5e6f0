"""What a board said to `examine`, read with suspicion: what has the wrong type counts as not said."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from fleetctl.compatibility.offer import Reported
from fleetctl.observation import Observed, number, seconds_of


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
        health, disk, memory = (_mapping(data.get(key)) for key in ("health", "disk", "memory"))
        clock, network, service = (_mapping(data.get(key)) for key in ("clock", "network", "service"))
        return cls(
            temperature_c=number(health.get("temperature_c")),
            throttled_flags=_whole(health.get("throttled_flags")),
            load1=number(health.get("load1")),
            cpus=_whole(data.get("cpus")),
            disk_total=_whole(disk.get("total_bytes")),
            disk_free=_whole(disk.get("free_bytes")),
            disk_read_only=_truth(disk.get("read_only")),
            files_free_share=_share(disk.get("free_files"), disk.get("total_files")),
            memory_total=_whole(memory.get("total_bytes")),
            memory_free=_whole(memory.get("free_bytes")),
            clock=seconds_of(clock.get("time")),
            synchronized=_truth(clock.get("synchronized")),
            interfaces=tuple(map(_interface, _mappings(network.get("interfaces")))),
            default_route=_truth(network.get("default_route")),
            edge_tpus=tuple(map(_edge_tpu, _mappings(data.get("edge_tpus")))),
            service_state=_text(service.get("state")),
            restarts=_whole(service.get("restarts")),
            platform=Observed.parse("", data).platform,
        )


def _interface(data: Mapping[str, Any]) -> Interface:
    errors = _share(data.get("errors"), data.get("packets"))
    return Interface(_text(data.get("name")), errors, number(data.get("signal_dbm")))


def _edge_tpu(data: Mapping[str, Any]) -> EdgeTpuSeen:
    return EdgeTpuSeen(
        _text(data.get("bus")),
        _text(data.get("port")),
        _truth(data.get("firmware")),
        number(data.get("temperature_c")),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [_mapping(each) for each in value[:16]] if isinstance(value, list) else []


def _text(value: object) -> str:
    return value[:200] if isinstance(value, str) else ""


def _truth(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _whole(value: object) -> int | None:
    known = number(value)
    return None if known is None else int(known)


def _share(part: object, whole: object) -> float | None:
    some, total = number(part), number(whole)
    return None if some is None or not total else some / total

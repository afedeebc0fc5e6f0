"""The fleet's status as Prometheus text (version 0.0.4): for node_exporter's textfile folder, or a scrape."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from fleetctl.manifest.schema import Board
from fleetctl.observation import Reach, seconds_of
from fleetctl.status import BoardStatus, Standing, proved_at

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Metric(Struct, frozen=True):
    """A gauge with one value a board; boards for which `value` is None have no sample."""

    name: str
    help: str
    value: Callable[[BoardStatus], float | None]


METRICS = (
    Metric(
        "fleetctl_board_healthy",
        "1 where a board does what git says and nothing strains it.",
        lambda s: float(s.healthy),
    ),
    Metric(
        "fleetctl_board_reached",
        "1 where the board answered.",
        lambda s: float(s.observed.reach is Reach.REACHED),
    ),
    Metric(
        "fleetctl_board_as_declared",
        "1 where the serving process has the release loaded that git says.",
        lambda s: _as_declared(s),
    ),
    Metric(
        "fleetctl_board_serving_since_timestamp_seconds",
        "When the serving process loaded its release.",
        lambda s: seconds_of(s.observed.loaded.since) if s.observed.loaded else None,
    ),
    Metric(
        "fleetctl_board_proved_timestamp_seconds", "When the loaded release last passed its proof.", proved_at
    ),
    Metric(
        "fleetctl_board_proof_p95_seconds",
        "Latency that the loaded release proved, 95th percentile.",
        lambda s: None if s.p95_ms is None else s.p95_ms / 1000,
    ),
    Metric(
        "fleetctl_board_temperature_celsius",
        "The hottest sensor of the board.",
        lambda s: s.observed.health.temperature_c,
    ),
    Metric(
        "fleetctl_board_throttled",
        "1 while the board is throttled or under-voltage.",
        lambda s: _number(s.observed.health.throttled),
    ),
    Metric(
        "fleetctl_board_disk_free_bytes",
        "Room where fleetctl keeps releases.",
        lambda s: _number(s.observed.health.disk_free_bytes),
    ),
    Metric(
        "fleetctl_board_memory_free_bytes",
        "Memory that programs could still have.",
        lambda s: _number(s.observed.health.memory_free_bytes),
    ),
    Metric("fleetctl_board_load1", "Load average over one minute.", lambda s: s.observed.health.load1),
    Metric(
        "fleetctl_board_uptime_seconds", "Since the board was started.", lambda s: s.observed.health.uptime_s
    ),
)
INFO = ("fleetctl_board_info", "What a board runs: labels only, always 1.")
COUNTS = ("fleetctl_boards", "Boards by how they stand.")
ASKED = ("fleetctl_status_timestamp_seconds", "When the boards were asked.")


def prometheus_text(statuses: Sequence[BoardStatus], boards: Mapping[str, Board], now: float) -> str:
    """All metrics of a fleet; `now` is the time of asking in seconds since 1970. Ends with a newline."""
    lines = [*_head(*ASKED), f"{ASKED[0]} {now:.3f}", *_head(*COUNTS)]
    counts = Counter(status.standing for status in statuses)
    lines += [_sample(COUNTS[0], {"standing": standing.value}, counts[standing]) for standing in Standing]
    lines += _head(*INFO)
    lines += [_sample(INFO[0], _info(status, boards[status.board]), 1) for status in statuses]
    for metric in METRICS:
        lines += _head(metric.name, metric.help)
        values = ((status.board, metric.value(status)) for status in statuses)
        lines += [_sample(metric.name, {"board": name}, value) for name, value in values if value is not None]
    return "\n".join(lines) + "\n"


def _info(status: BoardStatus, board: Board) -> dict[str, str]:
    loaded = status.observed.loaded
    return {
        "board": status.board,
        "kind": board.board.value,
        "model": board.model,
        "site": board.labels.get("site", ""),
        "release": loaded.release if loaded else "",
        "desired": status.desired or "",
        "accelerator": loaded.accelerator if loaded else "",
        "standing": status.standing.value,
    }


def _as_declared(status: BoardStatus) -> float | None:
    if status.desired is None or status.observed.reach is not Reach.REACHED:
        return None
    loaded = status.observed.loaded
    return float(loaded is not None and loaded.release == status.desired)


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _head(name: str, text: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} gauge"]


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    inside = ",".join(f'{key}="{text.translate(_ESCAPES)}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value!r}"

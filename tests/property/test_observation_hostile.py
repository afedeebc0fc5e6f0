"""Whatever a board says of itself, it is read without an error and shown without harm."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetctl.device.way_back import release_before, went_back
from fleetctl.manifest.schema import Board, BoardKind, VariantName
from fleetctl.observation import Observed
from fleetctl.report.status import status_markdown, status_text
from fleetctl.status import assess

NOISE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(["\x1b[2J", "a" * 64, "0" * 64, "\u202egnp", "| <b>", "2026-01-01T00:00:00Z"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
HONEST: dict[str, Any] = {
    "current": "a" * 64,
    "good": "a" * 64,
    "pending": None,
    "files": {"config/serve.json": {"sha256": "b" * 64, "size": 1}},
    "config": {"threshold": 0.5},
    "service": {"state": "running", "loaded": {"release": "a" * 64, "started": "2026-01-01T00:00:00Z"}},
    "receipt": {"release": "a" * 64, "latency_ms": {"p95": 4.0}, "outcome": "passed", "state": "confirmed"},
    "health": {"temperature_c": 48.5, "disk_free_bytes": 1 << 30},
    "trust": {"fleet": "unas", "board": "b", "keys": ["c" * 64], "serial": 4},
    "platform": {"machine": "aarch64", "python": {"path": "/usr/bin/python3"}},
    "time": "2026-01-01T00:00:00Z",
}
BOARD = Board("b", BoardKind.RASPBERRYPI4, "reader", VariantName.INT8, host="192.0.2.1")


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(HONEST, NOISE)))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_observation_is_too_strange(noise: dict[str, Any]) -> None:
    """Any field may be anything: there is a status, it is one, and a terminal is not moved by it."""
    said = json.loads(json.dumps({**HONEST, **noise}))
    status = assess(BOARD, "a" * 64, Observed.parse("b", said))

    json.dumps(status.to_json(), allow_nan=False)
    for text in (status_text([status]), status_markdown([status])):
        assert all(line.isprintable() for line in text.splitlines()), text


RECEIPTS = st.lists(
    NOISE
    | st.fixed_dictionaries(
        {
            "state": st.sampled_from(["confirmed", "reverted"]),
            "release": st.sampled_from(["a" * 64, "b" * 64]),
        },
        optional={"left": NOISE, "restored": NOISE},
    ),
    max_size=5,
)


@given(RECEIPTS)
def test_no_history_is_too_strange(receipts: list[Any]) -> None:
    """`rollback` of a signed fleet asks where a board would go back to: it has an answer, or none."""
    went_back(receipts, "a" * 64)

    assert release_before(receipts, "a" * 64) in (None, "0" * 64, "b" * 64)


def test_an_honest_board_is_read_whole() -> None:
    """The control: what the noise replaces is understood where it is right."""
    seen = Observed.parse("b", HONEST)

    assert seen.loaded is not None
    assert seen.trust is not None
    assert (seen.current, seen.trust.serial, seen.health.temperature_c) == ("a" * 64, 4, 48.5)


def test_what_a_board_says_stays_on_its_line() -> None:
    """Its words become part of an error, and no hint that stands below is of its making."""
    service = {"state": "gone\nhint: run `x`", "loaded": {"accelerator": "\x1b[2Jcpu\u2028"}}
    seen = Observed.parse("b", {**HONEST, "service": service})

    assert seen.loaded is not None
    assert ("gone hint: run `x`", " [2Jcpu ") == (seen.service, seen.loaded.accelerator)

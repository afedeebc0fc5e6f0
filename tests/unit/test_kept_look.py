"""What a board says again, read with as much suspicion as what it says."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.device.loader import folded
from fleetctl.transports import kept_look
from fleetctl.transports.ssh_connection import Outcome

REPLY = {
    "ok": True,
    "current": "a" * 64,
    "time": "then",
    "health": {},
    "service": {},
    "files": {"x" * 1000: 1},
}
SERVICE = {"status": "ok", "release": "a" * 64, "model_sha256": "b" * 64, "accelerator": "cpu", "pid": 7}
VITAL = ["0 10 20 4096", "1000", "12.5", "0.25", " 41000 52500", "throttled=0x50005"]


def said(*, reply: str = "", vital: list[str] = VITAL, service: object = SERVICE) -> bytes:
    lines = ["~look 2026-01-01T00:00:00Z", reply or folded(json.dumps(REPLY)).strip(), *vital]
    return "\n".join([*lines, "" if service is None else json.dumps(service), ""]).encode()


def test_the_moment_is_put_into_what_was_kept() -> None:
    """Time, service and health are those said now, the rest is the reply of then."""
    found = kept_look.parse(b"Welcome!\n" + said())

    assert found is not None
    assert ("2026-01-01T00:00:00Z", REPLY["current"]) == (found["time"], found["current"])
    assert ("running", 7) == (found["service"]["state"], found["service"]["loaded"]["pid"])
    assert found["health"] == {
        "temperature_c": 52.5,
        "throttled": True,
        "throttled_flags": 0x50005,
        "disk_free_bytes": 20 * 4096,
        "memory_free_bytes": 1_024_000,
        "uptime_s": 12.5,
        "load1": 0.25,
    }


def test_a_service_that_says_the_same_is_not_told_again() -> None:
    """An empty line stands for what it said before."""
    kept = {"state": "running", "loaded": {"pid": 3}}
    found = kept_look.parse(said(reply=json.dumps({**REPLY, "service": kept}), service=None))
    assert found is not None
    assert found["service"] == kept


def test_who_is_not_root_has_less_of_the_disk() -> None:
    """What the system reserves counts for root alone, as Python's own look has it."""
    found = kept_look.parse(said(vital=["1000 10 20 4096", *VITAL[1:]]))
    assert found is not None
    assert found["health"]["disk_free_bytes"] == 10 * 4096


def test_a_sensor_that_is_not_there_is_null() -> None:
    """Empty lines, and words that are no numbers, are facts that cannot be told."""
    found = kept_look.parse(said(vital=["", "x", "nan", "inf", "-", "throttled=?"]))
    assert found is not None
    assert set(found["health"].values()) == {None}


@pytest.mark.parametrize(
    "stdout",
    [
        b"",
        b"~look \n",
        said(reply="=AAAA"),
        said(reply='{"ok": false, "code": "busy", "error": ""}'),
        said()[:-20],
    ],
    ids=["nothing", "cut", "damaged", "declined", "half a service"],
)
def test_anything_else_is_no_answer(stdout: bytes) -> None:
    """The board is looked at instead."""
    assert kept_look.parse(stdout) is None
    assert kept_look.is_damaged(Outcome(0, stdout, b""))


@pytest.mark.parametrize("outcome", [Outcome(0, b'{"ok": true}\n', b""), Outcome(94, b"", b"")])
def test_the_answer_to_a_look_is_not_what_was_kept(outcome: Outcome) -> None:
    """A board that kept nothing that holds went on to look, or has no release: it need not be asked again."""
    assert kept_look.parse(outcome.stdout) is None
    assert not kept_look.is_damaged(outcome)


@given(st.binary(max_size=300), st.lists(st.text(max_size=30), min_size=6, max_size=6))
def test_no_words_of_a_board_break_the_reading(noise: bytes, vital: list[str]) -> None:
    """Whatever it says is an answer, or none."""
    kept_look.parse(noise)
    kept_look.parse(b"~look " + noise)
    kept_look.parse(said(vital=vital))

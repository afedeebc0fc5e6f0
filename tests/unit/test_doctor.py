"""Each check of `fleetctl doctor`: what is seen, how bad it is, and what to do."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fleetctl.compatibility.offer import Reported
from fleetctl.compatibility.versions import Version
from fleetctl.doctor import Finding, Grade, Proof, Remedy, diagnose
from fleetctl.examination import EdgeTpuSeen, Examination, Interface
from fleetctl.manifest.schema import Accelerator, Board, BoardKind, VariantName
from fleetctl.observation import Loaded, Observed
from fleetctl.report.doctor import doctor_markdown, doctor_text
from fleetctl.smoke import Outcome
from fleetctl.status import assess

NEW = "a" * 64
NOW = 1_700_000_000.0
BOARD = Board("luxor-01", BoardKind.RASPBERRYPI4, "reader", VariantName.INT8, host="h")
TPU = replace(BOARD, accelerator=Accelerator.REQUIRED)
SEEN = Observed(
    "luxor-01",
    current=NEW,
    good=NEW,
    service="running",
    loaded=Loaded(NEW, "b" * 64, "edgetpu", "2026-01-01T00:00:00Z"),
)
USB = EdgeTpuSeen("usb", "1-1", True, None)
WELL = Examination(
    temperature_c=50.0,
    throttled_flags=0,
    load1=0.5,
    cpus=4,
    disk_total=16 << 30,
    disk_free=8 << 30,
    disk_read_only=False,
    files_free_share=0.9,
    memory_total=2 << 30,
    memory_free=1 << 30,
    clock=NOW,
    synchronized=True,
    interfaces=(Interface("eth0", 0.0, None),),
    default_route=True,
    edge_tpus=(USB,),
    service_state="active (running)",
    restarts=0,
    platform=Reported(python=Version(3, 11)),
)
PASSED = Proof(Outcome.PASSED, (), 4.0)


def findings(
    found: Examination = WELL,
    *,
    board: Board = TPU,
    seen: Observed = SEEN,
    proof: Proof = PASSED,
    refusals: tuple[str, ...] = (),
) -> dict[str, Finding]:
    status = assess(board, NEW, seen)
    return {f.check: f for f in diagnose(board, status, found, proof, refusals=refusals, now=NOW)}


def test_a_board_in_good_health() -> None:
    """Every check is good, and nothing is advised."""
    found = findings()

    assert {Grade.GOOD} == {finding.grade for finding in found.values()}
    assert not any(finding.advice or finding.remedies for finding in found.values())


@pytest.mark.parametrize(
    ("change", "check", "grade", "seen"),
    [
        ({"throttled_flags": 0x10001}, "power", "bad", "under-voltage now"),
        ({"throttled_flags": 0x10000}, "power", "warn", "under-voltage since boot"),
        ({"throttled_flags": None}, "power", "unknown", "this board has no sensor for it"),
        ({"throttled_flags": 0x4}, "temperature", "bad", "50 C, slowed down now"),
        ({"throttled_flags": 0x80000}, "temperature", "warn", "50 C, slowed down since boot"),
        ({"temperature_c": 81.0}, "temperature", "bad", "81 C"),
        ({"temperature_c": 72.0}, "temperature", "warn", "72 C"),
        ({"temperature_c": None}, "temperature", "unknown", "this board has no sensor for it"),
        ({"disk_read_only": True}, "disk", "bad", "8192 of 16384 MiB free, mounted read-only"),
        ({"disk_free": 10 << 20}, "disk", "bad", "10 of 16384 MiB free"),
        ({"disk_free": 1 << 30}, "disk", "warn", "1024 of 16384 MiB free"),
        ({"files_free_share": 0.01}, "disk", "warn", "8192 of 16384 MiB free, few files left"),
        ({"disk_free": None}, "disk", "unknown", "the board does not say"),
        ({"memory_free": 50 << 20}, "memory", "bad", "50 of 2048 MiB free"),
        ({"memory_free": 150 << 20}, "memory", "warn", "150 of 2048 MiB free"),
        ({"load1": 9.0}, "load", "warn", "9.0 on 4 processors"),
        ({"clock": NOW - 3600}, "clock", "bad", "3600 s slow"),
        ({"clock": NOW + 45}, "clock", "warn", "45 s fast"),
        ({"synchronized": False}, "clock", "warn", "right, and nothing keeps it so"),
        (
            {"interfaces": (Interface("eth0", 0.05, None),)},
            "network",
            "warn",
            "eth0 receives broken packets",
        ),
        (
            {"interfaces": (Interface("wlan0", 0.0, -80.0),)},
            "network",
            "warn",
            "wlan0 hears its access point at -80 dBm",
        ),
        ({"default_route": False}, "network", "good", "eth0, without a way out: fleetctl needs none"),
        ({"restarts": 7}, "service", "warn", "running, active (running), 7 restarts by itself"),
        ({"edge_tpus": ()}, "accelerator", "bad", "no Edge TPU shows on USB or PCIe"),
        (
            {"edge_tpus": (replace(USB, firmware=False),)},
            "accelerator",
            "bad",
            "usb 1-1: it was never used since it had power, whatever the service says",
        ),
        (
            {"edge_tpus": (EdgeTpuSeen("pcie", "apex_0", None, 91.0),)},
            "accelerator",
            "bad",
            "pcie apex_0, 91 C",
        ),
    ],
)
def test_one_thing_is_wrong(change: dict[str, Any], check: str, grade: str, seen: str) -> None:
    """It is graded, said, and never left without advice; nothing else is bad for it."""
    found = findings(replace(WELL, **change))

    assert (Grade(grade), seen) == (found[check].grade, found[check].seen)
    assert bool(found[check].advice) == (found[check].grade in (Grade.BAD, Grade.WARN))
    assert {check} >= {f.check for f in found.values() if f.grade is Grade.BAD}


@pytest.mark.parametrize(
    ("bus", "rungs"),
    [("usb", [*Remedy]), ("pcie", [Remedy.RESTART_SERVICE, Remedy.REBOOT])],
)
def test_the_ladder_of_a_stuck_accelerator(bus: str, rungs: list[Remedy]) -> None:
    """A service that fell back, or no longer answers, calls for the rungs that its bus has, mildest first."""
    on_cpu = replace(SEEN, loaded=Loaded(NEW, "b" * 64, "cpu"))
    found = findings(replace(WELL, edge_tpus=(replace(USB, bus=bus),)), seen=on_cpu)
    silent = findings(proof=Proof(None, ("probe: no answer",)))

    assert rungs == list(found["accelerator"].remedies)
    assert "the service runs on cpu" in found["accelerator"].seen
    assert "does not answer the golden samples" in silent["accelerator"].seen


def test_a_board_without_an_accelerator_asks_for_none() -> None:
    """One that shows and is not asked for is no fault, nor is one that is not there."""
    cpu = replace(SEEN, loaded=Loaded(NEW, "b" * 64, "cpu"))

    assert "usb 1-1, not asked for" == findings(board=BOARD, seen=cpu)["accelerator"].seen
    assert Grade.GOOD is findings(replace(WELL, edge_tpus=()), board=BOARD, seen=cpu)["accelerator"].grade


def test_service_release_runtime_and_answers() -> None:
    """What a dead service, another release, a runtime that cannot load and wrong answers are said to be."""
    dead = findings(seen=replace(SEEN, service="stopped", loaded=None))
    other = findings(seen=replace(SEEN, current="c" * 64, good="c" * 64))
    wrong = findings(
        proof=Proof(Outcome.FAILED, ("2 of 16 golden answers agree",)), refusals=("needs x, has y; do z",)
    )

    assert (Grade.BAD, (Remedy.RESTART_SERVICE,)) == (dead["service"].grade, dead["service"].remedies)
    assert "runs another release than git says" in other["release"].seen
    assert (Grade.BAD, "Python 3.11: needs x, has y; do z") == (wrong["runtime"].grade, wrong["runtime"].seen)
    assert "2 of 16 golden answers agree" == wrong["answers"].seen


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)
KEYS = ["health", "disk", "memory", "clock", "network", "service", "edge_tpus", "platform", "cpus"]


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=len(KEYS)))
def test_whatever_a_board_says_is_a_finding(data: dict[str, Any]) -> None:
    """Nonsense of any shape counts as not said: every check still ends in a grade."""
    found = findings(Examination.parse(data))

    assert 12 == len(found)


def test_what_a_board_says_is_on_one_line() -> None:
    """In JSON and Markdown too, no finding looks like two."""
    said = {
        "network": {"interfaces": [{"name": "eth0\nok release  as git says"}, "no interface"]},
        "service": {"state": "active\r\x1b[2K"},
    }
    found = Examination.parse(said)

    assert ["eth0 ok release  as git says"] == [each.name for each in found.interfaces]
    assert "active  [2K" == found.service_state


def test_how_it_is_shown() -> None:
    """The worst first, what to do below it, the ladder as commands, in 80 columns."""
    board = list(findings(replace(WELL, edge_tpus=(replace(USB, firmware=False),))).values())
    lines = doctor_text("luxor-01", board, 80).splitlines()

    assert lines[0].startswith("!! accelerator  usb 1-1: it was never used")
    assert "   fleetctl doctor luxor-01 --remedy reset-usb        # off its USB port, and back" in lines
    assert "luxor-01: 12 checks: 1 bad, 11 good" == lines[-1]
    assert all(len(line) <= 80 for line in lines if "--remedy" not in line)
    assert "| bad | accelerator |" in doctor_markdown("luxor-01", board)

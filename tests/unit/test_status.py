"""Whether a board does what git says: each doubt is a trouble with its own words."""

from typing import Any

import pytest
from msgspec.structs import replace

from fleetctl.manifest.schema import Accelerator, Board, BoardKind, VariantName
from fleetctl.observation import Health, Loaded, Observed, Reach
from fleetctl.origins import complaints, stranger
from fleetctl.signing.signing import BoardTrust
from fleetctl.status import Source, Standing, assess

NEW, OLD = "a" * 64, "b" * 64
BOARD = Board("luxor-01", BoardKind.RASPBERRYPI4, "reader", VariantName.INT8, host="h")
WELL = Observed(
    "luxor-01",
    current=NEW,
    good=NEW,
    service="running",
    loaded=Loaded(release=NEW, accelerator="cpu"),
    receipt={"release": NEW, "outcome": "passed", "state": "confirmed", "latency_ms": {"p95": 4.25}},
)


def test_a_board_that_proved_what_git_says_is_healthy() -> None:
    """No doubt, no trouble."""
    status = assess(BOARD, NEW, WELL)

    assert status.healthy
    assert (status.p95_ms, status.last_outcome) == (4.25, "passed confirmed")


@pytest.mark.parametrize(
    ("change", "trouble"),
    [
        ({"reach": Reach.OFFLINE, "error": "no route to host"}, "no route to host"),
        ({"current": None}, "runs nothing of ours"),
        ({"current": OLD, "good": OLD, "loaded": Loaded(release=OLD)}, "runs another release than git says"),
        ({"pending": NEW}, "its release is on probation"),
        ({"good": OLD}, "its release was never confirmed"),
        ({"repaired": True}, "its files or its interpreter changed since its service was started"),
        ({"service": "failed"}, "service is failed"),
        ({"loaded": None}, "service does not say what it has loaded"),
        ({"loaded": Loaded(release=OLD)}, "service has another release loaded"),
        ({"health": Health(throttled=True)}, "throttled: check power and cooling"),
        ({"health": Health(temperature_c=84.6)}, "hot: 85 C"),
        ({"health": Health(disk_free_bytes=10 << 20)}, "disk almost full: 10 MiB left"),
    ],
)
def test_trouble(change: dict[str, Any], trouble: str) -> None:
    """Each thing that can be wrong with a board is said in its own words."""
    assert (trouble,) == assess(BOARD, NEW, replace(WELL, **change)).complaints


@pytest.mark.parametrize(
    ("trusted", "strains"),
    [
        (None, ["trusts nobody, so takes any release: `fleetctl bootstrap` gives it keys"]),
        (("a", "b"), []),
        (("a", "b", "c"), ["trusts a key that git does not: `fleetctl bootstrap` revokes it"]),
        (("a",), ["lacks a key of inventory/trust: `fleetctl bootstrap` gives it"]),
    ],
)
def test_whom_a_board_trusts_is_held_against_git(trusted: tuple[str, ...] | None, strains: list[str]) -> None:
    """A revoked key, or one that is not known yet, is said; nothing where nothing is signed."""
    seen = replace(WELL, trust=trusted and BoardTrust("unas", "luxor-01", trusted, 4))

    assert strains == list(assess(BOARD, NEW, seen, keys={"a", "b"}).strains)
    assert assess(BOARD, NEW, seen).healthy


def test_the_processor_is_no_edge_tpu() -> None:
    """Where the accelerator is required, serving from the CPU is trouble however well it goes."""
    board = replace(BOARD, accelerator=Accelerator.REQUIRED)

    assert ("runs on cpu, not on the Edge TPU",) == assess(board, NEW, WELL).troubles


def test_a_refused_release_does_not_lend_its_numbers() -> None:
    """A receipt about another release than the loaded one is named, and its latency is not shown."""
    receipt = {"release": OLD, "outcome": "failed", "state": "reverted", "latency_ms": {"p95": 99.0}}
    status = assess(BOARD, NEW, replace(WELL, receipt=receipt))

    assert (status.p95_ms, status.last_outcome) == (None, "failed reverted bbbbbbbb")


def test_how_a_board_stands() -> None:
    """What is not as git says is wrong; what is, but hot, is strained; who is silent is offline."""
    strained = replace(WELL, health=Health(throttled=True))
    wrong = replace(strained, service="failed")
    stands = [
        assess(BOARD, NEW, seen).standing
        for seen in (wrong, Observed("luxor-01", Reach.OFFLINE), strained, WELL)
    ]

    assert list(Standing) == stands
    assert assess(BOARD, None, WELL).troubles == ("what git says is not known",)


def test_ages_are_told_by_the_boards_own_clock() -> None:
    """A board whose clock is years off still says rightly how long ago things were."""
    seen = replace(
        WELL,
        time="1970-01-03T00:00:00Z",
        loaded=Loaded(release=NEW, since="1970-01-02T00:00:00Z"),
        receipt={**WELL.receipt, "time": "1970-01-01T12:00:00Z"},
    )
    status = assess(BOARD, NEW, seen)

    assert (86400, 1.5 * 86400) == (status.serving_s, status.proved_s)
    assert assess(BOARD, NEW, replace(seen, time="tomorrow")).serving_s is None
    assert assess(BOARD, NEW, replace(seen, receipt={**seen.receipt, "outcome": "failed"})).proved_s is None


def test_who_says_so() -> None:
    """A running process is the best witness, files are a worse one, and silence is none."""
    said = [WELL, replace(WELL, loaded=None), Observed("luxor-01", Reach.OFFLINE)]

    assert list(Source) == [assess(BOARD, NEW, seen).source for seen in said]


class Repository:
    """Has no commit, and keeps what it was asked for."""

    is_shallow = False

    def __init__(self) -> None:
        self.asked: list[str] = []

    def is_known(self, commit: str) -> bool:
        self.asked.append(commit)
        return False


def test_git_is_asked_once_about_a_commit() -> None:
    """Thousands of boards have what was rolled out yesterday; a question takes git tens of milliseconds."""
    repository = Repository()
    complaint = complaints(repository, "e" * 40)
    receipt = {"release": "a" * 64, "commit": "c" * 40}
    said = {
        stranger(Observed(f"b{n}", current="a" * 64, receipt=receipt), "b" * 64, complaint) for n in range(9)
    }

    assert {"this repository has no commit cccccccccccc"} == said
    assert ["c" * 40] == repository.asked

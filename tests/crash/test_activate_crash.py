"""What dies where, and what the board must still have: one whole working release, always.

Each test kills the activating process, or the whole board, at a named step. The steps are those that
`activate.py` announces; one that no test kills makes `test_every_step_is_killed` fail.
"""

import json
import os
import random
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_board import (
    LABELS,
    TinyBoard,
    TinyRelease,
    answers_wrongly,
    as_npy,
    bundle,
    picture,
    powered,
    tiny_release,
)

from fleetctl.device.begun import WORTH_KEEPING
from fleetctl.store import sha256

BEFORE_THE_TRIAL = ["receiving", "blobs-received", "staged-aside", "staged", "watcher-started"]
UNDER_THE_WATCHER = [
    "pending-written",
    "swapped",
    "started",
    "judged",
    "pending-in-history",
    "receipt-written",
]
PROVED = ["proved"]
CONFIRMING = ["keeping", "good-written", "confirmed-in-history", "confirmation-recorded", "confirmed"]
REVERTING = ["reverting", "swapped-back", "serving-again", "reverted-in-history", "reversal-recorded"]


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyBoard]:
    with powered(tmp_path_factory.mktemp("crash") / "root") as board:
        yield board


@pytest.fixture
def good(board: TinyBoard) -> TinyRelease:
    """The release that the board keeps and serves before something dies."""
    release = tiny_release(board.port)
    board.return_to(release)
    return release


@pytest.fixture
def new(good: TinyRelease, request: pytest.FixtureRequest) -> TinyRelease:
    """A good release that the board has never seen."""
    return good.with_json("config/serve.json", note=request.node.name)


def assert_whole(board: TinyBoard, release: TinyRelease) -> None:
    """`release` is linked, good, served and right, nothing is under way, nothing half-written lies around."""
    assert board.current == board.good == board.serves() == release.digest
    assert not board.pending
    assert board.http("POST", "/predict", as_npy(picture(2)))[1]["label"] == LABELS[2]
    until = time.monotonic() + 10  # the watcher, which brought it here, may still be collecting
    while found := litter(board.root):
        assert time.monotonic() < until, found
        time.sleep(0.05)


def litter(root: Path) -> list[str]:
    """What is half-written, or half gone; `Path.rglob` would stumble over what goes meanwhile."""
    every = (name for _, folders, files in os.walk(root) for name in (*folders, *files))
    return [name for name in every if name.startswith((".new.", ".trash."))]


@pytest.mark.parametrize("step", BEFORE_THE_TRIAL)
def test_killed_before_anything_is_touched(
    board: TinyBoard, good: TinyRelease, new: TinyRelease, step: str
) -> None:
    """The activating process dies while it stages: the service never notices, the next verb tidies up."""
    pid = board.healthz()["pid"]
    assert board.activate(new, crash_at=step) == {}
    assert (board.current, board.healthz()["pid"]) == (good.digest, pid)
    assert board.ask("recover")["ok"] is True
    assert_whole(board, good)
    assert board.healthz()["pid"] == pid


def test_power_cut_while_a_large_blob_comes(board: TinyBoard, good: TinyRelease, new: TinyRelease) -> None:
    """What had come lies aside; the next try brings the rest of it, and nothing is left over."""
    weights = random.Random(1).randbytes(4 * WORTH_KEEPING)
    large, name = new.with_file("model/weights.bin", weights), sha256(weights)
    request, _ = board.activation(large)
    config = {digest: data for digest, data in large.blobs.items() if digest not in {name, *good.blobs}}
    payload = bundle({name: weights, **config})
    process = board.start("activate", request, payload[: 2 * WORTH_KEEPING], is_all=False)
    while not (came := board.ask("missing", {"blobs": [name]})["begun"].get(name)):
        assert process.poll() is None
    board.cut_power()
    assert board.finish(process) == {}
    assert board.ask("recover")["ok"] is True
    assert_whole(board, good)

    lacks = board.ask("missing", {"blobs": sorted(large.blobs)})
    assert sorted([name, *config]) == lacks["missing"]
    assert came <= lacks["begun"][name]
    came = lacks["begun"][name]
    assert board.ask("observe")["begun"] == {name: came}
    rest = bundle({f"{name}/{came}": weights[came:], **config})
    assert board.ask("activate", {**request, "bundle_bytes": len(rest)}, rest)["state"] == "pending"
    assert board.confirm(large)["state"] == "confirmed"
    assert_whole(board, large)
    assert board.ask("missing", {"blobs": [name]}) == {"ok": True, "missing": [], "begun": {}}


def test_killed_while_the_service_is_being_born(
    board: TinyBoard, good: TinyRelease, new: TinyRelease
) -> None:
    """A service whose activator died before it answered is found by its lock and ended."""
    request, payload = board.activation(new)
    process = board.start("activate", request, payload)
    while not list((board.root / "state").glob("pending.json")) or board.current != new.digest:
        assert process.poll() is None
    old = board.root / "state" / "serve.pid"
    while (
        not old.read_text() or board.serves() is not None
    ):  # until the old one has gone and a new one is coming
        assert process.poll() is None
    process.kill()
    board.finish(process)
    board.wait_until_settled()
    assert_whole(board, good)
    services = [pid for pid in board.processes() if b"serve.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert services == [board.healthz()["pid"]]


def test_killed_and_tried_again(board: TinyBoard, new: TinyRelease) -> None:
    """After a crash the same order can simply be given again."""
    assert board.activate(new, crash_at="staged-aside") == {}
    board.install(new)
    assert_whole(board, new)


@pytest.mark.parametrize("step", UNDER_THE_WATCHER)
def test_killed_during_the_trial(board: TinyBoard, good: TinyRelease, new: TinyRelease, step: str) -> None:
    """The activating process dies during the trial: the watcher takes the release back, unasked."""
    assert board.activate(new, crash_at=step) == {}
    board.wait_until_settled()
    assert_whole(board, good)
    assert "the activation was cut short" in board.ask("observe")["receipt"]["reasons"]


@pytest.mark.parametrize("step", [*BEFORE_THE_TRIAL, *UNDER_THE_WATCHER, *PROVED])
def test_power_cut_during_the_trial(board: TinyBoard, good: TinyRelease, new: TinyRelease, step: str) -> None:
    """Everything on the board dies, the watcher too: what runs after the boot is the old release."""
    board.activate(new, crash_at=step)
    board.cut_power()
    assert board.ask("recover")["ok"] is True
    assert_whole(board, good)


@pytest.mark.parametrize("step", CONFIRMING)
def test_power_cut_while_confirming(board: TinyBoard, new: TinyRelease, step: str) -> None:
    """A confirmation that was begun is finished: the controller may already count on it."""
    assert board.activate(new)["state"] == "pending"
    assert board.confirm(new, crash_at=step) == {}
    board.cut_power()
    assert board.ask("recover")["state"] in ("confirmed", "clean")
    assert_whole(board, new)
    assert board.ask("observe")["receipt"]["state"] == "confirmed"
    (last,) = board.ask("history", {"last": 1})["receipts"]
    assert (last["release"], last["state"]) == (new.digest, "confirmed")


@pytest.mark.parametrize("step", REVERTING)
def test_power_cut_while_going_back(board: TinyBoard, good: TinyRelease, new: TinyRelease, step: str) -> None:
    """A way back that was cut short is walked to its end."""
    assert board.activate(answers_wrongly(new), crash_at=step) == {}
    board.cut_power()
    assert board.ask("recover")["ok"] is True
    assert_whole(board, good)
    receipt = board.ask("observe")["receipt"]
    assert (receipt["release"], receipt["state"]) == (answers_wrongly(new).digest, "reverted")


@pytest.mark.parametrize("is_booted", [False, True], ids=["killed", "power cut"])
@pytest.mark.parametrize("step", ["swapped", "proved", "keeping"])
def test_an_order_to_go_back_is_given_again(
    board: TinyBoard, good: TinyRelease, new: TinyRelease, step: str, is_booted: bool
) -> None:
    """Cut short, it is no trial to end: whoever gave it wanted the older release, and is told of no other."""
    board.install(new)
    assert board.ask("revert", {"reason": "wrong"}, crash_at=step) == {}
    if is_booted:
        board.cut_power()
        board.ask("recover", options=["--before-start"])
    again = board.ask("revert", {"reason": "wrong"})
    assert (again["state"], again["current"]) == ("reverted", good.digest)
    assert (again["receipt"]["state"], again["receipt"]["reasons"]) == ("confirmed", ["wrong"])
    assert board.ask("recover")["ok"] is True
    assert_whole(board, good)


@pytest.mark.parametrize("step", UNDER_THE_WATCHER)
def test_no_room_for_another_byte(board: TinyBoard, good: TinyRelease, new: TinyRelease, step: str) -> None:
    """Where nothing can be noted any more, not even in a log, the board goes back, and serves."""
    reply = board.activate(new, full_at=step)
    assert reply["state"] == "reverted"
    assert_whole(board, good)


@pytest.mark.parametrize("step", UNDER_THE_WATCHER[:4])
def test_killed_with_no_room_for_another_byte(
    board: TinyBoard, good: TinyRelease, new: TinyRelease, step: str
) -> None:
    """The watcher goes back, though it can say so nowhere."""
    assert board.activate(new, full_at="pending-written", crash_at=step) == {}
    board.wait_until_settled()
    assert_whole(board, good)


def test_no_room_to_note_that_a_release_is_good(board: TinyBoard, new: TinyRelease) -> None:
    """Who confirmed is told, and what was begun is finished as soon as there is room."""
    assert board.activate(new)["state"] == "pending"
    assert board.confirm(new, full_at="keeping")["code"] == "no-space"
    assert board.ask("recover")["ok"] is True
    assert_whole(board, new)


def test_restarted_before_anybody_confirmed(board: TinyBoard, good: TinyRelease, new: TinyRelease) -> None:
    """A boot ends every probation, even one whose deadline is far away: nobody was watching."""
    assert board.activate(new)["state"] == "pending"
    path = board.root / "state" / "pending.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot_id": "another boot"}))
    assert board.ask("recover")["state"] == "reverted"
    assert_whole(board, good)


def test_the_link_is_safe_before_the_service_starts(
    board: TinyBoard, good: TinyRelease, new: TinyRelease
) -> None:
    """At boot, before systemd starts the service, an unconfirmed release is unlinked; the rest can wait."""
    assert board.activate(new)["state"] == "pending"
    board.cut_power()
    reply = board.ask("recover", options=["--before-start"])
    assert (reply["state"], reply["current"]) == ("reverting", good.digest)
    assert board.serves() is None
    assert board.ask("recover")["state"] == "reverted"
    assert_whole(board, good)


@pytest.mark.parametrize("options", [[], ["--before-start"]])
def test_a_boot_without_room_for_a_byte(
    board: TinyBoard, good: TinyRelease, new: TinyRelease, options: list[str]
) -> None:
    """Not even the lock can name its holder: the unconfirmed release is unlinked all the same."""
    assert board.activate(new)["state"] == "pending"
    board.cut_power()
    (board.root / "state" / "ballast").unlink()  # others took its place at once

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    board.ask("recover", options=options, limit=full)
    assert board.current == good.digest
    assert board.ask("recover")["ok"] is True
    assert_whole(board, good)


@pytest.mark.parametrize("step", CONFIRMING)
def test_a_boot_remembers_that_the_release_is_good(board: TinyBoard, new: TinyRelease, step: str) -> None:
    """A confirmation that was begun holds from the boot on, before anybody gives the next order."""
    assert board.activate(new)["state"] == "pending"
    assert board.confirm(new, crash_at=step) == {}
    board.cut_power()
    assert board.ask("recover", options=["--before-start"])["ok"] is True
    assert board.current == board.good == new.digest
    assert board.ask("recover")["ok"] is True
    assert_whole(board, new)


def test_a_first_release_cut_short(tmp_path: Path) -> None:
    """With nothing from before, a power cut in the first trial leaves nothing, ready to try again."""
    with powered(tmp_path / "root") as board:
        release = tiny_release(board.port)
        assert board.activate(release, crash_at="started") == {}
        board.cut_power()
        assert board.ask("recover") == {"ok": True, "state": "reverted", "current": None}
        assert board.serves() is None
        board.install(release)
        assert_whole(board, release)


def test_every_step_is_killed(board: TinyBoard, good: TinyRelease, new: TinyRelease) -> None:
    """The steps that a successful and a failed activation announce are the ones killed above."""
    board.steps_file.write_text("")
    board.install(new)
    board.activate(answers_wrongly(good))
    announced = set(board.steps_file.read_text().split())
    assert announced == {*BEFORE_THE_TRIAL, *UNDER_THE_WATCHER, *PROVED, *CONFIRMING, *REVERTING}

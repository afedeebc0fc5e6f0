"""A board at rest is looked at without starting Python: over real ssh, after a real release."""

import time
from pathlib import Path
from typing import Any

import pytest
from contract_worlds import DEADLINE, LabWorld, Releases, observed

from fleetctl.manifest.schema import Board

pytestmark = pytest.mark.e2e


@pytest.fixture
def board(lab: LabWorld, releases: Releases) -> Board:
    """A board that confirmed a release, and was looked at long enough after."""
    (board,) = lab.boards(1)
    (reply,) = lab.transport.release([releases.order(board)])
    assert reply.data.get("state") == "confirmed", reply
    give_up = time.monotonic() + DEADLINE
    while not script_of(board).exists():
        assert time.monotonic() < give_up
        time.sleep(0.5)
        observed(lab, board)
    return board


def script_of(board: Board) -> Path:
    return Path(board.root) / "state" / "look.sh"


def but_for_the_moment(seen: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in seen.items() if name not in ("time", "health")}


def test_the_shell_says_again_what_a_look_found(lab: LabWorld, board: Board) -> None:
    """And that is what another look finds."""
    script, asked = script_of(board), script_of(board).with_name("asked")
    script.write_text(script.read_text() + f"touch '{asked}'\n")
    again = observed(lab, board)
    assert asked.exists()
    script.unlink()

    assert again["service"]["state"] == "running"
    assert but_for_the_moment(observed(lab, board)) == but_for_the_moment(again)


def test_what_was_altered_is_seen_at_the_next_look(lab: LabWorld, board: Board) -> None:
    """A board at rest is not believed to be so: a byte that somebody changed shows."""
    (Path(board.root) / "current" / "config" / "serve.json").unlink()
    assert ["config/serve.json"] == list(observed(lab, board)["altered"])


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied"])
def test_a_kept_look_that_was_damaged_is_taken_anew(lab: LabWorld, board: Board, damage: str) -> None:
    """What a flipped bit or a power cut leaves of it costs the board a look, and it keeps the new one."""
    whole = script_of(board).read_text()
    place = whole.index("reply=") + 80
    flipped = whole[:place] + ("A" if whole[place] != "A" else "B") + whole[place + 1 :]
    script_of(board).write_text({"flipped": flipped, "cut": whole[: len(whole) // 2], "emptied": ""}[damage])

    assert observed(lab, board)["service"]["state"] == "running"
    assert script_of(board).read_text() == whole


def test_a_board_that_was_left_can_be_adopted_by_another_version(lab: LabWorld, board: Board) -> None:
    """It keeps modules of the version that left it, and has no release of its own to ask instead."""
    kept = Path(board.root) / "state" / "compiled"
    kept.write_bytes(b"0" * 64 + kept.read_bytes()[64:])
    (Path(board.root) / "current").unlink()
    script_of(board).unlink()

    assert observed(lab, board)["current"] is None
    (history,) = lab.transport.history([board], last=1, deadline=DEADLINE)
    assert history.ok, history

"""What a person agrees to is done while boards are as they were shown; else they are asked once more."""

import io
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from git_fleet import Fleetctl, GitFleet

RECORDS = Path(".fleetctl/fake")  # what simulated boards remember
CHANGED = "boards changed before you answered"


class Person(io.StringIO):
    """Somebody at a terminal who says yes each time; before the first answer, something happens."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__()
        self.meanwhile = meanwhile
        self.answers = 0

    def isatty(self) -> bool:
        return True

    def readline(self, size: int | None = -1, /) -> str:
        del size
        if not self.answers:
            self.meanwhile()
        self.answers += 1
        return "y\n"


Seat = Callable[..., Person]


@pytest.fixture
def seat(monkeypatch: pytest.MonkeyPatch) -> Seat:
    """Seats somebody whose every answer is late, or none."""

    def seated(meanwhile: Callable[[], object], *, late: bool = True) -> Person:
        monkeypatch.setattr("fleetctl.cli.agreed.PATIENCE_S", -1.0 if late else math.inf)
        person = Person(meanwhile)
        monkeypatch.setattr("sys.stdin", person)
        return person

    return seated


@pytest.fixture
def moved(fleet: GitFleet, fleetctl: Fleetctl) -> GitFleet:
    """A fleet that runs what git said; git says something else of one board now."""
    fleetctl("rollout", "--yes")
    fleet.edit("threshold: 0.6", "threshold: 0.7")
    fleet.commit("Ask for surer answers")
    return fleet


def forget() -> None:
    """A board was made anew: it runs nothing of ours any more."""
    (RECORDS / "luxor-02.json").unlink()


def test_boards_that_changed_before_the_answer_are_shown_again(
    moved: GitFleet, fleetctl: Fleetctl, seat: Seat
) -> None:
    """What is done is what was agreed to last, on boards as they are."""
    del moved
    person = seat(forget)
    said = fleetctl("rollout")

    assert (0, 2) == (said.status, person.answers), said
    assert CHANGED in said.err
    first, second = said.out.split("WAVE")[1:]
    assert ("luxor-02" in first, "luxor-02" in second) == (False, True)
    assert all(f"{board}: verified" in said.err for board in ("luxor-02", "karnak-01"))


@pytest.mark.parametrize("late", [False, True])
def test_a_person_is_asked_once_where_nothing_changed(
    moved: GitFleet, fleetctl: Fleetctl, seat: Seat, late: bool
) -> None:
    """However long the answer took, and one in time has no board asked again."""
    del moved
    person = seat(lambda: None if late else forget(), late=late)
    said = fleetctl("rollout")

    assert (0, 1) == (said.status, person.answers), said
    assert CHANGED not in said.err
    assert "luxor-02: verified" not in said.err


def test_what_somebody_else_did_meanwhile_is_not_done_again(
    moved: GitFleet, fleetctl: Fleetctl, seat: Seat
) -> None:
    """There is nothing to do any more, and nothing to agree to."""
    del moved
    before = shutil.copytree(RECORDS, "before")
    assert 0 == fleetctl("rollout", "--yes").status
    after = RECORDS.rename("after")
    shutil.copytree(before, RECORDS)
    person = seat(lambda: shutil.copytree(after, RECORDS, dirs_exist_ok=True))
    said = fleetctl("rollout")

    assert (0, 1) == (said.status, person.answers), said
    assert "nothing to do: 3 boards already do what git says" in said.err


def test_a_saved_plan_goes_stale_while_a_person_thinks(
    moved: GitFleet, fleetctl: Fleetctl, seat: Seat
) -> None:
    """It is done as it was saved, or not at all: exit 11."""
    del moved
    fleetctl("plan", "--save", "plan.json")
    person = seat(forget)
    said = fleetctl("rollout", "--plan", "plan.json")

    assert (11, 1) == (said.status, person.answers), said
    assert "the saved plan no longer holds for luxor-02" in said.err
    assert "verified" not in said.err

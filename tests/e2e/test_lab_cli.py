"""`fleetctl lab`, `exec` and `logs` as a person uses them."""

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from published import published

from fleetctl.cli import main

pytestmark = pytest.mark.e2e

MANIFEST = """
apiVersion: fleetctl/v1
kind: Fleet
metadata: {name: unas}
models:
  reader: {task: classification, dataset: {kind: rendered}}
groups:
  canary: {boards: [luxor-01]}
boards:
  luxor-01: {board: generic, model: reader, host: 192.0.2.11}
  luxor-02: {board: generic, model: reader, host: 192.0.2.12}
  karnak-07: {board: generic, model: reader, host: 192.0.2.13}
"""

Said = tuple[int, str, str]


class Person:
    """Types command lines in a fleet's folder and reads what comes back."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def types(self, line: str) -> Said:
        self._capfd.readouterr()
        status = main(shlex.split(line))
        return status, *self._capfd.readouterr()

    def gets(self, line: str) -> dict[str, Any]:
        _, out, _ = self.types(f"{line} --output json")
        data = published(out)
        assert isinstance(data, dict)
        return data


@pytest.fixture
def person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Person]:
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "fleet.yaml").write_text(MANIFEST)
    monkeypatch.chdir(tmp_path)
    yield Person(capfd)
    main(["lab", "down"])


def test_a_lab_from_up_to_down(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person starts some boards, then all, looks, cuts power, restores it, logs in, and ends the lab."""
    assert person.types("lab status")[0] == 1
    assert "1 virtual board (1 new)" in person.types("lab up --on @canary")[2]
    assert "3 virtual boards (2 new)" in person.types("lab up")[2]
    assert "up already, with 3" in person.types("lab up")[2]
    monkeypatch.setenv("FLEETCTL_TRANSPORT", "lab")

    status, out, err = person.types("lab status")
    assert status == 0
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        ["luxor-01", "on"],
        ["luxor-02", "on"],
        ["karnak-07", "on"],
    ]
    login = err[err.index("ssh ") :].strip()
    assert login == person.types("lab ssh luxor-01")[1].strip()
    assert subprocess.run(["/bin/sh", "-c", f"{login} exit 9"], stdin=subprocess.DEVNULL).returncode == 9

    assert person.types("lab stop luxor-02 karnak-07")[0] == 0
    assert person.types("lab status")[0] == 1
    assert "without power: luxor-02, karnak-07" in person.types("lab up")[2]
    boards = person.gets("lab status")["boards"]
    assert {name: board["online"] for name, board in boards.items()} == {
        "luxor-01": True,
        "luxor-02": False,
        "karnak-07": False,
    }
    assert person.types("lab start luxor-02 karnak-07")[0] == 0

    assert "3 virtual boards removed" in person.types("lab down")[2]
    assert "there is no lab" in person.types("lab down")[2]
    assert person.gets("lab status") == {"schema": "fleetctl.lab-status/v1", "up": False, "boards": {}}


def test_commands_run_on_virtual_boards_only_when_the_lab_is_asked_for(person: Person) -> None:
    """Without a lab there is an error with the way to get one."""
    status, _, err = person.types("exec --transport lab --on luxor-01 -- true")

    assert status == 2
    assert "the lab is not up" in err and "fleetctl lab up" in err


def test_exec_says_which_board_said_what(person: Person) -> None:
    """Lines carry the board's name, a failing command makes the exit status 1, and many boards ask first."""
    person.types("lab up")

    status, out, err = person.types("exec --transport lab --yes -- 'echo hi; echo aside >&2'")
    assert status == 0
    assert sorted(out.splitlines()) == ["karnak-07 | hi", "luxor-01 | hi", "luxor-02 | hi"]
    assert sorted(err.splitlines()) == ["karnak-07 | aside", "luxor-01 | aside", "luxor-02 | aside"]

    status, out, err = person.types("exec --transport lab --on luxor-01 -- exit 4")
    assert status == 1
    assert "luxor-01: exit status 4" in err

    status, _, err = person.types("exec --transport lab -- true")
    assert status == 2
    assert "--yes" in err

    status, out, _ = person.types("exec --transport lab --on luxor-01 -- printf '\\033[31mred'")
    assert out == "luxor-01 | \\x1b[31mred\n"


def test_exec_quotes_several_words_and_leaves_one_to_the_shell(person: Person) -> None:
    """One word is a shell line; several are an argv whose spaces and dollars are kept."""
    person.types("lab up --on luxor-01")
    line = "exec --transport lab --on luxor-01 -o json --"

    assert person.types(f"{line} 'echo $((6 * 7))'")[1].count('"42\\n"') == 1
    assert person.types(f"{line} echo '$HOME  x'")[1].count('"$HOME  x\\n"') == 1


def test_exec_tells_boards_that_did_not_answer(person: Person) -> None:
    """A board without power is in the result, with the reason, and the others are there too."""
    person.types("lab up")
    person.types("lab stop luxor-02")
    status, out, _ = person.types("exec --transport lab --yes --output json -- true")
    found = {board["board"]: board for board in json.loads(out)["boards"]}

    assert status == 1
    assert list(found) == ["luxor-01", "luxor-02", "karnak-07"]
    assert found["luxor-01"]["exit"] == found["karnak-07"]["exit"] == 0
    assert found["luxor-02"]["exit"] is None
    assert "Connection refused" in found["luxor-02"]["error"]


def test_logs_of_a_board_that_has_no_service_are_empty(person: Person) -> None:
    """A board that never ran a release has logged nothing, which is no error."""
    person.types("lab up --on luxor-01")

    assert person.types("logs luxor-01 --transport lab")[:2] == (0, "")
    assert person.gets("logs luxor-01 --transport lab")["boards"] == {"luxor-01": []}


def test_logs_of_a_board_that_is_off_are_a_failure(person: Person) -> None:
    """Nothing to show because nobody answered is not the same as nothing logged."""
    person.types("lab up --on luxor-01")
    person.types("lab stop luxor-01")
    status, _, err = person.types("logs luxor-01 --transport lab")

    assert status == 1
    assert "Connection refused" in err

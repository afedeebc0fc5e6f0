"""A verb that has nothing to list says so in one line: no bare head of a table, and JSON as ever."""

from pathlib import Path

import pytest
from git_fleet import Fleetctl

from fleetctl.cli.options import Output
from fleetctl.cli.result import show

EMPTY = [
    ("history", "receipts", "no board that answered has a record of a release"),
    ("keys show", "keys", "inventory/trust holds no key: `fleetctl keys new` makes one"),
    ("build --changed", "models", "every model is as the lock says"),
    ("artifacts prune", "things", "nothing to remove"),
    ("artifacts check shared", "artifacts", "shared has all that the lock names"),
]


@pytest.mark.parametrize(("words", "key", "nothing"), EMPTY)
def test_nothing_to_list_is_one_line(fleetctl: Fleetctl, words: str, key: str, nothing: str) -> None:
    """To people; machines get the empty list that they asked for."""
    assert 0 == fleetctl("artifacts", "push", "shared").status
    table, page, data = (fleetctl(*words.split(), "-o", form) for form in ("table", "markdown", "json"))

    assert (0, "", f"  {nothing}\n") == (table.status, table.out, table.err)
    assert (0, f"{nothing}\n") == (page.status, page.out)
    assert (0, 0) == (data.status, len(data.json[key]))
    assert Path("shared").is_dir()


@pytest.mark.parametrize("output", [Output.TABLE, Output.MARKDOWN])
def test_no_head_stands_alone(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the verb itself has said what is so, nothing is printed."""
    show(output, schema="fleetctl.x/v1", data={}, columns=["a"], rows=[])

    assert ("", "") == capsys.readouterr()

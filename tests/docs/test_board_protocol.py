"""docs/board-protocol.md names every verb and every error code, and no others."""

import re
from pathlib import Path

from tiny_board import DEVICE

from fleetctl.device.activate import VERBS
from fleetctl.transports.board_script import modules

TEXT = (Path(__file__).parents[2] / "docs" / "board-protocol.md").read_text()


def first_cells(heading: str) -> set[str]:
    """Words in backquotes in the first column of the table with this heading."""
    table = TEXT.split(f"| {heading} |")[1].split("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def test_verbs_are_all_described() -> None:
    """The table of verbs is the table in the program."""
    assert first_cells("verb") == set(VERBS)


def test_codes_are_all_described() -> None:
    """Every code that a board can give is in the table, and the other way round."""
    source = "\n".join((DEVICE / f"{name}.py").read_text() for name in modules())
    raised = set(re.findall(r'BoardError\(\s*"([a-z-]+)"', source))
    mapped = set(re.findall(r'"(no-space|no-permission|io|internal)"', source))
    assert first_cells("code") == raised | mapped

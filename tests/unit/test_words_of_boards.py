"""What boards say is printed where it belongs, and looks like nothing that fleetctl says."""

import pytest

from fleetctl.report.console import Talk, table_text

LIE = "down\nluxor-02  running\n✓ luxor-02: verified"


def test_no_board_adds_a_row_to_a_table() -> None:
    """A cell is one line, whatever the board said."""
    assert 2 == len(table_text(["board", "service"], [["luxor-01", LIE]]).splitlines())


def test_no_board_says_a_line_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines behind the first are set in: a mark at the beginning of a line is fleetctl's."""
    Talk().fail(f"luxor-01: {LIE}")
    first, *others = capsys.readouterr().err.splitlines()

    assert first.startswith("✗ luxor-01")
    assert others
    assert all(line.startswith("  ") for line in others)

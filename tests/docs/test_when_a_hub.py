"""The model of docs/rollout.md, when a fleet is better reached over a hub, is what was measured."""

import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.when_a_hub import (  # noqa: E402
    FLEETS,
    RUNNERS,
    WAVES,
    Measured,
    crossing,
    kept,
    minutes_by_runners,
    minutes_over_hub,
    sizes,
    tables,
)


def test_the_tables_are_those_of_the_model() -> None:
    """No number of the page is typed by hand: `python -m benchmarks.when_a_hub` prints what belongs there."""
    page = (REPOSITORY / "docs" / "rollout.md").read_text("utf-8")
    said = page.partition("<!-- when_a_hub -->")[2].partition("<!-- /when_a_hub -->")[0]

    assert tables(kept()) == said.strip()


@pytest.mark.parametrize("boards", [1, 7, *FLEETS])
def test_waves_are_the_fleet(boards: int) -> None:
    """Every board is counted once."""
    assert boards == sum(sizes(boards))
    assert len(WAVES) == len(sizes(boards))


@pytest.mark.parametrize("boards", FLEETS)
def test_more_runners_are_never_slower(boards: int) -> None:
    """And a fleet twice as large is never quicker, whoever reaches it."""
    measured = kept()
    minutes = [minutes_by_runners(measured, boards, runners, 10.0) for runners in RUNNERS]

    assert sorted(minutes, reverse=True) == minutes
    assert minutes_by_runners(measured, 2 * boards, 1, 10.0) >= minutes[0]
    assert minutes_over_hub(2 * boards, 10.0) >= minutes_over_hub(boards, 10.0)


def test_lines_cross_where_the_model_says() -> None:
    """Below the crossing runners are quicker, at it a hub is; boards that take longer bring it nearer."""
    measured = Measured(0.1, 1.0)
    found = crossing(measured, 4, 30.0)

    assert found
    assert minutes_over_hub(found, 30.0) < minutes_by_runners(measured, found, 4, 30.0)
    assert minutes_over_hub(found // 2, 30.0) > minutes_by_runners(measured, found // 2, 4, 30.0)
    assert (crossing(measured, 4, 60.0) or 0) < found

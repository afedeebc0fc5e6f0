"""The model of docs/rollout.md, when a fleet is better reached over a hub, is what was measured."""

import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.when_a_hub import (  # noqa: E402
    BOARD_S,
    FLEETS,
    PAGE,
    RUNNERS,
    WAVES,
    Measured,
    asked_ahead,
    compared,
    crossing,
    kept,
    minutes_by_runners,
    minutes_over_hub,
    sizes,
    tables,
    with_tables,
)


def test_the_tables_are_those_of_the_model() -> None:
    """No number of the page is typed by hand: the benchmark writes them, and nothing else of the page."""
    page = PAGE.read_text("utf-8")
    other = with_tables(page, Measured(0.1, 1.0))

    assert page == with_tables(page, kept())
    assert tables(Measured(0.1, 1.0)) in other
    assert page == with_tables(other, kept())


def test_a_hub_that_is_never_quicker_has_no_fleet_to_name() -> None:
    """Every result has a value: what the model cannot find is left out, not called unmeasured."""
    measured = Measured(0.1, 1.0)
    results = list(compared(measured))
    crossed = [count for count in RUNNERS if crossing(measured, count, BOARD_S)]

    assert 0 < len(crossed) < len(RUNNERS)
    assert len(crossed) == len([result for result in results if "smallest fleet" in result.name])
    assert all(result.value is not None for result in results)


@pytest.mark.parametrize("boards", [1, 7, *FLEETS])
def test_waves_are_the_fleet(boards: int) -> None:
    """Every board is counted once."""
    assert boards == sum(sizes(boards))
    assert len(WAVES) == len(sizes(boards))


def test_boards_ahead_are_those_of_earlier_waves() -> None:
    """Nobody comes before the canary; the last wave asks all but its own."""
    assert [0, 10, 500, 2500, 6000] == asked_ahead(10_000)
    assert 10_000 == asked_ahead(10_000)[-1] + sizes(10_000)[-1]


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

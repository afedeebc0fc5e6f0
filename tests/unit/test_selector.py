"""`--on`: which boards a text stands for, and what is said when it stands for none."""

from pathlib import Path

import pytest

from fleetctl.errors import UsageError
from fleetctl.manifest.schema import Board, BoardKind, Fleet, RolloutPolicy, VariantName
from fleetctl.selector import Selection, select

ALL = ("luxor-01", "luxor-02", "luxor-03", "karnak-07", "canary")


def a_board(name: str, kind: BoardKind = BoardKind.RASPBERRYPI4, **labels: str) -> Board:
    return Board(name, kind, "reader", VariantName.INT8, host="192.0.2.1", labels=labels)


FLEET = Fleet(
    name="unas",
    path=Path("inventory/fleet.yaml"),
    models={},
    groups={"first": ("luxor-01",), "luxor": ("luxor-01", "luxor-02", "luxor-03"), "nobody": ()},
    boards={
        "luxor-01": a_board("luxor-01", site="luxor", floor="1"),
        "luxor-02": a_board("luxor-02", site="luxor", floor="2"),
        "luxor-03": a_board("luxor-03", site="luxor east"),
        "karnak-07": a_board("karnak-07", BoardKind.CORAL_DEV_BOARD, site="karnak"),
        "canary": a_board("canary"),
    },
    rollout=RolloutPolicy(),
    digest="0" * 64,
)


@pytest.mark.parametrize(
    ("text", "boards"),
    [
        ("", ALL),
        ("  ", ALL),
        ("luxor-02", ("luxor-02",)),
        ("karnak-07,luxor-01", ("luxor-01", "karnak-07")),
        ("luxor-0[12]", ("luxor-01", "luxor-02")),
        ("luxor-*,!luxor-03", ("luxor-01", "luxor-02")),
        ("!luxor-03,luxor-*", ("luxor-01", "luxor-02")),
        ("!luxor-*", ("karnak-07", "canary")),
        ("@first", ("luxor-01",)),
        ("@first, karnak-*", ("luxor-01", "karnak-07")),
        ("@luxor,!@first", ("luxor-02", "luxor-03")),
        ("@*", ("luxor-01", "luxor-02", "luxor-03")),
        ("canary", ("canary",)),
        ("site=luxor", ("luxor-01", "luxor-02")),
        ("site=luxor*", ("luxor-01", "luxor-02", "luxor-03")),
        ("site=luxor east", ("luxor-03",)),
        ("site=luxor,!floor=1", ("luxor-02",)),
        ("board=coral-*", ("karnak-07",)),
        ("via=ansible,!board=raspberrypi4", ("karnak-07",)),
        ("model=reader", ALL),
        ("*", ALL),
        ("luxor-01,luxor-01", ("luxor-01",)),
    ],
)
def test_text_stands_for_boards(text: str, boards: tuple[str, ...]) -> None:
    """Terms add and take away, in any order; boards come in manifest order."""
    assert select(FLEET, text) == Selection(boards, 5)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "luxor-01,,luxor-02",
            "an empty term in `luxor-01,,luxor-02`",
            "terms are separated by one comma each",
        ),
        (",", "an empty term in `,`", "terms are separated by one comma each"),
        ("!", "an empty term in `!`", "terms are separated by one comma each"),
        ("@", "an empty term in `@`", "terms are separated by one comma each"),
        ("luxor-1", "no board `luxor-1` in the fleet", "did you mean `luxor-01`?"),
        ("luxor-01,!luxr-02", "no board `luxr-02` in the fleet", "did you mean `luxor-02`?"),
        ("first", "no board `first` in the fleet", "did you mean the group, `@first`?"),
        (
            "giza-*",
            "no board `giza-*` in the fleet",
            "boards are canary, karnak-07, luxor-01, luxor-02, luxor-03",
        ),
        ("@frist", "no group `frist` in the fleet", "did you mean `first`?"),
        ("@nobody", "group `nobody` has no boards", ""),
        ("sit=luxor", "no board has a label `sit`", "did you mean `site`?"),
        ("site=luxr", "no board has `site=luxr`", "did you mean `luxor`?"),
        ("via=iothub", "no board has `via=iothub`", "values are ansible"),
        ("@luxor,!luxor-*", "`@luxor,!luxor-*` selects no board", "what it adds it also takes away"),
    ],
)
def test_text_that_stands_for_nothing(text: str, message: str, hint: str) -> None:
    """A term that stands for no board is an error with the nearest name, never a smaller selection."""
    with pytest.raises(UsageError) as caught:
        select(FLEET, text)

    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_a_selection_says_how_much_it_is() -> None:
    """People read `3 of 5 boards` before they confirm."""
    assert [str(select(FLEET, text)) for text in ("@luxor", "")] == ["3 of 5 boards", "5 of 5 boards"]

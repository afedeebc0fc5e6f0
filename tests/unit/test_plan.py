"""Plans: which boards change and why, which wave they are in, and when a saved plan is stale."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fleetctl.artifact import BlobRef
from fleetctl.errors import PlanStale
from fleetctl.manifest.schema import (
    Board,
    BoardKind,
    Fleet,
    RolloutPolicy,
    VariantName,
    Wave,
)
from fleetctl.observation import Loaded, Observed, Reach
from fleetctl.plan import Action, Plan, make_plan, plan_from_json, refuse_if_stale, waves_of
from fleetctl.release import Release
from fleetctl.report.plan import plan_markdown, plan_text

CASES = yaml.safe_load((Path(__file__).parent.parent / "cases/plan/decisions.yaml").read_text())

SIZES = {
    "model/model.tflite": 1000,
    "model/contract.json": 100,
    "config/serve.json": 10,
    "runtime/serve.py": 1,
}
LETTERS = dict(zip(SIZES, "mcsr", strict=True))


RELEASE = Release({path: BlobRef(letter * 64, SIZES[path]) for path, letter in LETTERS.items()})


def fleet(count: int = 1, waves: tuple[Wave, ...] = (Wave(fraction=1.0),), groups: Any = None) -> Fleet:
    """A fleet of like boards named b00, b01..."""
    names = [f"b{i:02d}" for i in range(count)]
    boards = {
        name: Board(name, BoardKind.RASPBERRYPI4, "reader", VariantName.INT8, host="h") for name in names
    }
    return Fleet(
        "unas", Path("inventory/fleet.yaml"), {}, groups or {}, boards, RolloutPolicy(waves=waves), "0" * 64
    )


def observed(case: dict[str, Any]) -> Observed:
    """What a case says the board said."""

    def known(letter: str | None) -> str | None:
        return RELEASE.digest if letter == "same" else letter and letter * 64

    loaded = known(case.get("loaded"))
    return Observed(
        board="b00",
        reach=Reach(case.get("reach", "reached")),
        error=case.get("error", ""),
        current=known(case.get("current")),
        good=known(case.get("good")),
        pending=known(case.get("pending")),
        repaired=case.get("repaired", False),
        foreign=case.get("foreign", False),
        files={path: letter * 64 for path, letter in case.get("files", LETTERS).items()},
        config=case.get("config", {"threshold": 0.6}),
        service=case.get("service", "absent"),
        loaded=Loaded(release=loaded) if loaded else None,
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_decision(case: dict[str, Any]) -> None:
    """Each observation leads to its action, its reasons and the bytes to send."""
    config = {"threshold": 0.6}
    seen = observed(case["observed"])
    made = make_plan(fleet(), {"b00": RELEASE}, {"b00": seen}, {"b00": config})
    (step,) = made.steps

    assert (case["action"], case["reasons"]) == (step.action.value, list(step.reasons))
    if "send" in case:
        assert sum(SIZES[path] for path in case["send"]) == step.send_bytes


@given(
    st.integers(1, 40),
    st.lists(st.floats(0.01, 1.0), min_size=1, max_size=5).map(sorted),
)
def test_every_board_is_in_exactly_one_wave(count: int, fractions: list[float]) -> None:
    """However the percentages fall, waves partition the fleet and keep the manifest's order."""
    waves = (*(Wave(fraction=f) for f in fractions), Wave(fraction=1.0))
    cut = [boards for _, boards in waves_of(fleet(count, waves))]

    assert [name for boards in cut for name in boards] == [f"b{i:02d}" for i in range(count)]


def test_a_group_wave_comes_out_of_the_percentages() -> None:
    """A percentage counts the boards that earlier waves took: 50 % of four after a canary of one adds one."""
    waves = (Wave(group="canary"), Wave(fraction=0.5), Wave(fraction=1.0))
    cut = [boards for _, boards in waves_of(fleet(4, waves, {"canary": ("b02",)}))]

    assert [("b02",), ("b00",), ("b01", "b03")] == cut


def test_a_percentage_rounds_up() -> None:
    """The smallest percentage still takes a board."""
    cut = [boards for _, boards in waves_of(fleet(3, (Wave(fraction=0.01), Wave(fraction=1.0))))]

    assert [("b00",), ("b01", "b02")] == cut


def plan_of(seen: dict[str, Observed]) -> Plan:
    return make_plan(fleet(len(seen)), dict.fromkeys(seen, RELEASE), seen, {})


def test_a_saved_plan_survives_the_round_trip() -> None:
    """What `plan --save` writes is what `rollout --plan` reads."""
    made = plan_of({"b00": Observed("b00"), "b01": Observed("b01", Reach.OFFLINE, "gone")})

    assert made == plan_from_json(made.to_json())


def test_a_plan_is_stale_when_a_board_changed() -> None:
    """A board that was updated by somebody else since makes the plan refuse, and is named."""
    then = plan_of({"b00": Observed("b00"), "b01": Observed("b01")})
    now = plan_of({"b00": Observed("b00"), "b01": Observed("b01", Reach.OFFLINE, "gone")})

    with pytest.raises(PlanStale, match="no longer holds for b01"):
        refuse_if_stale(then, now)
    refuse_if_stale(then, then)


def test_boards_with_nothing_to_do_fold_into_a_line() -> None:
    """The table lists changes only; the sentence below it counts the rest."""
    same = observed({"current": "same", "good": "same", "service": "running", "loaded": "same"})
    made = plan_of({"b00": replace(same, board="b00"), "b01": Observed("b01")})
    text = plan_text(made)

    assert "b00" not in text
    assert "1 of 2 boards would change (1 install) in 1 wave, 1.1 KiB to send; 1 board already does" in text


def test_markdown_cannot_be_broken_by_a_board() -> None:
    """A board's error with pipes, tags and escapes stays inside its cell."""
    made = plan_of({"b00": Observed("b00", Reach.OFFLINE, "a|b<script>\x1b[31m\nc")})

    assert r"a\|b&lt;script>\\x1b\[31m<br>c |" in plan_markdown(made)


def test_an_action_says_whether_it_writes() -> None:
    """Only installing, updating and proving again touch a board."""
    assert {Action.INSTALL, Action.UPDATE, Action.REPROVE} == {action for action in Action if action.touches}

"""Ways to ask less that no number tells: each is a lowered gate."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from fleetctl.manifest.schema import (
    Accelerator,
    Board,
    BoardKind,
    Fleet,
    Gates,
    Model,
    RenderedDataset,
    RevertPolicy,
    RolloutPolicy,
    Signing,
    Smoke,
    Task,
    VariantName,
    Wave,
)
from fleetctl.proposal.gates import lowered

CANARY, HALF, ALL = Wave(group="canary"), Wave(fraction=0.5), Wave(fraction=1.0)
DEV, MINI = BoardKind.CORAL_DEV_BOARD, BoardKind.CORAL_DEV_BOARD_MINI


def fleet(
    *waves: Wave, signing: Signing = Signing.NONE, accelerator: Accelerator = Accelerator.NONE
) -> Fleet:
    boards = {
        name: Board(
            name, BoardKind.CORAL_DEV_BOARD, "toy", VariantName.INT8, host="b", accelerator=accelerator
        )
        for name in ("b00", "b01", "b02", "b03")
    }
    policy = RolloutPolicy(waves=waves or (CANARY, ALL), signing=signing)
    return Fleet("little", Path("inventory/fleet.yaml"), {}, {"canary": ("b00",)}, boards, policy, "0" * 64)


def of(*, size: int = 10, **boards: dict[str, object]) -> Fleet:
    """Ten boards, of which those named have other settings; models of which much and little is asked."""
    asked = Model("toy", Task.CLASSIFICATION, RenderedDataset(), gates=Gates(min_accuracy=0.9, max_size=10))
    toy = replace(asked, smoke=Smoke(samples=16, min_agreement=0.9, max_p95_ms={DEV: 30.0, MINI: 60.0}))
    models = {
        "toy": toy,
        "twin": replace(toy, name="twin"),
        "weak": replace(toy, name="weak", gates=Gates(max_size=20), smoke=Smoke(samples=1, min_agreement=0)),
    }
    names = [f"b{n:02}" for n in range(size)]
    made = {name: Board(name, DEV, "toy", VariantName.INT8, host=name) for name in names}
    changed = {name: replace(made[name], **settings) for name, settings in boards.items()}
    return replace(fleet(), models=models, boards={**made, **changed})


def said(base: Fleet, head: Fleet) -> list[str]:
    return [str(less) for less in lowered(base, head)]


def test_boards_that_move_to_a_model_of_which_less_is_asked_are_told() -> None:
    """A new model needs no gates, so what counts is what each board had to prove and has to prove now."""
    weak: dict[str, object] = {"model": "weak"}
    without = replace(of(), models={name: of().models[name] for name in ("toy", "twin")})
    moved = [
        "toy -> weak: min_accuracy 0.9 -> not asked: b00 and 1 more board",
        "toy -> weak: max_size 10 -> 20: b00 and 1 more board",
        "toy -> weak: smoke.samples 16 -> 1: b00 and 1 more board",
        "toy -> weak: smoke.min_agreement 0.9 -> 0: b00 and 1 more board",
        "toy -> weak: smoke.max_p95_ms.coral-dev-board 30 -> not asked: b00 and 1 more board",
    ]

    assert moved == said(without, of(b00=weak, b07=weak))
    assert [] == said(of(b00=weak, b07=weak), of())
    assert [] == said(of(), of(b00={"model": "twin"}))


def test_boards_of_another_kind_are_held_against_what_theirs_had_to_do() -> None:
    """A kind that has no budget, or a longer one, lets any board be slower; a shorter one does not."""
    every = {f"b{n:02}": {"board": BoardKind.GENERIC} for n in range(10)}
    mini: dict[str, object] = {"board": MINI}
    budget = "toy: smoke.max_p95_ms (coral-dev-board -> "

    assert [f"{budget}generic) 30 -> not asked: b00 and 9 more boards"] == said(of(), of(**every))
    assert [f"{budget}coral-dev-board-mini) 30 -> 60: b01"] == said(of(), of(b01=mini))
    assert [] == said(of(b01=mini), of())


@pytest.mark.parametrize(
    ("waves", "change"),
    [
        ((Wave(fraction=0.9), ALL), ["waves[0] 1 -> 9 of 10 boards"]),
        ((Wave(fraction=0.3), ALL), ["waves[0] 1 -> 3 of 10 boards"]),
        ((Wave(fraction=0.2), ALL), []),
        ((Wave(group="canary", soak=60.0), ALL), []),
    ],
)
def test_a_canary_of_more_than_twice_as_many_boards_is_told(
    waves: tuple[Wave, ...], change: list[str]
) -> None:
    """It spares few: a first wave of nine in ten is one of everybody in all but name."""
    assert change == said(of(), replace(of(), rollout=RolloutPolicy(waves=waves)))


def test_a_canary_grows_with_its_fleet() -> None:
    """A percentage that stays is as much of a larger fleet; a group that grows is another canary."""
    tenth = RolloutPolicy(waves=(Wave(fraction=0.1), ALL))
    many = of(size=100)

    assert [] == said(replace(of(), rollout=tenth), replace(many, rollout=tenth))
    assert ["waves[0] 1 -> 3 of 100 boards"] == said(
        of(), replace(many, groups={"canary": ("b00", "b01", "b02")})
    )


def test_a_first_wave_that_is_watched_for_less_time_is_told() -> None:
    """A longer soak is none, and neither is one that a later wave loses."""
    hour = fleet(Wave(group="canary", soak=3600.0), ALL)
    later = fleet(CANARY, Wave(fraction=0.5, soak=60.0), ALL)

    assert ["waves[0].soak 3600 s -> 0 s"] == said(hour, fleet())
    assert [] == said(fleet(), hour)
    assert [] == said(later, fleet())


def test_a_failed_gate_that_takes_less_back_is_told() -> None:
    """Boards that keep what failed elsewhere are what a gate is there to prevent; a deadline is no gate."""
    base = fleet()
    failed = replace(base, rollout=replace(base.rollout, revert=RevertPolicy.FAILED, deadline=9e5))

    assert ["revert wave -> failed"] == said(base, failed)
    assert [] == said(failed, replace(base, rollout=replace(base.rollout, revert=RevertPolicy.ALL)))


@pytest.mark.parametrize("waves", [(ALL,), (ALL, CANARY), (ALL, ALL)])
def test_a_first_wave_of_everybody_is_no_canary(waves: tuple[Wave, ...]) -> None:
    """However many waves follow it: there is nobody left to be spared."""
    (phrase,) = said(fleet(), fleet(*waves))

    assert "every board would be its own canary" in phrase
    assert [] == said(fleet(*waves), fleet())
    assert [] == said(fleet(ALL), fleet(*waves))


def test_another_canary_is_no_lowered_gate() -> None:
    """Which boards go first, and how many waves there are, is anybody's choice."""
    assert [] == said(fleet(), fleet(HALF, ALL))


def test_a_fleet_of_one_board_has_no_canary_to_lose() -> None:
    """Its only board goes first, whatever the manifest says."""
    one = replace(fleet(), boards={"b00": fleet().boards["b00"]})

    assert [] == said(one, replace(one, rollout=RolloutPolicy(waves=(ALL,))))


def test_releases_that_need_no_signature_any_more_are_told() -> None:
    """Whoever may write to a registry or a runner could bring boards anything."""
    signed = fleet(signing=Signing.REQUIRED)

    assert ["signing required -> none"] == said(signed, fleet())
    assert [] == said(fleet(), signed)


def test_boards_that_may_fall_back_to_their_processor_are_told() -> None:
    """A proof on the CPU is less than one on the Edge TPU; boards are counted, not listed."""
    demanding = fleet(accelerator=Accelerator.REQUIRED)

    assert ["accelerator required -> preferred: b00 and 3 more boards"] == said(
        demanding, fleet(accelerator=Accelerator.PREFERRED)
    )
    assert [] == said(fleet(accelerator=Accelerator.PREFERRED), demanding)
    assert [] == said(demanding, replace(demanding, boards={}))

"""Ways to ask less that no number tells: each is a lowered gate."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from fleetctl.manifest.schema import (
    Accelerator,
    Board,
    BoardKind,
    Fleet,
    RolloutPolicy,
    Signing,
    VariantName,
    Wave,
)
from fleetctl.proposal.gates import lowered

CANARY, HALF, ALL = Wave(group="canary"), Wave(fraction=0.5), Wave(fraction=1.0)


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


def said(base: Fleet, head: Fleet) -> list[str]:
    return [str(less) for less in lowered(base, head)]


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

"""Rollouts to boards that demand signatures: the way back is signed before it is needed."""

from pathlib import Path

from little_fleet import LittleFleet
from msgspec.structs import replace
from signatures import KEY, trust_in

from fleetctl.desired import sealed_by
from fleetctl.driver import drive
from fleetctl.manifest.schema import Gate, RevertPolicy
from fleetctl.observation import Observed
from fleetctl.observing import observe
from fleetctl.rollout.machine import start
from fleetctl.rollout.state import Rollout
from fleetctl.signing.signing import Signing
from fleetctl.store import BlobStore
from fleetctl.transports.base import Order


def signed_rollout(fleet: LittleFleet, serial: int, *, undo: bool = True) -> Rollout:
    """Plan and apply, every order sealed as the verb seals it."""
    plan, boards = fleet.plan(), fleet.fleet.boards
    seal = sealed_by(Signing("little", "c0ffee", serial, {"release": KEY.public}, KEY), seen(fleet))
    orders = {
        step.board: seal(
            Order(boards[step.board], fleet.release(step.board), fleet.store.root, "c0ffee", 30.0, 60.0)
        )
        for step in plan.steps
        if step.action.touches
    }
    if not undo:
        orders = {board: replace(order, undo=None) for board, order in orders.items()}
    begun = start(plan, fleet.fleet.rollout)
    return drive(begun, orders, fleet.transport, emit=fleet.events.append, clock=fleet.clock)


def seen(fleet: LittleFleet) -> dict[str, Observed]:
    return observe(fleet.transport, list(fleet.fleet.boards.values()), deadline=1)


def trusting(folder: Path) -> LittleFleet:
    """Four boards on version 1, which trust a key; version 2 fails on the last of the second wave."""
    fleet = LittleFleet(BlobStore(folder), revert=RevertPolicy.ALL, gate=Gate(success=1.0))
    for board in fleet.fleet.boards.values():
        fleet.transport.entrust(board, trust_in(KEY, board=board.name, fleet="little"))
    signed_rollout(fleet, 10)
    fleet.version, fleet.faults = 2, {"b01": {"bad_answers": 1.0}}
    return fleet


def test_a_failed_gate_takes_back_what_was_confirmed(tmp_path: Path) -> None:
    """The canary had proved and kept its release; the permission to leave it was signed with its order."""
    fleet = trusting(tmp_path)
    before = fleet.running()
    state = signed_rollout(fleet, 11)

    assert fleet.verdicts(state)["b00"] == "rolled_back"
    assert before == fleet.running()


def test_without_that_permission_the_board_would_stay(tmp_path: Path) -> None:
    """The control: what the first test shows is the signature's doing."""
    fleet = trusting(tmp_path)
    state = signed_rollout(fleet, 11, undo=False)

    assert fleet.verdicts(state)["b00"] == "rollback_failed"

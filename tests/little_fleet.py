"""A fleet of simulated boards and everything a rollout needs, without a manifest on disk."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tiny_board import tiny_release

from fleetctl.driver import Steering, drive
from fleetctl.events import Emit, Event
from fleetctl.manifest.schema import (
    Board,
    BoardKind,
    Fleet,
    Gate,
    RevertPolicy,
    RolloutPolicy,
    VariantName,
    Wave,
)
from fleetctl.observation import Observed
from fleetctl.observing import observe
from fleetctl.plan import Plan, make_plan
from fleetctl.release import Release
from fleetctl.rollout.machine import start
from fleetctl.rollout.state import Command, Rollout
from fleetctl.soak import soak_left
from fleetctl.store import BlobStore
from fleetctl.transports.base import Order
from fleetctl.transports.fake import FakeTransport
from fleetctl.transports.faults import Faults

CANARY_THEN_ALL = (Wave(group="canary"), Wave(fraction=0.5), Wave(fraction=1.0))


@dataclass
class SilentClock:
    """A clock that no test waits for; it remembers how long it was asked to sleep."""

    now: float = 1_000_000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Killed(Exception):
    """Nobody but a test catches it: the controller is gone."""


@functools.cache
def _kept(store: BlobStore, board: str, version: int) -> Release:
    tiny = tiny_release(8091, board=board, threshold=version / 1000)
    for data in tiny.blobs.values():
        store.put(data)
    return tiny.release


@dataclass
class LittleFleet:
    """`count` boards b00, b01... of which b00 is the canary; `version` stands for what git says."""

    store: BlobStore
    count: int = 4
    waves: tuple[Wave, ...] = CANARY_THEN_ALL
    gate: Gate = field(default_factory=Gate)
    revert: RevertPolicy = RevertPolicy.WAVE
    faults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    version: int = 1

    def __post_init__(self) -> None:
        self.clock = SilentClock()
        self.transport = FakeTransport(clock=self.clock)
        self.events: list[Event] = []
        self.seen: Mapping[str, Observed] = {}  # when the last plan was made

    @property
    def fleet(self) -> Fleet:
        names = [f"b{i:02d}" for i in range(self.count)]
        boards = {
            name: Board(name, BoardKind.RASPBERRYPI4, "quadrants", VariantName.INT8, host="b")
            for name in names
        }
        policy = RolloutPolicy(waves=self.waves, gate=self.gate, revert=self.revert)
        return Fleet(
            "little", Path("inventory/fleet.yaml"), {}, {"canary": ("b00",)}, boards, policy, "0" * 64
        )

    def release(self, board: str) -> Release:
        """The release that git says this board should run, its bytes in the store."""
        return _kept(self.store, board, self.version)

    def plan(self) -> Plan:
        self.transport.faults = Faults(self.faults)
        fleet = self.fleet
        self.seen = observe(self.transport, list(fleet.boards.values()), deadline=1)
        return make_plan(fleet, {name: self.release(name) for name in fleet.boards}, self.seen, {})

    def roll_out(
        self, plan: Plan | None = None, steering: Steering | None = None, emit: Emit | None = None
    ) -> Rollout:
        """Plan and apply, as the verb does."""
        plan = plan or self.plan()
        fleet = self.fleet
        orders = {
            step.board: Order(
                fleet.boards[step.board], self.release(step.board), self.store.root, "c0ffee", 30.0, 60.0
            )
            for step in plan.steps
            if step.action.touches
        }
        return drive(
            start(plan, fleet.rollout, soak_left=soak_left(plan, self.seen)),
            orders,
            self.transport,
            emit=emit or self.events.append,
            clock=self.clock,
            steering=steering,
            boards=fleet.boards,
        )

    def drive(self, begun: tuple[Rollout, list[Command]]) -> Rollout:
        """Go on from where a rollout stands that writes to nobody."""
        return drive(
            begun,
            {},
            self.transport,
            emit=self.events.append,
            clock=self.clock,
            boards=self.fleet.boards,
        )

    def verdicts(self, state: Rollout) -> dict[str, str]:
        return {board: verdict.verdict.value for board, verdict in state.verdicts.items()}

    def running(self) -> dict[str, str | None]:
        """Release that each board serves, faults aside."""
        self.transport.faults = Faults({})
        seen = observe(self.transport, list(self.fleet.boards.values()), deadline=1)
        return {name: board.loaded.release if board.loaded else None for name, board in seen.items()}

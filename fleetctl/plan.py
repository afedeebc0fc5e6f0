"""What a rollout would do, and why: desired releases against observed boards. No I/O, no clock."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct, convert, to_builtins
from msgspec.structs import replace

from fleetctl.compatibility.rules import Refusal
from fleetctl.errors import PlanStale
from fleetctl.listed import listed
from fleetctl.manifest.schema import Fleet, Wave
from fleetctl.observation import Observed, Reach, is_drop_in
from fleetctl.release import Release
from fleetctl.signing.signing import Barred
from fleetctl.store import canonical_json, sha256

PLAN_SCHEMA = "fleetctl.plan/v1"


class Action(StrEnum):
    """What is to be done with one board."""

    NOTHING = "nothing"  # it runs what git says, and has proved it
    INSTALL = "install"  # it has never run a release of ours
    UPDATE = "update"  # it runs another release
    REPROVE = "reprove"  # the files are right, but not what is loaded, or not proved
    DEFER = "defer"  # it is offline
    BLOCKED = "blocked"  # a person has to act first
    REFUSED = "refused"  # it could not load its release

    @property
    def touches(self) -> bool:
        """True where the board is written to."""
        return self in (Action.INSTALL, Action.UPDATE, Action.REPROVE)


class Step(Struct, frozen=True):
    """One board's part of a plan.

    `send_bytes` counts file bytes that the board's current release lacks; fewer are sent, for blobs are
    deflated, and some told by what is other in them. `fixes` say what to do about a board that is refused, or
    that refuses us.
    """

    board: str
    action: Action
    reasons: tuple[str, ...]
    current: str | None
    desired: str
    send_bytes: int = 0
    fixes: tuple[str, ...] = ()


class WaveSteps(Struct, frozen=True, rename={"steps": "boards"}):
    """The boards of one wave, in manifest order. `number` counts from 1; wave 1 is the canary."""

    number: int
    name: str
    soak: float
    steps: tuple[Step, ...]

    @property
    def is_canary(self) -> bool:
        return self.number == 1

    @property
    def touched(self) -> tuple[str, ...]:
        return tuple(step.board for step in self.steps if step.action.touches)


class Plan(Struct, frozen=True):
    """Waves in order. Two plans are the same when they would do the same to the same boards."""

    fleet: str
    waves: tuple[WaveSteps, ...]

    @property
    def steps(self) -> Iterator[Step]:
        return (step for wave in self.waves for step in wave.steps)

    @property
    def is_empty(self) -> bool:
        """True where no board would be written to."""
        return not any(step.action.touches for step in self.steps)

    @property
    def refused(self) -> tuple[Step, ...]:
        """The boards that could not load their release: while there is one, nothing is rolled out."""
        return tuple(step for step in self.steps if step.action is Action.REFUSED)

    @property
    def barred(self) -> tuple[Step, ...]:
        """The boards that would not take what is signed here, or is not."""
        return tuple(step for step in self.steps if step.action is Action.BLOCKED and step.fixes)

    def count(self, action: Action) -> int:
        return sum(step.action is action for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        """Plain data for `--output json` and for saved plans."""
        plain: dict[str, Any] = to_builtins(self)
        return plain

    @property
    def digest(self) -> str:
        return sha256(canonical_json(self.to_json()))


def make_plan(
    fleet: Fleet,
    desired: Mapping[str, Release],
    observed: Mapping[str, Observed],
    configs: Mapping[str, Mapping[str, Any]],
    refusals: Mapping[str, Sequence[Refusal]] | None = None,
    barred: Mapping[str, Barred] | None = None,
) -> Plan:
    """Hold what git says against what boards are.

    Args:
        fleet: the whole fleet; waves are cut from all of it.
        desired: release by board; boards that are not in it are left out of the plan.
        observed: what each of those boards said.
        configs: the parsed `config/serve.json` of each desired release, to name the values that change.
        refusals: what speaks against loading the desired release, by board; absent or empty: nothing.
        barred: boards that would not take what is signed here, or is not.
    """
    against = refusals or {}
    waves = []
    for number, (wave, boards) in enumerate(waves_of(fleet), start=1):
        steps = tuple(
            _barred(
                _step(board, desired[board], observed[board], configs.get(board, {}), against.get(board, ())),
                (barred or {}).get(board),
            )
            for board in boards
            if board in desired
        )
        if steps:
            waves.append(WaveSteps(number, wave_name(wave), wave.soak, steps))
    return Plan(fleet.name, tuple(waves))


def waves_of(fleet: Fleet) -> list[tuple[Wave, tuple[str, ...]]]:
    """Which boards each wave holds: every board in exactly one, the first that takes it.

    A percentage is of the whole fleet and cumulative: the wave takes boards in manifest order until that
    share, rounded up, has been taken by it and the waves before.
    """
    left = list(fleet.boards)
    taken: set[str] = set()
    waves = []
    for wave in fleet.rollout.waves:
        if wave.group is not None:
            members = set(fleet.groups[wave.group])
            boards = [board for board in left if board in members]
        else:
            target = math.ceil((wave.fraction or 0) * len(fleet.boards) - 1e-9)
            boards = left[: max(0, target - len(taken))]
        taken.update(boards)
        left = [board for board in left if board not in taken]
        waves.append((wave, tuple(boards)))
    return waves


def wave_name(wave: Wave) -> str:
    return wave.group if wave.group is not None else f"{100 * (wave.fraction or 0):g} %"


def refuse_if_stale(saved: Plan, now: Plan) -> None:
    """Raise `PlanStale`, naming boards that differ, unless the saved plan is what would be done now."""
    if saved.digest == now.digest:
        return
    before = {step.board: step for step in saved.steps}
    after = {step.board: step for step in now.steps}
    differing = [board for board in {**before, **after} if before.get(board) != after.get(board)]
    raise PlanStale(
        f"the saved plan no longer holds for {listed(differing, 3) or 'the waves'}",
        hint="the manifest, the lock, the boards or the selection changed; "
        "make a new plan with `fleetctl plan --save`",
    )


def plan_from_json(data: object) -> Plan:
    """Read what `Plan.to_json` wrote; raises `msgspec.ValidationError` on anything else."""
    return convert(data, Plan)


def _step(
    board: str, release: Release, seen: Observed, config: Mapping[str, Any], against: Sequence[Refusal]
) -> Step:
    action, reasons = _decide(release, seen, config)
    if against and (action.touches or action is Action.DEFER):
        # A board that already runs the release has proved more than any table says.
        why, fixes = tuple(map(str, against)), tuple(refusal.fix for refusal in against)
        return Step(board, Action.REFUSED, why, seen.current, release.digest, fixes=fixes)
    send = _missing_bytes(release, seen) if action.touches else 0
    return Step(board, action, tuple(reasons), seen.current, release.digest, send)


def _barred(step: Step, bar: Barred | None) -> Step:
    """A step that its board would refuse waits for a person; what changes nothing needs no trust."""
    if bar is None or not step.action.touches:
        return step
    return replace(step, action=Action.BLOCKED, reasons=(bar.why,), send_bytes=0, fixes=(bar.fix,))


def _decide(release: Release, seen: Observed, config: Mapping[str, Any]) -> tuple[Action, list[str]]:
    if seen.reach is Reach.OFFLINE:
        return Action.DEFER, [seen.error or "offline"]
    if seen.reach is not Reach.REACHED:
        return Action.BLOCKED, [seen.error or "could not be asked"]
    if not seen.adopted:
        reasons = ["runs nothing of ours yet"]
        if seen.foreign:
            reasons.append("what others put there is kept in a snapshot first")
        return Action.INSTALL, reasons
    if seen.current != release.digest:
        return Action.UPDATE, list(_differences(release, seen, config))
    unproved = list(_doubts(release, seen))
    return (Action.REPROVE, unproved) if unproved else (Action.NOTHING, [])


def _doubts(release: Release, seen: Observed) -> Iterator[str]:
    """Why a board whose files are right may still not do what git says."""
    altered = _other_files(release, seen)
    if altered:
        yield f"{listed(altered, 1)} {'were' if altered[1:] else 'was'} altered on the board"
    yield from (f"{path} was edited on the board" for path in seen.units if not is_drop_in(path))
    if seen.pending:
        yield "its release is still on probation"
    elif seen.good != release.digest:
        yield "its release was never confirmed"
    elif seen.repaired:
        yield "its files or its interpreter changed since its service was started"
    if seen.service != "running":
        yield f"its service is {seen.service}"
    elif seen.loaded is None:
        yield "its service does not say what it has loaded"
    elif seen.loaded.release != release.digest:
        yield f"its service still has {seen.loaded.release[:12] or 'another release'} loaded"


def _other_files(release: Release, seen: Observed) -> list[str]:
    """Paths of the release that are not on the board as they should be."""
    held = list(map(seen.files.get, release.files))
    if held == [ref.sha256 for ref in release.files.values()]:  # of most boards: half the time of a plan
        return []
    return [
        path for path, digest in zip(release.files, held, strict=True) if digest != release.files[path].sha256
    ]


def _differences(release: Release, seen: Observed, config: Mapping[str, Any]) -> Iterator[str]:
    """What is new, coarse parts first: model, config values, runtime, other files."""
    changed = _other_files(release, seen)
    gone = [path for path in seen.files if path not in release.files]
    if "model/model.tflite" in changed:
        old = seen.files.get("model/model.tflite", "")
        yield f"model {old[:8] or 'none'} -> {release.files['model/model.tflite'].sha256[:8]}"
    elif any(path.startswith("model/") for path in changed):
        yield "model contract"
    if "config/serve.json" in changed:
        yield from _config_changes(seen.config, config)
    if any(path.startswith("runtime/") for path in [*changed, *gone]):
        yield "board runtime"
    yield from (
        path for path in sorted([*changed, *gone]) if path.startswith("unit/") or _is_other_config(path)
    )


def _is_other_config(path: str) -> bool:
    return path.startswith("config/") and path != "config/serve.json"


def _config_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    keys = [key for key in [*new, *(k for k in old if k not in new)] if old.get(key) != new.get(key)]
    for key in keys:
        yield f"{key}: {_shown(old.get(key))} -> {_shown(new.get(key))}"
    if not keys:
        yield "config/serve.json"


def _shown(value: object) -> str:
    text = "unset" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _missing_bytes(release: Release, seen: Observed) -> int:
    held = set(seen.files.values())
    return sum({ref.sha256: ref.size for ref in release.files.values() if ref.sha256 not in held}.values())

"""Where a change asks less than before: of a built model, of a board's proof, or of a wave. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from fleetctl.manifest.schema import (
    Accelerator,
    BoardKind,
    Fleet,
    Gates,
    OnInconclusive,
    RevertPolicy,
    RolloutPolicy,
    Signing,
    Smoke,
)
from fleetctl.plan import waves_of

_LEAST = ("min_accuracy", "min_tpu_ops")  # the higher, the stricter
_MOST = ("max_drop", "max_class_drop", "max_size")  # the lower, the stricter
_STRICTNESS = (OnInconclusive.FAIL, OnInconclusive.PAUSE, OnInconclusive.PASS)
_UNDOING = (RevertPolicy.ALL, RevertPolicy.WAVE, RevertPolicy.FAILED)  # the first takes back most
_GROWN = 2  # times as many boards, that may go first unasked


class Lowered(NamedTuple):
    """A setting that asks less than before, and what it was and is."""

    setting: str
    change: str

    def __str__(self) -> str:
        return f"{self.setting} {self.change}"


def lowered(base: Fleet, head: Fleet) -> Iterator[Lowered]:
    """Each thing of which less is asked: of models that both fleets have, and of boards of both."""
    for name, old in base.models.items():
        if (new := head.models.get(name)) is not None:
            found = (*_gates(old.gates, new.gates), *_answers(old.smoke, new.smoke))
            for setting, change in (*found, *_latencies(old.smoke, new.smoke)):
                yield Lowered(f"{name}: {setting}", change)
    yield from _moved(base, head)
    yield from _rollout(base.rollout, head.rollout)
    yield from _soak(base.rollout, head.rollout)
    yield from _canary(base, head)
    yield from _accelerators(base, head)


def _gates(old: Gates, new: Gates) -> Iterator[Lowered]:
    for key in (*_LEAST, *_MOST):
        before, after = getattr(old, key), getattr(new, key)
        if before is not None and (after is None or (after < before if key in _LEAST else after > before)):
            yield Lowered(key, f"{_said(before)} -> {_said(after)}")


def _answers(old: Smoke, new: Smoke) -> Iterator[Lowered]:
    for key in ("samples", "min_agreement"):
        before, after = getattr(old, key), getattr(new, key)
        if after < before:
            yield Lowered(f"smoke.{key}", f"{_said(before)} -> {_said(after)}")


def _latencies(old: Smoke, new: Smoke) -> Iterator[Lowered]:
    for kind in old.max_p95_ms:
        yield from _latency(f"smoke.max_p95_ms.{kind}", old, new, kind, kind)


def _latency(setting: str, old: Smoke, new: Smoke, was: BoardKind, now: BoardKind) -> Iterator[Lowered]:
    """A board of kind `now` that may be slower than when it was of kind `was`."""
    before, after = old.max_p95_ms.get(was), new.max_p95_ms.get(now)
    if before is not None and (after is None or after > before):
        yield Lowered(setting, f"{_said(before)} -> {_said(after)}")


def _moved(base: Fleet, head: Fleet) -> Iterator[Lowered]:
    """What boards need not prove any more because they run another model, or are of another kind."""
    ways: dict[tuple[str, str, BoardKind, BoardKind], list[str]] = defaultdict(list)
    for name, old in base.boards.items():
        new = head.boards.get(name)
        if new is not None and (old.model, old.board) != (new.model, new.board):
            ways[old.model, new.model, old.board, new.board].append(name)
    found: dict[Lowered, list[str]] = defaultdict(list)
    for way, boards in ways.items():
        for less in _less_of_moved(base, head, *way):
            found[less] += boards
    for less, boards in found.items():
        yield Lowered(less.setting, f"{less.change}: {_some(boards)}")


def _less_of_moved(
    base: Fleet, head: Fleet, model: str, new_model: str, kind: BoardKind, new_kind: BoardKind
) -> Iterator[Lowered]:
    old, new = base.models[model], head.models[new_model]
    name = model if model == new_model else f"{model} -> {new_model}"
    if model != new_model:  # else it is told of the model
        for setting, change in (*_gates(old.gates, new.gates), *_answers(old.smoke, new.smoke)):
            yield Lowered(f"{name}: {setting}", change)
    kinds = f".{kind}" if kind is new_kind else f" ({kind} -> {new_kind})"
    yield from _latency(f"{name}: smoke.max_p95_ms{kinds}", old.smoke, new.smoke, kind, new_kind)


def _rollout(old: RolloutPolicy, new: RolloutPolicy) -> Iterator[Lowered]:
    if new.gate.canary_failures > old.gate.canary_failures:
        change = f"{old.gate.canary_failures} -> {new.gate.canary_failures}"
        yield Lowered("gate.canary_failures", change)
    if new.gate.success < old.gate.success:
        yield Lowered("gate.success", f"{_said(old.gate.success)} -> {_said(new.gate.success)}")
    before, after = old.gate.inconclusive, new.gate.inconclusive
    if _STRICTNESS.index(after) > _STRICTNESS.index(before):
        yield Lowered("gate.inconclusive", f"{before} -> {after}")
    if _UNDOING.index(new.revert) > _UNDOING.index(old.revert):
        yield Lowered("revert", f"{old.revert} -> {new.revert}")
    if old.signing is Signing.REQUIRED and new.signing is not Signing.REQUIRED:
        yield Lowered("signing", f"{old.signing} -> {new.signing}")


def _soak(old: RolloutPolicy, new: RolloutPolicy) -> Iterator[Lowered]:
    """The first wave only: how long others are watched is anybody's choice."""
    before, after = old.waves[0].soak, new.waves[0].soak
    if after < before:
        yield Lowered("waves[0].soak", f"{before:g} s -> {after:g} s")


def _canary(base: Fleet, head: Fleet) -> Iterator[Lowered]:
    if len(base.boards) < 2 or len(head.boards) < 2 or not _has_canary(base):
        return
    if not _has_canary(head):
        fate = (
            "every board would be its own canary" if _first_wave(head) else "no board would be in the first"
        )
        yield Lowered("waves", f"{len(base.rollout.waves)} -> {len(head.rollout.waves)}: {fate}")
    elif not _grows_by_itself(base, head) and len(_first_wave(head)) > _GROWN * len(_first_wave(base)):
        count = f"{len(_first_wave(base))} -> {len(_first_wave(head))} of {len(head.boards)} boards"
        yield Lowered("waves[0]", count)


def _grows_by_itself(base: Fleet, head: Fleet) -> bool:
    """Whether the first wave is the same share of the fleet as before, and so as large as that has become."""
    before, after = base.rollout.waves[0].fraction, head.rollout.waves[0].fraction
    return before is not None and before == after


def _has_canary(fleet: Fleet) -> bool:
    """Whether some boards go first, and spare the others."""
    return 0 < len(_first_wave(fleet)) < len(fleet.boards)


def _first_wave(fleet: Fleet) -> tuple[str, ...]:
    return waves_of(fleet)[0][1]


def _accelerators(base: Fleet, head: Fleet) -> Iterator[Lowered]:
    """Boards that might prove their release without the Edge TPU, by what they may do instead."""
    found: dict[Accelerator, list[str]] = defaultdict(list)
    for name, old in base.boards.items():
        new = head.boards.get(name)
        if old.accelerator is Accelerator.REQUIRED and new and new.accelerator is not Accelerator.REQUIRED:
            found[new.accelerator].append(name)
    for instead, boards in found.items():
        yield Lowered("accelerator", f"required -> {instead}: {_some(boards)}")


def _some(boards: Sequence[str]) -> str:
    more = f" and {len(boards) - 1} more board{'s' * (len(boards) > 2)}" if len(boards) > 1 else ""
    return boards[0] + more


def _said(value: Any) -> str:
    return "not asked" if value is None else f"{value:g}"

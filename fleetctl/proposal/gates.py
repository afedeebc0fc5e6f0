"""Where a change asks less than before: of a built model, of a board's proof, or of a wave. Pure."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from fleetctl.manifest.schema import (
    Accelerator,
    Fleet,
    Gates,
    OnInconclusive,
    RolloutPolicy,
    Signing,
    Smoke,
)
from fleetctl.plan import waves_of

_LEAST = ("min_accuracy", "min_tpu_ops")  # the higher, the stricter
_MOST = ("max_drop", "max_class_drop", "max_size")  # the lower, the stricter
_STRICTNESS = (OnInconclusive.FAIL, OnInconclusive.PAUSE, OnInconclusive.PASS)


class Lowered(NamedTuple):
    """A setting that asks less than before, and what it was and is."""

    setting: str
    change: str

    def __str__(self) -> str:
        return f"{self.setting} {self.change}"


def lowered(base: Fleet, head: Fleet) -> Iterator[Lowered]:
    """Each thing of which less is asked; only models that both fleets have are compared."""
    for name, old in base.models.items():
        if (new := head.models.get(name)) is not None:
            for setting, change in (*_gates(old.gates, new.gates), *_smoke(old.smoke, new.smoke)):
                yield Lowered(f"{name}: {setting}", change)
    yield from _rollout(base.rollout, head.rollout)
    yield from _canary(base, head)
    yield from _accelerators(base, head)


def _gates(old: Gates, new: Gates) -> Iterator[Lowered]:
    for key in (*_LEAST, *_MOST):
        before, after = getattr(old, key), getattr(new, key)
        if before is not None and (after is None or (after < before if key in _LEAST else after > before)):
            yield Lowered(key, f"{_said(before)} -> {_said(after)}")


def _smoke(old: Smoke, new: Smoke) -> Iterator[Lowered]:
    for key in ("samples", "min_agreement"):
        before, after = getattr(old, key), getattr(new, key)
        if after < before:
            yield Lowered(f"smoke.{key}", f"{_said(before)} -> {_said(after)}")
    for kind, before in old.max_p95_ms.items():
        after = new.max_p95_ms.get(kind)
        if after is None or after > before:
            yield Lowered(f"smoke.max_p95_ms.{kind}", f"{_said(before)} -> {_said(after)}")


def _rollout(old: RolloutPolicy, new: RolloutPolicy) -> Iterator[Lowered]:
    if new.gate.canary_failures > old.gate.canary_failures:
        change = f"{old.gate.canary_failures} -> {new.gate.canary_failures}"
        yield Lowered("gate.canary_failures", change)
    if new.gate.success < old.gate.success:
        yield Lowered("gate.success", f"{_said(old.gate.success)} -> {_said(new.gate.success)}")
    before, after = old.gate.inconclusive, new.gate.inconclusive
    if _STRICTNESS.index(after) > _STRICTNESS.index(before):
        yield Lowered("gate.inconclusive", f"{before} -> {after}")
    if old.signing is Signing.REQUIRED and new.signing is not Signing.REQUIRED:
        yield Lowered("signing", f"{old.signing} -> {new.signing}")


def _canary(base: Fleet, head: Fleet) -> Iterator[Lowered]:
    if len(base.boards) < 2 or len(head.boards) < 2 or not _has_canary(base) or _has_canary(head):
        return
    fate = "every board would be its own canary" if _first_wave(head) else "no board would be in the first"
    yield Lowered("waves", f"{len(base.rollout.waves)} -> {len(head.rollout.waves)}: {fate}")


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
    for instead, (first, *others) in found.items():
        more = f" and {len(others)} more boards" if others else ""
        yield Lowered("accelerator", f"required -> {instead}: {first}{more}")


def _said(value: Any) -> str:
    return "not asked" if value is None else f"{value:g}"

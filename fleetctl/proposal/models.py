"""What a change does to models, by the numbers in the two locks. Pure."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from fleetctl.lockfile import Compilation, LockedVariant
from fleetctl.proposal.side import Side


class Figures(Struct, frozen=True):
    """What a lock says of a variant. Fractions of 1, bytes; None where it does not say."""

    artifact: str
    top1: float
    drop: float
    size: int
    tpu_ops: float | None
    off_chip: int | None
    pending: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "artifact": self.artifact,
            "top1": self.top1,
            "drop": self.drop,
            "size": self.size,
            "tpu_ops": self.tpu_ops,
            "off_chip_bytes": self.off_chip,
            "pending": self.pending,
        }


class ModelChange(Struct, frozen=True):
    """One variant that differs. `before` or `after` is None where the lock of that side does not have it."""

    model: str
    variant: str
    before: Figures | None
    after: Figures | None
    boards: int  # of the head, that run it
    plots: tuple[Path, ...] = ()  # of its card, relative to the fleet's folder

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "variant": self.variant,
            "before": self.before.to_json() if self.before else None,
            "after": self.after.to_json() if self.after else None,
            "boards": self.boards,
        }


def model_changes(base: Side, head: Side) -> Iterator[ModelChange]:
    """Every locked variant whose bytes or numbers differ, in the order of the head's manifest."""
    names = dict.fromkeys([*head.fleet.models, *head.lock.models, *base.lock.models])
    for name in names:
        old, new = base.lock.models.get(name), head.lock.models.get(name)
        before, after = (dict(side.variants) if side else {} for side in (old, new))
        for variant in dict.fromkeys([*after, *before]):
            figures = _figures(before.get(variant)), _figures(after.get(variant))
            if figures[0] != figures[1]:
                yield ModelChange(name, variant, *figures, _boards(head, name, variant), _plots(name, head))


def _plots(model: str, side: Side) -> tuple[Path, ...]:
    folder = side.project.artifacts / model
    return tuple(path.relative_to(side.project.root) for path in sorted(folder.glob("*.png")))


def _boards(side: Side, model: str, variant: str) -> int:
    return sum(board.model == model and board.variant == variant for board in side.fleet.boards.values())


def _figures(variant: LockedVariant | None) -> Figures | None:
    if variant is None:
        return None
    metrics, compiled = variant.metrics, variant.edgetpu
    return Figures(
        artifact=variant.artifact.digest,
        top1=metrics.top1,
        drop=metrics.drop,
        size=metrics.size,
        tpu_ops=metrics.tpu_ops,
        off_chip=compiled.off_chip if isinstance(compiled, Compilation) else None,
        pending=variant.pending,
    )

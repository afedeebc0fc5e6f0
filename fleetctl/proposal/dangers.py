"""What a change does that is seldom meant: told loudly, and refused unless the change allows it. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from fleetctl.listed import listed
from fleetctl.lockfile import LockedModel, model_json
from fleetctl.manifest.schema import Danger, Model, Signing
from fleetctl.proposal.beside import trust_changes
from fleetctl.proposal.gates import lowered
from fleetctl.proposal.side import Side

DELETED_SHARE = 0.25  # of the base's boards, that a change may drop unasked
MANY = 1000  # new boards, that a change may bring unasked
_DIGITS = 16  # of a fingerprint; the settings have all of it


class Finding(Struct, frozen=True):
    """One danger of a change. `reason` is why its manifest says that it is meant; None where it does not.

    `about` is the thing it happens to, which later commits may do more to: a model, a setting; empty where
    that is the fleet. `commit` brought it, where commits were looked at one by one.
    """

    danger: Danger
    what: str
    about: str = ""
    reason: str | None = None
    commit: str = ""

    @property
    def allowed(self) -> bool:
        return self.reason is not None


def dangers(base: Side, head: Side) -> list[Finding]:
    """Every danger of going from `base` to `head`.

    What `rollout.allow` says counts only where the base does not say the same: an entry that stayed was meant
    for an earlier change.
    """
    reasons = newly_allowed(base, head)
    found = (
        *_deleted_boards(base, head),
        *_removed_models(base, head),
        *_lowered_gates(base, head),
        *_edited_lock(base, head),
        *_trusted(base, head),
        *_many_boards(base, head),
    )
    return [replace(finding, reason=reasons.get(finding.danger)) for finding in found]


def newly_allowed(base: Side, head: Side) -> dict[Danger, str]:
    """Entries of `rollout.allow` that this change writes."""
    before = base.fleet.rollout.allow
    return {danger: why for danger, why in head.fleet.rollout.allow.items() if before.get(danger) != why}


def left_over(head: Side, found: Sequence[Finding]) -> list[Danger]:
    """Entries of `rollout.allow` that allow nothing: an earlier change's, or not needed."""
    used = {finding.danger for finding in found if finding.allowed}
    return [danger for danger in head.fleet.rollout.allow if danger not in used]


def _deleted_boards(base: Side, head: Side) -> Iterator[Finding]:
    gone = [name for name in base.fleet.boards if name not in head.fleet.boards]
    total = len(base.fleet.boards)
    if gone and (len(gone) == total or (len(gone) > 1 and len(gone) > DELETED_SHARE * total)):
        count = f"all {total} boards" if len(gone) == total else f"{len(gone)} of {total} boards"
        yield Finding(Danger.DELETE_BOARDS, f"{count} leave the fleet: {listed(gone)}")


def _lowered_gates(base: Side, head: Side) -> Iterator[Finding]:
    for less in lowered(base.fleet, head.fleet):
        yield Finding(Danger.LOWER_GATE, str(less), less.setting)


def _trusted(base: Side, head: Side) -> Iterator[Finding]:
    """Keys that came or went, by whatever name. Where none was asked for, the first takes nothing away."""
    is_signed = bool(base.fleet.boards) and base.fleet.rollout.signing is Signing.REQUIRED
    if not (base.beside.trust or is_signed):
        return
    old, new = base.beside.trust, head.beside.trust
    for name, before, after in trust_changes(base.beside, head.beside):
        if before and old[name] not in new.values():
            what = f"the key {name} ({_short(before)}) would be trusted no more"
            yield Finding(Danger.TRUST, what, before)
        if after and new[name] not in old.values():
            what = f"the key {name} ({_short(after)}) would be trusted, and was not"
            yield Finding(Danger.TRUST, what, after)


def _short(fingerprint: str) -> str:
    return fingerprint if " " in fingerprint else fingerprint[:_DIGITS]


def _many_boards(base: Side, head: Side) -> Iterator[Finding]:
    new = sum(name not in base.fleet.boards for name in head.fleet.boards)
    if new > max(MANY, len(base.fleet.boards)):
        yield Finding(Danger.MANY_BOARDS, f"{new:,} new boards in a fleet of {len(base.fleet.boards):,}")


def _removed_models(base: Side, head: Side) -> Iterator[Finding]:
    for name, model in base.fleet.models.items():
        boards = [board.name for board in base.fleet.boards.values() if board.model == name]
        if boards and name not in head.fleet.models:
            renamed = _renamed(model, base.fleet.models, head.fleet.models)
            fate = f"has the name {renamed} now" if renamed else "is gone"
            yield Finding(Danger.REMOVE_MODEL, f"model {name}, which {listed(boards)} run, {fate}", name)


def _renamed(model: Model, before: Mapping[str, Model], after: Mapping[str, Model]) -> str:
    """The new name of a model whose recipe is unchanged, if it has one."""
    new = (name for name in after if name not in before)
    return next((name for name in new if _recipe(after[name]) == _recipe(model)), "")


def _recipe(model: Model) -> tuple[object, ...]:
    return model.task, model.architecture, model.training, model.variants, model.quantization


def _edited_lock(base: Side, head: Side) -> Iterator[Finding]:
    for name, locked in head.lock.models.items():
        before = base.lock.models.get(name)
        if before is not None and before != locked:
            for what in _by_hand(before, locked):
                yield Finding(Danger.EDITED_LOCK, f"{name} {what}", name)
        yield from _uncarded(name, base, head)


def _by_hand(before: LockedModel, after: LockedModel) -> Iterator[str]:
    """Numbers that changed while the bytes they are about did not: no build writes such a lock."""
    old, new = model_json(before), model_json(after)
    if old["variants"].keys() == new["variants"].keys() and old["input"] != new["input"]:
        same = all(old["variants"][v]["artifact"] == new["variants"][v]["artifact"] for v in old["variants"])
        if same and old["toolchain"] == new["toolchain"]:
            yield "is said to be built from other inputs, with the same bytes as before"
    for name, variant in new["variants"].items():
        was = old["variants"].get(name)
        if was is None or was["artifact"] != variant["artifact"]:
            continue
        changed = [key for key in sorted({*was, *variant}) if was.get(key) != variant.get(key)]
        if changed:
            yield f"{name}: {', '.join(changed)} changed, and the artifact did not"


def _uncarded(name: str, base: Side, head: Side) -> Iterator[Finding]:
    """A lock that its model's card, which a build writes from the same measurements, does not agree with."""
    from fleetctl.models.card.mark import is_current

    model, locked = head.fleet.models.get(name), head.lock.models[name]
    if model is None or base.lock.models.get(name) == locked:
        return
    if not is_current(head.project.artifacts / name, model, locked):
        what = f"{name}: model_artifacts/{name}/card.md is missing, or about another build than the lock"
        yield Finding(Danger.EDITED_LOCK, what, name)

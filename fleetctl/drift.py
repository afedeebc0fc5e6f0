"""What boards are against what git says: declared, on disk, loaded; since when, and by whom. Pure."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from fleetctl.blame import Move
from fleetctl.manifest.schema import Accelerator, Board, DriftKind, DriftPolicy, DriftRule
from fleetctl.observation import Observed, Reach, is_drop_in
from fleetctl.release import Release
from fleetctl.untrusted import text

_MODEL = "model/model.tflite"
_CONFIG = "config/serve.json"


class Origin(Struct, frozen=True):
    """How a difference came about, as far as git or the board knows. `since` is ISO 8601; empty: unknown."""

    since: str = ""
    by: str = ""
    how: str = ""


class Drift(Struct, frozen=True):
    """One difference on one board. A side that does not apply, or that nobody can tell, is None."""

    board: str
    kind: DriftKind
    what: str  # path in the release, config name, or a word
    declared: str | None
    files: str | None
    loaded: str | None
    origin: Origin = Origin()
    ignored: str | None = None  # the reason that the manifest gives for leaving it aside

    @property
    def mended_by_rollout(self) -> bool:
        """A rollout brings back what a release brings; what others added beside it is theirs to take away."""
        return not (self.kind is DriftKind.UNIT and is_drop_in(self.what))

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind.value,
            "what": self.what,
            "declared": self.declared,
            "files": self.files,
            "loaded": self.loaded,
            "since": self.origin.since or None,
            "by": self.origin.by or None,
            "how": self.origin.how or None,
            "ignored": self.ignored,
        }


class BoardDrift(Struct, frozen=True):
    """What is different on one board; `unknown` says why nobody can tell."""

    board: str
    drifts: tuple[Drift, ...] = ()
    unknown: str = ""

    @property
    def counted(self) -> tuple[Drift, ...]:
        """Those that the manifest does not leave aside."""
        return tuple(drift for drift in self.drifts if drift.ignored is None)

    @property
    def is_clean(self) -> bool:
        return not self.unknown and not self.counted

    def to_json(self) -> dict[str, Any]:
        return {
            "board": self.board,
            "clean": self.is_clean,
            "unknown": self.unknown or None,
            "drifts": [drift.to_json() for drift in self.drifts],
        }


Blame = Callable[[str], Move]  # how git came to differ from the commit that a board names


def find_drift(
    board: Board,
    release: Release,
    config: Mapping[str, Any],
    seen: Observed,
    *,
    policy: DriftPolicy,
    today: str,
    blame: Blame,
) -> BoardDrift:
    """Hold one board against the release that git says it should run.

    Args:
        release: what git says, file by file.
        config: the parsed `config/serve.json` of that release.
        policy: which differences the manifest leaves aside.
        today: the date, such as 2026-12-31, that `until` of a rule is held against.
        blame: who changed git after a commit.
    """
    if seen.reach is not Reach.REACHED:
        return BoardDrift(board.name, unknown=seen.error or seen.reach.value)
    if seen.adopted:
        found = list(_differences(board, release, config, seen, blame))
    else:
        found = [_never_adopted(board, release, seen)]
    rules = [rule for rule in policy.ignore if not rule.until or today <= rule.until]
    return BoardDrift(board.name, tuple(_judged(drift, rules) for drift in found))


def _judged(drift: Drift, rules: Iterable[DriftRule]) -> Drift:
    reason = next((rule.reason for rule in rules if _holds(rule, drift)), None)
    return replace(drift, ignored=reason)


def _holds(rule: DriftRule, drift: Drift) -> bool:
    return (
        (not rule.boards or any(fnmatchcase(drift.board, glob) for glob in rule.boards))
        and rule.kind in (None, drift.kind)
        and (not rule.what or fnmatchcase(drift.what, rule.what))
    )


def _never_adopted(board: Board, release: Release, seen: Observed) -> Drift:
    how = "it runs what others put there" if seen.foreign else "nothing of ours is on it"
    return Drift(board.name, DriftKind.RELEASE, "release", release.digest, None, None, Origin(how=how))


_OTHER_RUNTIME = "this fleetctl brings another board runtime"


def _differences(
    board: Board, release: Release, config: Mapping[str, Any], seen: Observed, blame: Blame
) -> Iterator[Drift]:
    moved = seen.current != release.digest
    origin = _why_another_release(release, seen, blame) if moved else Origin()
    loaded = seen.loaded.release if seen.loaded else None
    if moved or (loaded is not None and loaded != release.digest):
        since = origin if moved else _why_another_is_loaded(seen)
        yield Drift(board.name, DriftKind.RELEASE, "release", release.digest, seen.current, loaded, since)
    yield from _model(board, release, seen, origin)
    yield from _config(board, config, seen, origin)
    yield from _files(board, release, seen, moved=moved)
    yield from _units(board, release, seen, moved=moved)
    yield from _service(board, seen)
    if not moved:  # what another release has proved is nothing to git
        yield from _proof(board, seen)


def _why_another_release(release: Release, seen: Observed, blame: Blame) -> Origin:
    receipt = seen.receipt
    left = receipt.get("release") == release.digest and receipt.get("state") in ("reverted", "revert_failed")
    if left or receipt.get("left") == release.digest:
        reasons = receipt.get("reasons")
        told = "; ".join(str(r) for r in reasons)[:300] if isinstance(reasons, list) else ""
        return Origin(text(receipt.get("time")), "the board", f"went back ({told})" if told else "went back")
    parts = {path.partition("/")[0] for path in _differing(release, seen)}
    if "runtime" in parts and parts <= {"runtime", "unit"}:  # its unit starts it
        return Origin(how=_OTHER_RUNTIME)
    origin = _moved(blame(commit := text(receipt.get("commit"))), commit)
    return replace(origin, how=f"{origin.how}; {_OTHER_RUNTIME}, too") if "runtime" in parts else origin


def _differing(release: Release, seen: Observed) -> set[str]:
    """Paths that are in one of both alone, or with other bytes; none where the board did not say."""
    if not seen.files:
        return set()
    differing = {path for path, ref in release.files.items() if seen.files.get(path) != ref.sha256}
    return differing | (seen.files.keys() - release.files.keys())


def _moved(move: Move, commit: str) -> Origin:
    """How git came to say something else than the release that a board got from `commit`."""
    if move.is_foreign:
        return Origin(how=f"rolled out from commit {commit[:7]}, which git does not know here")
    if move.change:
        edited = "edited here, not committed, and " if move.is_edited else ""  # first: they have no author
        how = f"{edited}git moved on: {move.change.subject[:100]} ({move.change.commit[:7]})"
        return Origin(move.change.when, move.change.author, how)
    if move.is_edited:
        return Origin(how="edited here, not committed")
    if commit.endswith("-dirty"):
        return Origin(how="rolled out from edits that were not committed")
    return Origin(how="no commit here came after the board's")


def _why_another_is_loaded(seen: Observed) -> Origin:
    since = seen.loaded.since if seen.loaded else ""
    return Origin(since, how="the service did not start anew when the release on disk changed")


def _model(board: Board, release: Release, seen: Observed, origin: Origin) -> Iterator[Drift]:
    declared = release.files[_MODEL].sha256 if _MODEL in release.files else None
    on_disk, loaded = seen.files.get(_MODEL), seen.loaded.model_sha256 if seen.loaded else None
    if on_disk != declared or (loaded and loaded != declared):
        origin = _altered(seen, _MODEL) or origin
        yield Drift(board.name, DriftKind.MODEL, _MODEL, declared, on_disk, loaded or None, origin)


def _config(board: Board, config: Mapping[str, Any], seen: Observed, origin: Origin) -> Iterator[Drift]:
    altered = _altered(seen, _CONFIG) or origin
    for name in [*config, *(name for name in seen.config if name not in config)]:
        declared, on_disk = config.get(name), seen.config.get(name)
        if declared != on_disk or (name in config) != (name in seen.config):
            yield Drift(board.name, DriftKind.CONFIG, name, _shown(declared), _shown(on_disk), None, altered)


def _files(board: Board, release: Release, seen: Observed, *, moved: bool) -> Iterator[Drift]:
    """Other files that are not what they should be: of git's release, or of the older one that is there."""
    if moved:
        differing = [path for path in seen.altered if path not in (_MODEL, _CONFIG)]
        declared: Mapping[str, str] = {}
    else:
        declared = {path: ref.sha256 for path, ref in release.files.items()}
        differing = [path for path in declared if seen.files.get(path) != declared[path]]
        differing = [path for path in differing if path != _MODEL and not _is_told(path, seen)]
    for path in differing:
        origin = _altered(seen, path) or Origin()
        yield Drift(board.name, DriftKind.FILE, path, declared.get(path), seen.files.get(path), None, origin)


def _units(board: Board, release: Release, seen: Observed, *, moved: bool) -> Iterator[Drift]:
    """What systemd is told beside what the release says."""
    for path, change in seen.units.items():
        ref = None if moved else release.files.get(f"unit/{path.rpartition('/')[2]}")
        if is_drop_in(path):
            how = "a drop-in that no release brings, put there"
        else:
            how = "edited on the board" if change.sha256 else "deleted on the board"
        declared = ref.sha256 if ref and not is_drop_in(path) else None
        origin = Origin(change.since, change.by, how)
        yield Drift(board.name, DriftKind.UNIT, path, declared, change.sha256, None, origin)


def _is_told(path: str, seen: Observed) -> bool:
    """The config is told value by value, where the board could read it."""
    return path == _CONFIG and bool(seen.config)


_SILENT = Origin(how="it does not say what it has loaded")


def _service(board: Board, seen: Observed) -> Iterator[Drift]:
    if seen.service != "running":
        yield Drift(board.name, DriftKind.SERVICE, "service", "running", None, seen.service)
    elif seen.loaded is None:
        yield Drift(board.name, DriftKind.SERVICE, "service", "running", None, None, _SILENT)
    elif board.accelerator is Accelerator.REQUIRED and seen.loaded.accelerator != "edgetpu":
        since = Origin(seen.loaded.since, how="the service started without it")
        yield Drift(
            board.name, DriftKind.SERVICE, "accelerator", "edgetpu", None, seen.loaded.accelerator, since
        )


def _proof(board: Board, seen: Observed) -> Iterator[Drift]:
    """What keeps a board from having proved what its process has loaded now, though all of it seems right."""
    if seen.pending:
        loaded = "on probation"
        origin = Origin(how="a rollout is at work or was cut short; unless it confirms, the board goes back")
    elif seen.good != seen.current:
        loaded, origin = "never", Origin(how="its release was never confirmed")
    elif seen.repaired:
        loaded, since = "outdated", seen.loaded.since if seen.loaded else ""
        origin = Origin(since, how="files or interpreter changed since the service was started")
    else:
        return
    yield Drift(board.name, DriftKind.SERVICE, "proof", "confirmed", None, loaded, origin)


def _altered(seen: Observed, path: str) -> Origin | None:
    alteration = seen.altered.get(path)
    if alteration is None:
        return None
    how = "altered on the board" if path in seen.files else "deleted on the board"
    return Origin(alteration.since, alteration.by, how)


def _shown(value: object) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)[:200]


def drifting(found: Sequence[BoardDrift]) -> list[str]:
    """The boards that a rollout would put right: those that were asked, and differ in what it brings."""
    return [each.board for each in found if any(drift.mended_by_rollout for drift in each.counted)]

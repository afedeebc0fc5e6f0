"""A change told commit by commit: which one brought a danger without saying that it is meant.

What a change brings in one step may have come in many, each with reviewers and a reason of its own. Those
reasons count; and what one commit brought unasked stays unasked, whatever comes behind it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct, field
from msgspec.structs import replace

from fleetctl.commits import Commits, project_at
from fleetctl.errors import ManifestError, UsageError
from fleetctl.manifest.schema import Danger
from fleetctl.project import Project
from fleetctl.proposal.base import Base, findings
from fleetctl.proposal.dangers import Finding, newly_allowed
from fleetctl.proposal.side import Side, read_side

_BY_NONE = "bit by bit: no commit on the way is dangerous by itself"


def commit_by_commit(found: Sequence[Finding], base: Base, head: Side) -> Sequence[Finding]:
    """The dangers of going from `base` to `head`, refused where a commit on the way brought them unasked.

    Without dangers no commit is looked at. Where `base` is no ancestor of what is checked out nobody knows
    the way, and the whole is one step.
    """
    if not found:
        return found
    walk = _walked(base, head)
    return [walk.judged(finding) for finding in found]


class _Walk(Struct):
    """What commits brought unasked (danger and thing, with the first that did), and what they allowed."""

    unasked: dict[tuple[Danger, str], str] = field(default_factory=dict)
    reasons: dict[Danger, str] = field(default_factory=dict)

    def go(self, base: Base, before: Base, after: Side) -> None:
        """Take one commit into account: `after`, which follows `before`.

        It answers for itself alone; but one that allows a danger and has none of that kind can only mean what
        is there already.
        """
        own, allowed = findings(before, after), newly_allowed(before.side, after)
        self.reasons.update({danger: _signed(why, after) for danger, why in allowed.items()})
        for finding in own:
            if not finding.allowed:
                self.unasked.setdefault(_key(finding), after.name)
        if not self.unasked:
            return
        still_there = {_key(finding) for finding in findings(base, after)}
        meant_since = allowed.keys() - {finding.danger for finding in own}
        self.unasked = {
            key: name
            for key, name in self.unasked.items()
            if key in still_there and key[0] not in meant_since
        }

    def judged(self, finding: Finding) -> Finding:
        if (name := self.unasked.get(_key(finding))) is not None:
            # The commit behind one that nobody can read is not to blame for it, and is not to be reverted.
            blamed = "" if finding.danger is Danger.UNREADABLE_BASE else name
            return replace(finding, reason=None, commit=blamed)
        if finding.allowed:
            return finding
        return replace(finding, reason=self.reasons.get(finding.danger, _BY_NONE))


def _key(finding: Finding) -> tuple[Danger, str]:
    return finding.danger, finding.about


def _signed(why: str, side: Side) -> str:
    return f"{why} ({side.name[:12]})" if side.name else why


def _walked(base: Base, head: Side) -> _Walk:
    walk, before = _Walk(), base
    for side in _way(base, head):
        walk.go(base, before, side)
        before = Base(side.name, side)
    return walk


def _way(base: Base, head: Side) -> Iterator[Side]:
    """Every fleet from `base` (without it) to the files here; a commit that has none is passed over."""
    for commit in Commits(head.project).since(base.commit):
        with _side_of(head.project, commit) as side:
            if side is not None:
                yield side
    yield replace(head, name="")  # files that were not committed; where there are none, the last commit again


@contextmanager
def _side_of(project: Project, commit: str) -> Iterator[Side | None]:
    """The fleet of a commit, in a folder that goes with the block; None where there is none to be read."""
    with TemporaryDirectory(prefix="fleetctl-commit-") as folder:
        try:
            then = project_at(project, commit, Path(folder).resolve(), whole=False, cards=True)
            side = read_side(commit, then) if then.manifest.exists() else None
        except (ManifestError, UsageError):  # invalid, or behind a link, which is not followed
            side = None
        yield side

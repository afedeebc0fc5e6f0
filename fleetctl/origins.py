"""Where the release that a board runs came from, and whether this repository knows it.

A board that runs what nobody here committed was touched by somebody else: another checkout, another person's
uncommitted edits. That is worth a word, and nothing to be overwritten in passing. Nor is what came later than
what is to be rolled out: an old job that is run again knows nothing of it.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from typing import Any, Protocol

from fleetctl.commits import FETCH, Commits
from fleetctl.observation import Observed
from fleetctl.revision import UNKNOWN
from fleetctl.signing.signing import Barred
from fleetctl.untrusted import text

ADOPT = "say --adopt to overwrite it"
BACK = "roll out what is newer, or say --back to go back on purpose"
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_DIRTY = "-dirty"
_CUT_SHORT = "this clone's history is cut short"

Receipts = Iterable[Mapping[str, Any]]


class Knows(Protocol):
    """What is asked of a repository about a commit; `Commits` can tell."""

    @property
    def is_shallow(self) -> bool: ...

    def is_known(self, commit: str) -> bool: ...


class AsksHistory(Protocol):
    """Gives the receipts that each of these boards has, by board name; a silent one is left out."""

    def __call__(self, boards: Collection[str]) -> Mapping[str, Receipts]: ...


def strangers(
    observed: Mapping[str, Observed],
    desired: Mapping[str, str],
    commits: Commits,
    history: AsksHistory,
    *,
    working: str,
    adopt: bool = False,
    back: bool = False,
) -> dict[str, Barred]:
    """Boards that would lose a release unknown to this repository's history, or newer; and why that is said.

    Args:
        desired: release digests by board; a board that runs its own is no stranger.
        history: asked only about boards whose last receipt is about another release than they run.
        working: the commit that is at work; where it ends in `-dirty`, uncommitted edits may follow each
            other. `none`, outside git, knows no strangers.
        adopt: releases that are not known may be lost.
        back: newer ones may.
    """
    if working == UNKNOWN:
        return {}
    others = [seen for name, seen in observed.items() if seen.current and seen.current != desired.get(name)]
    said = {seen.board: _of_receipt(seen) for seen in others}
    asked = history([board for board, commit in said.items() if commit is None])
    known: dict[str, Barred | None] = {}
    found = {}
    for seen in others:
        commit = said[seen.board]
        if commit is None:
            commit = last_commit(asked.get(seen.board, ()), seen.current)
        if commit not in known:
            unknown = None if adopt else _unknown(commit, commits, working)
            known[commit] = unknown or (None if back else _newer(commit, commits, working))
        if bar := known[commit]:
            found[seen.board] = bar
    return found


def _unknown(commit: str, commits: Commits, working: str) -> Barred | None:
    """Where the history here is cut short, it is that which is to be mended: the commit may be known well."""
    why = _complaint(commit, commits, working)
    fix = FETCH if why.startswith(_CUT_SHORT) else ADOPT
    return Barred(f"runs a release that git does not know: {why}", fix) if why else None


def _newer(commit: str, commits: Commits, working: str) -> Barred | None:
    theirs, ours = commit.removesuffix(_DIRTY), working.removesuffix(_DIRTY)
    if not _COMMIT.match(theirs) or not commits.is_before(ours, theirs):
        return None
    return Barred(f"runs a release of commit {theirs[:12]}, which came after {ours[:12]}", BACK)


Complaint = Callable[[str], str]  # why a commit is none of this repository's; empty where it is one


def complaints(commits: Knows, working: str) -> Complaint:
    """Asks git once about a commit, however many boards name it."""
    return cache(lambda commit: "" if working == UNKNOWN else _complaint(commit, commits, working))


def stranger(seen: Observed, desired: str | None, complaint: Complaint) -> str:
    """The same of one board, from its last receipt alone; empty where that is about another release."""
    commit = _of_receipt(seen)
    if not seen.current or seen.current == desired or commit is None:
        return ""
    return complaint(commit)


def last_commit(receipts: Receipts, release: str | None) -> str:
    """The commit that a release was last brought from, by the board's own receipts; empty if none says."""
    found = [text(receipt.get("commit")) for receipt in receipts if receipt.get("release") == release]
    return found[-1] if found else ""


def release_at(receipts: Receipts, order: Mapping[str, int]) -> str | None:
    """The release that a board ran as of a commit: the confirmed one from the commit nearest to it.

    `order` numbers that commit (0) and those before it; receipts from others do not count.
    """
    found = [
        (order[commit], release)
        for receipt in receipts
        if (commit := text(receipt.get("commit"))) in order
        and receipt.get("state") == "confirmed"
        and (release := text(receipt.get("release")))
    ]
    nearest = min((place for place, _ in found), default=None)
    return next((release for place, release in reversed(found) if place == nearest), None)


def _of_receipt(seen: Observed) -> str | None:
    """The commit of the release that runs; None where the last receipt is about another."""
    return text(seen.receipt.get("commit")) if seen.receipt.get("release") == seen.current else None


def _complaint(commit: str, commits: Knows, working: str) -> str:
    """Why a commit, by a board's untrusted word, is none of this repository's; empty where it is one."""
    base = commit.removesuffix(_DIRTY)
    if not commit:
        return "no receipt says where it comes from"
    if commit == UNKNOWN:
        return "it was rolled out from outside any repository"
    if not _COMMIT.match(base):
        return "its receipt names no commit"
    if not commits.is_known(base):
        whose = f"{_CUT_SHORT}, and" if commits.is_shallow else "this repository"
        return f"{whose} has no commit {base[:12]}"
    if commit != base and not working.endswith(_DIRTY):
        return f"it was rolled out from uncommitted edits of {base[:12]}"
    return ""

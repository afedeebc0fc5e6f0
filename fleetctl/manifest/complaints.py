"""What is wrong with a manifest, noted where it is seen and turned into `Problem`s at the end.

A complaint holds only the node it is about. Its path in the document, and the name it may have been meant
to be, are worked out once everything has been read: a valid manifest pays nothing for either.
"""

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from fleetctl.errors import Problem
from fleetctl.manifest.tree import Items, Node, Pairs
from fleetctl.meant import did_you_mean

_MAX_COMPARISONS = 50_000  # about a second; a suggestion costs one with every name there is


class Invalid:
    """The type of `INVALID`, which stands for a value that has been complained about already."""

    def __repr__(self) -> str:
        return "INVALID"


INVALID: Final = Invalid()


class Complaint(NamedTuple):
    """One thing wrong with `node`. `meant` are the names it could have been, for a did-you-mean."""

    node: Node
    what: str
    hint: str = ""
    word: str = ""
    meant: Collection[str] = ()


def unknown(node: Node, kind: str, word: str, names: Collection[str], hint: str = "") -> Complaint:
    """A name that is not one of `names`; `hint` is given where none of them is close."""
    return Complaint(node, f"unknown {kind} `{word}`", hint, word, names)


def as_problems(complaints: Iterable[Complaint], roots: Iterable[Node]) -> list[Problem]:
    """Complaints with their place, in the order of `fleetctl.errors.Problem`, none twice."""
    once = list({(id(c.node), c.what): c for c in complaints}.values())
    paths = _paths({id(c.node) for c in once}, roots)
    problems = []
    comparisons = 0
    for complaint in once:
        mark = complaint.node.mark
        comparisons += len(complaint.meant)
        guess = did_you_mean(complaint.word, complaint.meant) if comparisons <= _MAX_COMPARISONS else ""
        problems.append(
            Problem(
                file=mark.name,
                line=mark.line + 1,
                column=mark.column + 1,
                path=paths.get(id(complaint.node), ""),
                what=complaint.what,
                hint=guess or complaint.hint,
            )
        )
    return sorted(problems)


def _paths(wanted: set[int], roots: Iterable[Node]) -> dict[int, str]:
    """The path of every wanted node, by identity; of a node with several places (an alias), the first."""
    paths: dict[int, str] = {}
    if not wanted:
        return paths
    seen: set[int] = set()
    todo: list[tuple[Node, str]] = [(root, "") for root in roots]
    while todo:
        node, path = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if id(node) in wanted:
            paths.setdefault(id(node), path)
        if isinstance(node, Pairs):
            for key, child in reversed(node.pairs):
                below = f"{path}.{key.text}" if path else key.text
                if id(key) in wanted:
                    paths[id(key)] = below
                todo.append((child, below))
        elif isinstance(node, Items):
            todo.extend((child, f"{path}[{index}]") for index, child in reversed(list(enumerate(node.items))))
    return paths

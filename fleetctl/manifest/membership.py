"""Which boards are in which group.

`match` looks at a board's own settings and the fleet's defaults only. If it saw what groups set, a group
could decide its own membership, and the order of groups would change who is in them.
"""

from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import Any

from fleetctl.manifest.complaints import Complaint, unknown
from fleetctl.manifest.compounds import Entry
from fleetctl.manifest.document import MATCH_FIELDS
from fleetctl.manifest.kinds import Complaints
from fleetctl.manifest.layers import find
from fleetctl.manifest.schema import BoardKind, Via
from fleetctl.manifest.tree import Items, Node


def is_glob(text: str) -> bool:
    """Whether `text` stands for more than the one name it spells."""
    return any(character in text for character in "*?[")


class Membership:
    """Resolves groups. Boards are indexed by value once a key, so the cost is not groups times boards."""

    def __init__(
        self, boards: Mapping[str, Entry], defaults: Mapping[str, Any], models: Collection[str]
    ) -> None:
        self._boards = boards
        self._defaults = defaults
        self._models = models
        self._position = {name: index for index, name in enumerate(boards)}
        self._indexes: dict[str, dict[str, list[str]]] = {}

    def members(self, group: Entry, complaints: Complaints) -> tuple[str, ...]:
        """The boards of `group` in board order: those listed, and those that match."""
        names: set[str] = set()
        listed, match = group.value.get("boards"), group.value.get("match")
        if "boards" not in group.value and "match" not in group.value:
            complaints.append(
                Complaint(group.key, "has neither `boards` nor `match`", "say which boards are in it")
            )
        if isinstance(listed, tuple):
            names |= self._listed(listed, group.node, complaints)
        if isinstance(match, dict):
            names |= self._matching(match, group.node, complaints)
        return tuple(sorted(names, key=self._position.__getitem__))

    def _listed(self, globs: tuple[Any, ...], node: Node, complaints: Complaints) -> set[str]:
        names: set[str] = set()
        for index, glob in enumerate(globs):
            if not isinstance(glob, str):
                continue
            found = [glob] if glob in self._boards else self._like(glob)
            if not found:
                complaints.append(self._unknown_board(_item(node, index), glob))
            names.update(found)
        return names

    def _like(self, glob: str) -> list[str]:
        return [name for name in self._boards if fnmatchcase(name, glob)] if is_glob(glob) else []

    def _unknown_board(self, node: Node, glob: str) -> Complaint:
        if is_glob(glob):
            return Complaint(node, f"no board is called like `{glob}`")
        return unknown(node, "board", glob, self._boards)

    def _matching(self, match: dict[str, Any], node: Node, complaints: Complaints) -> set[str]:
        found: set[str] | None = None
        for key, glob in match.items():
            if not isinstance(glob, str):
                return set()
            here = self._with(key, glob)
            found = here if found is None else found & here
        if not found and self._boards:
            complaints.append(self._matches_nothing(match, node))
        return found or set()

    def _with(self, key: str, glob: str) -> set[str]:
        index = self._index(key)
        return {name for value, names in index.items() if fnmatchcase(value, glob) for name in names}

    def _matches_nothing(self, match: dict[str, Any], node: Node) -> Complaint:
        """The complaint about the first key that matches no board, or about all of them together."""
        for key, glob in match.items():
            if self._with(key, glob):
                continue
            if not self._index(key):
                return unknown(_setting(node, key)[0], "label", key, self._labels(), "no board has it")
            what = f"no board has {key} `{glob}`"
            return Complaint(_setting(node, key)[1], what, "", glob, self._candidates(key))
        return Complaint(_setting(node)[0], "no board matches all of these together")

    def _candidates(self, key: str) -> Collection[str]:
        match key:
            case "board":
                return list(BoardKind)
            case "via":
                return list(Via)
            case "model":
                return self._models
        return self._index(key)

    def _labels(self) -> set[str]:
        return {label for entry in self._boards.values() for label in self._own_labels(entry)} | set(
            MATCH_FIELDS
        )

    def _index(self, key: str) -> dict[str, list[str]]:
        if key not in self._indexes:
            index: dict[str, list[str]] = {}
            for name, entry in self._boards.items():
                value = self._value(entry, key)
                if isinstance(value, str):
                    index.setdefault(value, []).append(name)
            self._indexes[key] = index
        return self._indexes[key]

    def _value(self, entry: Entry, key: str) -> Any:
        if key in MATCH_FIELDS:
            fallback = Via.ANSIBLE if key == "via" else None
            return _settings(entry).get(key, self._defaults.get(key, fallback))
        return self._own_labels(entry).get(key)

    def _own_labels(self, entry: Entry) -> dict[str, Any]:
        return {**_labels(self._defaults), **_labels(_settings(entry))}


def _settings(entry: Entry) -> Mapping[str, Any]:
    return entry.value if isinstance(entry.value, dict) else {}


def _labels(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    labels = settings.get("labels")
    return labels if isinstance(labels, dict) else {}


def _setting(group: Node, key: str | None = None) -> tuple[Node, Node]:
    pair = find(group, ("match",) if key is None else ("match", key))
    return pair or (group, group)


def _item(group: Node, index: int) -> Node:
    pair = find(group, ("boards",))
    return pair[1].items[index] if pair and isinstance(pair[1], Items) else group

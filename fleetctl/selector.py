"""Which boards a command is about: `--on '@canary,luxor-*,!luxor-3'`.

Terms are separated by commas. Those without `!` add boards, those with `!` take boards away whatever the
order; if all of them take away, they take away from the whole fleet. A term is a name, `@group`, or
`key=value`, where the key is a label, `board`, `model` or `via`; each may be a glob. A term that stands for
no board is an error: a typing mistake must not become a smaller or a larger rollout.
"""

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase

from msgspec import Struct

from fleetctl.errors import UsageError
from fleetctl.manifest.schema import Board, Fleet
from fleetctl.meant import did_you_mean


class Selection(Struct, frozen=True):
    """Names of the selected boards in manifest order, and how many boards there are."""

    boards: tuple[str, ...]
    total: int

    def __str__(self) -> str:
        return f"{len(self.boards)} of {self.total} board{'s' if self.total != 1 else ''}"


def select(fleet: Fleet, text: str) -> Selection:
    """The boards of `fleet` that `text` names; all of them where it is blank.

    Raises:
        UsageError: a term is empty or stands for no board, or no board is left.
    """
    if not text.strip():
        return Selection(tuple(fleet.boards), len(fleet.boards))
    added: set[str] = set()
    removed: set[str] = set()
    only_removes = True
    for term in (part.strip() for part in text.split(",")):
        if term.startswith("!"):
            removed |= _boards(fleet, term[1:].strip(), text)
        else:
            only_removes = False
            added |= _boards(fleet, term, text)
    kept = (set(fleet.boards) if only_removes else added) - removed
    if not kept:
        raise UsageError(f"`{text}` selects no board", hint="what it adds it also takes away")
    return Selection(tuple(name for name in fleet.boards if name in kept), len(fleet.boards))


def _boards(fleet: Fleet, term: str, text: str) -> set[str]:
    if term in ("", "@"):
        raise UsageError(f"an empty term in `{text}`", hint="terms are separated by one comma each")
    if term.startswith("@"):
        return _of_groups(fleet, term[1:])
    key, equals, value = term.partition("=")
    return _of_value(fleet, key.strip(), value.strip()) if equals else _of_names(fleet, term)


def _of_groups(fleet: Fleet, glob: str) -> set[str]:
    found = _like(fleet.groups, glob)
    if not found:
        raise UsageError(f"no group `{glob}` in the fleet", hint=_meant(glob, fleet.groups, "groups"))
    members = {name for group in found for name in fleet.groups[group]}
    if not members:
        raise UsageError(f"group `{glob}` has no boards")
    return members


def _of_names(fleet: Fleet, glob: str) -> set[str]:
    found = _like(fleet.boards, glob)
    if not found:
        raise no_such_board(fleet, glob)
    return set(found)


def no_such_board(fleet: Fleet, name: str) -> UsageError:
    """What to tell of a board that is not in the fleet."""
    hint = _meant(name, fleet.boards, "boards", name in fleet.groups)
    return UsageError(f"no board `{name}` in the fleet", hint=hint)


def _of_value(fleet: Fleet, key: str, glob: str) -> set[str]:
    read = _FIELDS.get(key)
    values = {
        name: value
        for name, board in fleet.boards.items()
        if (value := read(board) if read else board.labels.get(key)) is not None
    }
    if not values:
        keys = {*_FIELDS, *(label for board in fleet.boards.values() for label in board.labels)}
        raise UsageError(f"no board has a label `{key}`", hint=_meant(key, keys, "keys"))
    found = {name for name, value in values.items() if fnmatchcase(value, glob)}
    if not found:
        raise UsageError(f"no board has `{key}={glob}`", hint=_meant(glob, set(values.values()), "values"))
    return found


_FIELDS: Mapping[str, Callable[[Board], str]] = {
    "board": lambda board: board.board.value,
    "model": lambda board: board.model,
    "via": lambda board: board.via.value,
}


def _like(names: Iterable[str], glob: str) -> list[str]:
    return [name for name in names if fnmatchcase(name, glob)]


def _meant(word: str, names: Iterable[str], plural: str, is_group: bool = False) -> str:
    if is_group:
        return f"did you mean the group, `@{word}`?"
    listed = sorted(names)
    if close := did_you_mean(word, listed):
        return close
    if not listed:
        return f"there are no {plural}"
    return f"{plural} are {', '.join(listed[:8])}{' ...' if len(listed) > 8 else ''}"

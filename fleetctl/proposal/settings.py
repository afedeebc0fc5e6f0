"""What a change edits and no release holds: how boards are reached, policy, demands, whom we trust."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import asdict

from fleetctl.listed import listed
from fleetctl.manifest.schema import DriftRule, Fleet, Wave
from fleetctl.plan import waves_of
from fleetctl.proposal.beside import PIN, Beside, trust_changes
from fleetctl.proposal.side import Side

# What a board is decides what it could load and how fast it must be; neither is in what it gets.
_REACH = ("via", "host", "port", "user", "become", "root", "board", "attached", "runtime")
_DEMANDS = ("gates", "smoke")
_NAMED = 3  # boards or hosts that a row lists
_LONG = 80  # characters of a file

_Waves = Sequence[tuple[Wave, tuple[str, ...]]]


class Setting(NamedTuple):
    """One value that differs. `place` is the manifest's: `boards.luxor-01.host`."""

    place: str
    before: str
    after: str


def setting_changes(base: Side, head: Side) -> Iterator[Setting]:
    """Every such setting of what both sides have."""
    old, new = base.fleet, head.fleet
    yield from _difference("metadata.name", old.name, new.name)
    yield from _values("rollout", old.rollout, new.rollout)
    yield from _members(old, new)
    yield from _rules(old.drift.ignore, new.drift.ignore)
    yield from _values("iothub", old.iothub, new.iothub)
    yield from _of_files(base.beside, head.beside)
    yield from _of_models(old, new)
    yield from _of_boards(old, new)  # last: there may be more of them than a comment has room for


def pin_changes(before: str, after: str) -> Iterator[Setting]:
    """Whether pipelines would install another fleetctl."""
    if before != after:
        yield Setting(PIN, _cut(before) or "not set", _cut(after) or "not set")


def _of_models(base: Fleet, head: Fleet) -> Iterator[Setting]:
    for name, old in base.models.items():
        if (model := head.models.get(name)) is not None and model != old:
            for part in _DEMANDS:
                yield from _values(f"models.{name}.{part}", getattr(old, part), getattr(model, part))


def _of_boards(base: Fleet, head: Fleet) -> Iterator[Setting]:
    for name, was in base.boards.items():
        if (board := head.boards.get(name)) is not None and board is not was:
            for key in _REACH:
                yield from _difference(f"boards.{name}.{key}", getattr(was, key), getattr(board, key))


def _members(base: Fleet, head: Fleet) -> Iterator[Setting]:
    """Waves that other boards are in than before, of those that both fleets have."""
    if not base.boards:
        return
    both = base.boards.keys() & head.boards.keys()
    is_same_size = len(both) == len(base.boards) == len(head.boards)
    nothing: tuple[Wave | None, tuple[str, ...]] = (None, ())
    pairs = zip_longest(waves_of(base), waves_of(head), fillvalue=nothing)
    for index, ((old, before), (new, after)) in enumerate(pairs):
        if old and new and old.fraction is not None and old.fraction == new.fraction and not is_same_size:
            continue  # a share of a fleet that grew or shrank: that is what a percentage is for
        yield from _moved(f"rollout.waves[{index}]", "board", _only(before, both), _only(after, both))


def _only(boards: Sequence[str], these: Collection[str]) -> dict[str, Any]:
    return {name: None for name in boards if name in these}


def _rules(base: Sequence[DriftRule], head: Sequence[DriftRule]) -> Iterator[Setting]:
    """Rules that came or went; in which order they stand is all one."""
    yield from (Setting("drift.ignore", _rule(rule), "none") for rule in base if rule not in head)
    yield from (Setting("drift.ignore", "none", _rule(rule)) for rule in head if rule not in base)


def _rule(rule: DriftRule) -> str:
    what = " ".join(filter(None, [rule.kind or "", rule.what])) or "everything"
    boards = _some(rule.boards) if rule.boards else "every board"
    until = f" until {rule.until}" if rule.until else ""
    return f"{what} of {boards}{until}: {rule.reason}"


def _of_files(base: Beside, head: Beside) -> Iterator[Setting]:
    for name, before, after in trust_changes(base, head):
        yield Setting(f"trust.{name}", before or "not trusted", after or "not trusted")
    yield from _moved("known_hosts", "host", base.hosts, head.hosts)
    yield from pin_changes(base.pin, head.pin)


def _moved(place: str, noun: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Setting]:
    """Names that are there now and were not, are there no more, or stand for something else, in one row."""
    fates = {
        "new": [name for name in after if name not in before],
        "gone": [name for name in before if name not in after],
        "changed": [name for name in after if name in before and before[name] != after[name]],
    }
    said = [f"{fate}: {_some(names)}" for fate, names in fates.items() if names]
    if said:
        yield Setting(place, _count(len(before), noun), f"{_count(len(after), noun)}; {'; '.join(said)}")


def _cut(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[: _LONG - 3]}..."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _some(names: Sequence[str]) -> str:
    return listed(["a hashed name" if name.startswith("|1|") else name for name in names], _NAMED)


def _values(place: str, old: Struct, new: Struct) -> Iterator[Setting]:
    """The fields of two records of one type, those of records in them too."""
    for name, before in asdict(old).items():
        after = getattr(new, name)
        if isinstance(before, Struct):
            yield from _values(f"{place}.{name}", before, after)
        else:
            yield from _difference(f"{place}.{name}", before, after)


def _difference(place: str, before: Any, after: Any) -> Iterator[Setting]:
    if before != after:
        yield Setting(place, _said(before), _said(after))


def _said(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, tuple):
        return f"[{', '.join(_item(item) for item in value)}]"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_said(each)}" for key, each in value.items()) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) or "not set"


def _item(item: Any) -> str:
    """A wave, or a word."""
    if not isinstance(item, Wave):
        return str(item)
    soak = f", soak {item.soak:g} s" if item.soak else ""
    return (item.group or f"{100 * (item.fraction or 0):g} %") + soak

"""Settings that a change edits and no release holds: how boards are reached, rollout policy, demands."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import asdict

from fleetctl.manifest.schema import Fleet, Wave

_REACH = ("via", "host", "port", "user", "become", "root")
_DEMANDS = ("gates", "smoke")


class Setting(NamedTuple):
    """One value that differs. `place` is the manifest's: `boards.luxor-01.host`."""

    place: str
    before: str
    after: str


def setting_changes(base: Fleet, head: Fleet) -> Iterator[Setting]:
    """Every such setting of what both fleets have."""
    yield from _values("rollout", base.rollout, head.rollout)
    for name, old in base.models.items():
        if (model := head.models.get(name)) is not None and model != old:
            for part in _DEMANDS:
                yield from _values(f"models.{name}.{part}", getattr(old, part), getattr(model, part))
    for name, was in base.boards.items():
        if (board := head.boards.get(name)) is not None and board is not was:
            for key in _REACH:
                yield from _difference(f"boards.{name}.{key}", getattr(was, key), getattr(board, key))


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

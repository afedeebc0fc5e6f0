"""What a twin may hold: its size as IoT Hub counts it, and every reason for which the hub would refuse it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

TAGS_LIMIT = 8 * 1024  # bytes
PROPERTIES_LIMIT = 32 * 1024  # of the desired and of the reported ones, each
KEY_LIMIT = 1024
STRING_LIMIT = 4096
DEPTH_LIMIT = 10
_LARGEST = 2**52 - 1
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_NUMBER_SIZE, _BOOLEAN_SIZE = 8, 4


def twin_size(value: Any) -> int:
    """Bytes that tags or properties count for: keys and strings in UTF-8, 8 a number, 4 a boolean.

    Control characters count for nothing, nor does what the hub itself keeps under `$`.
    """
    match value:
        case bool():
            return _BOOLEAN_SIZE
        case int() | float():
            return _NUMBER_SIZE
        case str():
            return len(_CONTROL.sub("", value).encode())
        case Mapping():
            return sum(twin_size(key) + twin_size(each) for key, each in value.items() if key[:1] != "$")
        case list():
            return sum(map(twin_size, value))
        case _:
            return 0


def faults(value: Any, path: str = "", depth: int = 0) -> Iterator[str]:
    """Each reason for which a hub would not take `value` into a twin, as a sentence that names the place.

    Nulls are welcome: in a patch they delete.
    """
    match value:
        case Mapping():
            if depth > DEPTH_LIMIT:
                yield f"{path} lies deeper than {DEPTH_LIMIT} levels"
                return
            for key, each in value.items():
                place = f"{path}.{key}" if path else str(key)
                yield from _key_faults(str(key), place)
                yield from faults(each, place, depth + 1)
        case list():
            for index, each in enumerate(value):
                yield from faults(each, f"{path}[{index}]", depth + 1)
        case str() if len(value.encode()) > STRING_LIMIT:
            yield f"{path} is a text of {len(value.encode()):,} bytes; {STRING_LIMIT:,} is the limit"
        case int() if not isinstance(value, bool) and not -_LARGEST - 1 <= value <= _LARGEST:
            yield f"{path} is a number beyond {_LARGEST}"


def _key_faults(key: str, place: str) -> Iterator[str]:
    if not key or len(key.encode()) > KEY_LIMIT:
        yield f"{place[:40]}: a key has 1 to {KEY_LIMIT} bytes"
    if set(key) & set(".$ ") or _CONTROL.search(key):
        yield f"{place}: a key has no dot, dollar sign, space or control character"


def merged(old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """`old` with `patch` laid over it: objects merge, null deletes, everything else replaces."""
    result = dict(old)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            before = result.get(key)
            result[key] = merged(before if isinstance(before, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The smallest patch that makes `new` of `old`: `merged(old, difference(old, new)) == new`."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if inner := difference(before, value):
                patch[key] = inner
        elif key not in old or type(before) is not type(value) or before != value:
            patch[key] = value
    return patch

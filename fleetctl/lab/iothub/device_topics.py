"""The topics of IoT Hub's MQTT dialect, taken apart and put together. Pure."""

import re
import urllib.parse
from enum import Enum

from msgspec import Struct

TWIN_ANSWERS = "$iothub/twin/res/"
TWIN_PATCHES = "$iothub/twin/PATCH/properties/desired/"
METHODS = "$iothub/methods/POST/"

_TWIN_GET = re.compile(r"\$iothub/twin/GET/\?\$rid=(?P<rid>[^&]*)")
_TWIN_REPORT = re.compile(r"\$iothub/twin/PATCH/properties/reported/\?\$rid=(?P<rid>[^&]*)")
_METHOD_ANSWER = re.compile(r"\$iothub/methods/res/(?P<status>-?\d+)/\?\$rid=(?P<rid>[^&]*)")
_EVENT = re.compile(r"devices/(?P<device>[^/]+)(/modules/(?P<module>[^/]+))?/messages/events/?(?P<words>.*)")


class Topic(Enum):
    """What a client publishes to."""

    TWIN_GET = _TWIN_GET
    TWIN_REPORT = _TWIN_REPORT
    METHOD_ANSWER = _METHOD_ANSWER
    EVENT = _EVENT


class Published(Struct, frozen=True):
    """A topic, understood. `fields` as they stood in it."""

    topic: Topic
    fields: dict[str, str]


def understand(topic: str) -> Published | None:
    """What a client published to; None where that is nothing a hub takes."""
    for kind in Topic:
        if found := kind.value.fullmatch(topic):
            return Published(kind, {name: value or "" for name, value in found.groupdict().items()})
    return None


def may_subscribe(topic_filter: str, device: str, module: str) -> bool:
    """Whether a hub lets this client listen there: only to what is its own."""
    own = f"devices/{device}/modules/{module}/" if module else f"devices/{device}/"
    allowed = (TWIN_ANSWERS, TWIN_PATCHES, METHODS, f"{own}messages/devicebound/", f"{own}inputs/")
    return topic_filter.endswith("#") and topic_filter.removesuffix("#") in allowed


def twin_answer(status: int, rid: str, version: int | None = None) -> str:
    return f"{TWIN_ANSWERS}{status}/?$rid={rid}" + (f"&$version={version}" if version is not None else "")


def twin_patch(version: int) -> str:
    return f"{TWIN_PATCHES}?$version={version}"


def method_call(name: str, rid: str) -> str:
    return f"{METHODS}{urllib.parse.quote(name, safe='')}/?$rid={rid}"


class Username(Struct, frozen=True):
    """`{host}/{device}[/{module}]/?api-version=...`, as a client signs in."""

    host: str
    device: str
    module: str

    @classmethod
    def parse(cls, text: str) -> "Username | None":
        words = text.partition("/?")[0].split("/")
        if len(words) not in (2, 3) or not all(words):
            return None
        return cls(words[0], words[1], words[2] if len(words) == 3 else "")

"""Twins: tags, desired and reported properties, with the versions, times and etags that go with them."""

import base64
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from fleetctl.lab.iothub.refusal import HubRefusal, bad_argument
from fleetctl.transports.iothub_twin import PROPERTIES_LIMIT, TAGS_LIMIT, faults, merged, twin_size


class Section(Struct):
    """Desired or reported properties: the values, and when each was last written."""

    name: str
    values: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    version: int = 1

    def patch(self, changes: Mapping[str, Any], now: str, limit: int = PROPERTIES_LIMIT) -> None:
        """Lay `changes` over the values.

        Raises:
            HubRefusal: what came of it would not be allowed; nothing has changed.
        """
        after = checked(merged(self.values, changes), changes, self.name, limit)
        self.version += 1
        self.metadata = _dated(self.metadata, changes, after, now, self.version)
        self.values = after

    def replace(self, values: Mapping[str, Any], now: str, limit: int = PROPERTIES_LIMIT) -> None:
        """Have these values and no others."""
        after = checked(merged({}, values), values, self.name, limit)
        self.version += 1
        self.metadata = _dated({}, after, after, now, self.version)
        self.values = after

    def document(self) -> dict[str, Any]:
        """As the service shows it."""
        return {**self.values, "$metadata": self.metadata, "$version": self.version}

    def for_device(self) -> dict[str, Any]:
        """As a device is told of it."""
        return {**self.values, "$version": self.version}


class Twin(Struct):
    """The twin of a device or of a module."""

    tags: dict[str, Any] = field(default_factory=dict)
    desired: Section = field(default_factory=lambda: Section("desired"))
    reported: Section = field(default_factory=lambda: Section("reported"))
    version: int = 1  # of tags and desired properties together
    configurations: dict[str, dict[str, str]] = field(default_factory=dict)  # id: {"status"}

    @property
    def etag(self) -> str:
        """Of tags and desired properties; what a device reports does not change it."""
        return etag_of(self.version)

    def update(self, document: Mapping[str, Any], now: str, *, replace: bool) -> bool:
        """What a service wants changed: `tags` and `properties.desired`. Says whether desired ones did."""
        tags, desired = (
            _mapping(document, "tags"),
            _mapping(_mapping(document, "properties") or {}, "desired"),
        )
        before_tags, before_desired = self.tags, self.desired.values
        if tags is not None:
            self.tags = checked(merged({} if replace else self.tags, tags), tags, "tags", TAGS_LIMIT)
        if desired is not None:
            wanted = {key: value for key, value in desired.items() if key not in ("$metadata", "$version")}
            try:
                (self.desired.replace if replace else self.desired.patch)(wanted, now)
            except HubRefusal:
                self.tags = before_tags
                raise
        self.version += 1
        return before_desired is not self.desired.values


def etag_of(version: int) -> str:
    """An etag as hubs write them."""
    return base64.b64encode(version.to_bytes(8, "big")).decode()


def same_etag(given: str | None, actual: str) -> bool:
    """Whether `If-Match` allows a write; absent or a star, it always does."""
    return given is None or given.strip().removeprefix("W/").strip('"') in ("*", actual)


def checked(after: dict[str, Any], given: Mapping[str, Any], name: str, limit: int) -> dict[str, Any]:
    """`after`, if a hub would keep it.

    Raises:
        HubRefusal: it would not, for what is in `given`, or for the size.
    """
    if fault := next(faults(given, name), ""):
        raise bad_argument(fault)
    if (size := twin_size(after)) > limit:
        raise HubRefusal(
            413, "RequestEntityTooLarge", f"{name} would have {size:,} bytes; {limit:,} is the limit"
        )
    return after


def _mapping(document: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    value = document.get(key)
    if value is not None and not isinstance(value, Mapping):
        raise bad_argument(f"{key} is no object")
    return value


def _dated(
    old: Mapping[str, Any], changes: Mapping[str, Any], values: Mapping[str, Any], now: str, version: int
) -> dict[str, Any]:
    """When each value was last written; entries of values that are gone go too."""
    dated = {key: each for key, each in old.items() if key in values or key.startswith("$")}
    for key, change in changes.items():
        if key not in values:
            continue
        before = dated.get(key, {})
        if isinstance(change, Mapping):
            dated[key] = _dated(before, change, values[key], now, version)
        else:
            dated[key] = {"$lastUpdated": now, "$lastUpdatedVersion": version}
    return {**dated, "$lastUpdated": now, "$lastUpdatedVersion": version}

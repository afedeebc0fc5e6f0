"""Automatic deployments: which of them a board follows, and what its modules' twins say then. Pure."""

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct, field

from fleetctl.lab.iothub.identities import EDGE_AGENT, EDGE_HUB
from fleetctl.lab.iothub.language import Document, parse_condition, parse_query
from fleetctl.lab.iothub.refusal import HubRefusal, bad_argument
from fleetctl.lab.iothub.twins import etag_of
from fleetctl.transports.iothub_twin import PROPERTIES_LIMIT, twin_size

MODULES_LIMIT = 50
METRICS_LIMIT = 5
_DESIRED = "properties.desired"
_SYSTEM = (EDGE_AGENT, EDGE_HUB)
_NAME = re.compile(r"[a-z0-9\-:+%_#*?!(),=@;']{1,128}")  # as the Azure portal says what it takes: no dot

Content = Mapping[str, Mapping[str, Any]]  # module: {"properties.desired[.path]": value}
Json = Mapping[str, Any]


class Configuration(Struct):
    """A deployment for edge devices, or a configuration of devices or modules."""

    id: str
    content: dict[str, Any]
    priority: int = 0
    condition: str = ""
    labels: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)
    created: str = ""
    updated: str = ""
    number: int = 0  # counts creations: the newer one wins a tie
    version: int = 1

    @property
    def etag(self) -> str:
        return etag_of(self.version)

    @property
    def modules(self) -> Content:
        return self.content.get("modulesContent") or {}

    @property
    def is_layered(self) -> bool:
        """Whether it only adds to what another deployment says."""
        return bool(self.modules) and _DESIRED not in self.modules.get(EDGE_AGENT, {})

    def document(self, counts: Mapping[str, int], custom: Mapping[str, int]) -> dict[str, Any]:
        """As the service shows it; `counts` are the system's metrics."""
        return {
            "id": self.id,
            "schemaVersion": "1.0",
            "labels": self.labels,
            "content": self.content,
            "targetCondition": self.condition,
            "createdTimeUtc": self.created,
            "lastUpdatedTimeUtc": self.updated,
            "priority": self.priority,
            "systemMetrics": {"results": dict(counts), "queries": self._system_queries()},
            "metrics": {"results": dict(custom), "queries": self.metrics},
            "etag": self.etag,
        }

    def _system_queries(self) -> dict[str, str]:
        applied = f"select deviceId from devices.modules where moduleId = '{EDGE_AGENT}'"
        applied += f" and configurations.[[{self.id}]].status = 'Applied'"
        code = "properties.reported.lastDesiredStatus.code"
        seen = " and properties.desired.$version = properties.reported.lastDesiredVersion"
        where = f" and {self.condition}" if self.condition.strip() not in ("", "*") else ""
        return {
            "targetedCount": f"select deviceId from devices where capabilities.iotEdge = true{where}",
            "appliedCount": applied,
            "reportedSuccessfulCount": f"{applied}{seen} and {code} = 200",
            "reportedFailedCount": f"{applied}{seen} and {code} != 200",
        }


def read_configuration(identifier: str, document: Json) -> Configuration:
    """A configuration that a service asked for.

    Raises:
        HubRefusal: it is malformed, or over a limit.
    """
    if not _NAME.fullmatch(identifier):
        raise bad_argument(f"{identifier!r} is no name: lower case, digits and -:+%_#*?!(),=@;' are allowed")
    content = document.get("content")
    if not isinstance(content, Mapping) or not any(content.values()):
        raise bad_argument("a configuration needs content")
    metrics = ((document.get("metrics") or {}).get("queries")) or {}
    if len(metrics) > METRICS_LIMIT:
        raise bad_argument(f"a configuration has at most {METRICS_LIMIT} metrics, not {len(metrics)}")
    for query in metrics.values():
        parse_query(str(query))
    condition = str(document.get("targetCondition") or "")
    parse_condition(condition)
    checked_modules(content.get("modulesContent") or {})
    return Configuration(
        identifier,
        copy.deepcopy(dict(content)),
        _priority(document.get("priority", 0)),
        condition,
        dict(document.get("labels") or {}),
        {str(name): str(query) for name, query in metrics.items()},
    )


def _priority(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise bad_argument(f"priority {value!r} is no integer from 0 to {2**31 - 1}")
    return value


def checked_modules(content: Any) -> None:
    """Raise `HubRefusal` unless the twins of a board's modules may be set to `content`."""
    if not isinstance(content, Mapping) or not all(isinstance(each, Mapping) for each in content.values()):
        raise bad_argument("modulesContent maps modules to their properties")
    for module, sections in content.items():
        for path, value in sections.items():
            if path != _DESIRED and not path.startswith(f"{_DESIRED}."):
                raise bad_argument(f"{module}: {path} is not {_DESIRED}, nor within it")
            if not isinstance(value, Mapping):
                raise bad_argument(f"{module}: {path} is no object")
            if (size := twin_size(value)) > PROPERTIES_LIMIT:
                raise HubRefusal(
                    413,
                    "RequestEntityTooLarge",
                    f"{module}: {size:,} bytes; {PROPERTIES_LIMIT:,} is the limit",
                )
    if (count := len(module_names(content))) > MODULES_LIMIT:
        raise bad_argument(f"{count} modules; a deployment has at most {MODULES_LIMIT}")


def module_names(content: Content) -> set[str]:
    """The modules that `content` has, without the system's own."""
    agent = content.get(EDGE_AGENT, {})
    whole = (agent.get(_DESIRED) or {}).get("modules") or {}
    layered = {path.split(".")[3] for path in agent if path.startswith(f"{_DESIRED}.modules.")}
    return (set(content) | set(whole) | layered) - set(_SYSTEM)


class Followed(Struct, frozen=True):
    """What a board is to follow: the deployments that are in force, and what they come to."""

    ids: tuple[str, ...]
    desired: Mapping[str, dict[str, Any]]  # by module


def followed(matching: Iterable[Configuration]) -> Followed | None:
    """What comes of the deployments whose condition a board meets; None where none of them is whole.

    The highest priority wins, the newest at a tie; layered ones of higher priority than that lie upon it.
    """
    ordered = sorted(matching, key=lambda each: (each.priority, each.number))
    whole = [each for each in ordered if each.modules and not each.is_layered]
    if not whole:
        return None
    base = whole[-1]
    layers = [each for each in ordered if each.is_layered and each.priority > base.priority]
    desired: dict[str, dict[str, Any]] = {}
    for each in (base, *layers):
        for module, sections in each.modules.items():
            for path, value in sections.items():
                _lay(desired.setdefault(module, {}), path, value)
    return Followed(tuple(each.id for each in (base, *layers)), desired)


def _lay(properties: dict[str, Any], path: str, value: Any) -> None:
    """Put `value` where `properties.desired.a.b` says, in place of what is there."""
    steps = path.split(".")[2:]
    if not steps:
        properties.clear()
        properties.update(copy.deepcopy(dict(value)))
        return
    for step in steps[:-1]:
        inner = properties.get(step)
        properties[step] = inner if isinstance(inner, dict) else {}
        properties = properties[step]
    properties[steps[-1]] = copy.deepcopy(value)


def targets(configuration: Configuration, device: Document) -> bool:
    """Whether the twin of an edge device meets the configuration's condition."""
    return parse_condition(configuration.condition)(device) is True

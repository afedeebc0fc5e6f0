"""The hub itself: registry, twins and deployments, and what each change brings about. No network, no disk.

Whoever serves it is told of changes through two lists of listeners, and asks `take_changed` what to keep.
"""

import bisect
import datetime
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fleetctl.lab.iothub import deployments
from fleetctl.lab.iothub.deployments import Configuration
from fleetctl.lab.iothub.identities import BY_EDGE, EDGE_AGENT, EDGE_HUB, Identity, new_identity
from fleetctl.lab.iothub.limits import TIERS, Clock, Tier
from fleetctl.lab.iothub.refusal import HubRefusal, bad_argument, etag_differs, no_device, no_module
from fleetctl.lab.iothub.twins import same_etag
from fleetctl.transports.iothub_twin import difference

MODULES_PER_DEVICE = 50
_APPLIED, _TARGETED = "Applied", "Targeted"

Json = Mapping[str, Any]
Listener = Callable[[Identity, Json], None]  # the identity, and the patch of its desired properties


class Hub:
    """All that a hub keeps."""

    def __init__(self, tier: Tier = TIERS["S1"], clock: Clock = time.time) -> None:
        self.tier = tier
        self._clock = clock
        self._devices: dict[str, dict[str, Identity]] = {}  # by device, then module; "" is the device itself
        self._order: list[str] = []  # names of devices, sorted: pages of a query go by it
        self.configurations: dict[str, Configuration] = {}
        self.on_desired: list[Listener] = []
        self.on_gone: list[Callable[[Identity], None]] = []
        self.needs_evaluation = False
        self._changed: set[str] = set()

    # -- registry

    def device(self, name: str) -> Identity:
        """Raises `HubRefusal` where there is none."""
        return self._modules_of(name)[""]

    def module(self, device: str, name: str) -> Identity:
        """Raises `HubRefusal` where there is none."""
        modules = self._modules_of(device)
        if not name or name not in modules:
            raise no_module(device, name)
        return modules[name]

    def find(self, device: str, module: str = "") -> Identity:
        """The module, or the device where no module is named."""
        return self.module(device, module) if module else self.device(device)

    def modules(self, device: str) -> list[Identity]:
        return [each for name, each in sorted(self._modules_of(device).items()) if name]

    def devices(self) -> Iterator[Identity]:
        return (self._devices[name][""] for name in self._order)

    def __len__(self) -> int:
        return len(self._order)

    def put(self, device: str, module: str, document: Json, etag: str | None) -> tuple[Identity, bool]:
        """Create an identity, or change it where `If-Match` is given. Says whether it is new."""
        known = self._devices.get(device, {}).get(module)
        if known is not None and etag is None:
            what, code = (
                ("module", "ModuleAlreadyExistsOnDevice") if module else ("device", "DeviceAlreadyExists")
            )
            raise HubRefusal(409, code, f"{what} {known.client} is registered already")
        if known is not None:
            return self._change(known, document, etag), False
        if etag is not None:
            raise no_module(device, module) if module else no_device(device)
        return self._add(new_identity(device, module, document)), True

    def delete(self, device: str, module: str = "", etag: str | None = None) -> None:
        identity = self.find(device, module)
        if not same_etag(etag, identity.etag):
            raise etag_differs(identity.client)
        for gone in [identity] if module else list(self._devices[device].values()):
            for tell in self.on_gone:
                tell(gone)
        if module:
            del self._devices[device][module]
        else:
            del self._devices[device]
            self._order.remove(device)
        self._changed.add(device)

    def _modules_of(self, device: str) -> dict[str, Identity]:
        try:
            return self._devices[device]
        except KeyError:
            raise no_device(device) from None

    def _add(self, identity: Identity) -> Identity:
        if identity.module:
            siblings = self._modules_of(identity.device)
            if len([name for name in siblings if name[:1] not in ("", "$")]) >= MODULES_PER_DEVICE:
                raise HubRefusal(
                    403, "TooManyModulesOnDevice", f"a device has at most {MODULES_PER_DEVICE} modules"
                )
            siblings[identity.module] = identity
        else:
            if len(self) >= self.tier.identities:
                raise HubRefusal(403, "TooManyDevices", f"a hub has at most {self.tier.identities:,} devices")
            self._devices[identity.device] = {"": identity}
            bisect.insort(self._order, identity.device)
            self._add_system_modules(identity)
        self._changed.add(identity.device)
        self.needs_evaluation = True
        return identity

    def _add_system_modules(self, device: Identity) -> None:
        if not device.is_edge:
            return
        for name in (EDGE_AGENT, EDGE_HUB):
            modules = self._devices[device.device]
            modules.setdefault(name, new_identity(device.device, name, {"managedBy": BY_EDGE}))

    def _change(self, identity: Identity, document: Json, etag: str | None) -> Identity:
        if not same_etag(etag, identity.etag):
            raise etag_differs(identity.client)
        identity.change(document)
        identity.version += 1
        self._add_system_modules(identity)
        if not identity.is_enabled:
            for tell in self.on_gone:
                tell(identity)
        self._changed.add(identity.device)
        self.needs_evaluation = True
        return identity

    # -- twins

    def update_twin(self, identity: Identity, document: Json, etag: str | None, *, replace: bool) -> None:
        """What a service wants a twin to say."""
        if not same_etag(etag, identity.twin.etag):
            raise etag_differs(f"the twin of {identity.client}")
        before = identity.twin.desired.values
        if identity.twin.update(document, self.now(), replace=replace):
            self._tell_desired(identity, before)
        self._changed.add(identity.device)
        self.needs_evaluation = True

    def report(self, identity: Identity, patch: Json) -> int:
        """What a device or module says of itself. Returns the version this made."""
        identity.twin.reported.patch(patch, self.now())
        self._changed.add(identity.device)
        self.needs_evaluation = True
        return identity.twin.reported.version

    def set_connected(self, identity: Identity, is_connected: bool) -> None:
        identity.is_connected = is_connected
        identity.connection_changed = self.now()
        self.touch(identity)
        self._connect_edge_hub(identity)

    def _connect_edge_hub(self, changed: Identity) -> None:
        """A board's edgeHub is connected where its agent is, and was told to start it."""
        modules = self._devices.get(changed.device, {})  # it may be gone
        if changed.module in (EDGE_AGENT, EDGE_HUB) and {EDGE_AGENT, EDGE_HUB} <= modules.keys():
            hub = modules[EDGE_HUB]
            hub.is_connected = modules[EDGE_AGENT].is_connected and bool(hub.twin.desired.values)

    def touch(self, identity: Identity) -> None:
        """It was heard of."""
        identity.last_activity = self.now()
        self._changed.add(identity.device)

    def documents(self, *, of_modules: bool, after: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        """Twins in the order of names, each with its place, from behind the place `after`."""
        device, _, last = after.partition("\0")
        start = bisect.bisect_left(self._order, device) if device else 0
        for name in self._order[start:]:
            for module, identity in sorted(self._devices[name].items()):
                if bool(module) is of_modules and (name != device or module > last or not after):
                    yield f"{name}\0{module}", identity.twin_document()

    def _tell_desired(self, identity: Identity, before: Json) -> None:
        desired = identity.twin.desired
        patch = {**difference(before, desired.values), "$version": desired.version}
        for tell in self.on_desired:
            tell(identity, patch)

    # -- deployments

    def configuration(self, identifier: str) -> Configuration:
        """Raises `HubRefusal` where there is none."""
        try:
            return self.configurations[identifier]
        except KeyError:
            raise HubRefusal(
                404, "ConfigurationNotFound", f"configuration {identifier} does not exist"
            ) from None

    def put_configuration(
        self, identifier: str, document: Json, etag: str | None
    ) -> tuple[Configuration, bool]:
        """Create a configuration, or change one where `If-Match` is given. Says whether it is new."""
        known = self.configurations.get(identifier)
        wanted = deployments.read_configuration(identifier, document)
        if known is None:
            return self._add_configuration(wanted, etag), True
        if etag is None:
            raise HubRefusal(409, "ConfigurationAlreadyExists", f"configuration {identifier} exists already")
        if not same_etag(etag, known.etag):
            raise etag_differs(f"configuration {identifier}")
        if known.content != wanted.content:
            raise bad_argument("the content of a configuration cannot be changed; create another one")
        known.priority, known.condition = wanted.priority, wanted.condition
        known.labels, known.metrics = wanted.labels, wanted.metrics
        known.version, known.updated = known.version + 1, self.now()
        self.needs_evaluation = True
        return known, False

    def _add_configuration(self, wanted: Configuration, etag: str | None) -> Configuration:
        if etag is not None and etag.strip() != "*":
            raise etag_differs(f"configuration {wanted.id}")
        if len(self.configurations) >= self.tier.deployments:
            # A bare 400 is what Azure says, too.
            raise bad_argument(f"a hub has at most {self.tier.deployments} configurations")
        wanted.created = wanted.updated = self.now()
        wanted.number = 1 + max((each.number for each in self.configurations.values()), default=0)
        self.configurations[wanted.id] = wanted
        self.needs_evaluation = True
        return wanted

    def delete_configuration(self, identifier: str, etag: str | None) -> None:
        if not same_etag(etag, self.configuration(identifier).etag):
            raise etag_differs(f"configuration {identifier}")
        del self.configurations[identifier]
        self.needs_evaluation = True

    def apply_content(self, device: str, content: Json) -> None:
        """Set the modules of one edge device, past all deployments, until one is evaluated anew."""
        identity = self.device(device)
        if not identity.is_edge:
            raise bad_argument(f"device {device} is no edge device")
        modules = content.get("modulesContent") or {}
        deployments.checked_modules(modules)
        only = deployments.followed([Configuration("", {"modulesContent": dict(modules)})])
        if only is None:
            raise bad_argument("the content says nothing of $edgeAgent")
        self._follow(identity, only, ())

    def evaluate(self) -> int:
        """Hold every edge device against every condition; change the twins of those that follow another now.

        A device that no deployment is for keeps what it has. Says how many devices were changed.
        """
        self.needs_evaluation = False
        ours = [each for each in self.configurations.values() if each.modules]
        changed = 0
        for device in list(self.devices()):
            if device.is_edge:
                changed += self._evaluate_one(device, ours)
        return changed

    def _evaluate_one(self, device: Identity, ours: list[Configuration]) -> bool:
        document = device.twin_document()
        matching = [each for each in ours if deployments.targets(each, document)]
        force = deployments.followed(matching)
        ids = force.ids if force else ()
        status = {each.id: {"status": _APPLIED if each.id in ids else _TARGETED} for each in matching}
        if status == device.twin.configurations:
            return False
        device.twin.configurations = status
        self._changed.add(device.device)
        if force:
            self._follow(device, force, ids)
        else:
            self.module(device.device, EDGE_AGENT).twin.configurations = {}
        return True

    def _follow(self, device: Identity, force: deployments.Followed, ids: tuple[str, ...]) -> None:
        modules = self._devices[device.device]
        wanted = deployments.module_names(
            {name: {"properties.desired": d} for name, d in force.desired.items()}
        )
        for name in [each for each in modules if each[:1] not in ("", "$")]:
            if name not in wanted and modules[name].managed_by == BY_EDGE:
                self.delete(device.device, name)
        for name in wanted:
            if name not in modules:
                self._add(new_identity(device.device, name, {"managedBy": BY_EDGE}))
        for name, values in force.desired.items():
            self._set_desired(modules[name], values)
        modules[EDGE_AGENT].twin.configurations = {each: {"status": _APPLIED} for each in ids}
        self._changed.add(device.device)

    def _set_desired(self, identity: Identity, values: dict[str, Any]) -> None:
        before = identity.twin.desired.values
        if before == values:
            return
        identity.twin.desired.replace(values, self.now())
        identity.twin.version += 1
        self._tell_desired(identity, before)
        self._connect_edge_hub(identity)

    def counts(self, configuration: Configuration) -> dict[str, int]:
        """The system's metrics of a deployment."""
        found = dict.fromkeys(
            ("targetedCount", "appliedCount", "reportedSuccessfulCount", "reportedFailedCount"), 0
        )
        for device in self.devices():
            status = device.twin.configurations.get(configuration.id)
            if status is None:
                continue
            found["targetedCount"] += 1
            if status["status"] == _APPLIED:
                found["appliedCount"] += 1
                if said := self._said(device.device):
                    found[said] += 1
        return found

    def _said(self, device: str) -> str:
        """Which metric a board's agent counts for: it has seen what is desired, and can or cannot follow."""
        twin = self.module(device, EDGE_AGENT).twin
        reported = twin.reported.values
        if reported.get("lastDesiredVersion") != twin.desired.version:
            return ""
        status = reported.get("lastDesiredStatus")
        is_fine = isinstance(status, dict) and status.get("code") == 200
        return "reportedSuccessfulCount" if is_fine else "reportedFailedCount"

    # -- time and change

    def now(self) -> str:
        """The hub's time as JSON has it."""
        moment = datetime.datetime.fromtimestamp(self._clock(), datetime.UTC)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"

    def take_changed(self) -> dict[str, list[Identity]]:
        """The devices that changed since this was last asked, with all identities; none where one is gone."""
        changed, self._changed = self._changed, set()
        return {name: list(self._devices.get(name, {}).values()) for name in sorted(changed)}

    def restore(self, identities: list[Identity], configurations: list[Configuration]) -> None:
        """Begin with what was kept."""
        for identity in sorted(identities, key=lambda each: (each.device, each.module)):
            self._devices.setdefault(identity.device, {})[identity.module] = identity
        self._order = sorted(self._devices)
        self.configurations = {each.id: each for each in configurations}
        self.needs_evaluation = True

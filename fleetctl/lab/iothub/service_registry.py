"""The service's paths for devices, modules, bulk changes and statistics."""

from collections.abc import Mapping
from typing import Any

from fleetctl.lab.iothub.hub import Hub
from fleetctl.lab.iothub.limits import Operation
from fleetctl.lab.iothub.refusal import HubRefusal, bad_argument, etag_differs
from fleetctl.lab.iothub.service import Answer, Call, Route
from fleetctl.lab.iothub.twins import same_etag

_DEVICE = "/devices/{device}"
_MODULE = "/devices/{device}/modules/{module}"
_PAGE = 1000
_BULK = 100


def routes() -> list[Route]:
    kind = Operation.REGISTRY
    return [
        Route("GET", "/devices", kind, _list_devices),
        Route("POST", "/devices", kind, _bulk),
        Route("GET", _DEVICE, kind, _get),
        Route("PUT", _DEVICE, kind, _put),
        Route("DELETE", _DEVICE, kind, _delete),
        Route("GET", "/devices/{device}/modules", kind, _list_modules),
        Route("GET", _MODULE, kind, _get),
        Route("PUT", _MODULE, kind, _put),
        Route("DELETE", _MODULE, kind, _delete),
        Route("GET", "/statistics/devices", kind, _device_statistics),
        Route("GET", "/statistics/service", kind, _service_statistics),
    ]


def _list_devices(call: Call) -> Answer:
    top = call.number("top", _PAGE, _PAGE)
    return Answer([each.document() for each, _ in zip(call.hub.devices(), range(top), strict=False)])


def _list_modules(call: Call) -> Answer:
    return Answer([each.document() for each in call.hub.modules(call.device)])


def _get(call: Call) -> Answer:
    return Answer(call.hub.find(call.device, call.module).document())


def _put(call: Call) -> Answer:
    named = (call.document.get("deviceId", call.device), call.document.get("moduleId", call.module))
    if named != (call.device, call.module):
        raise bad_argument("the body names another device or module than the path")
    identity, is_new = call.hub.put(call.device, call.module, call.document, call.etag)
    return Answer(identity.document(), 201 if is_new and call.module else 200)


def _delete(call: Call) -> Answer:
    call.hub.delete(call.device, call.module, call.etag)
    return Answer(status=204)


def _device_statistics(call: Call) -> Answer:
    enabled = sum(each.is_enabled for each in call.hub.devices())
    total = len(call.hub)
    return Answer(
        {"totalDeviceCount": total, "enabledDeviceCount": enabled, "disabledDeviceCount": total - enabled}
    )


def _service_statistics(call: Call) -> Answer:
    return Answer({"connectedDeviceCount": sum(each.is_connected for each in call.hub.devices())})


def _bulk(call: Call) -> Answer:
    """Up to a hundred changes, each of which may fail by itself."""
    if not isinstance(call.body, list) or not all(isinstance(each, dict) for each in call.body):
        raise bad_argument("the body is no list of devices")
    if len(call.body) > _BULK:
        raise HubRefusal(413, "TooManyDevices", f"{len(call.body)} devices; at most {_BULK} at once")
    errors = [error for each in call.body if (error := _bulk_one(call.hub, each)) is not None]
    result = {"isSuccessful": not errors, "errors": errors, "warnings": []}
    return Answer(result, 400 if errors and len(errors) == len(call.body) else 200)


def _bulk_one(hub: Hub, wish: Mapping[str, Any]) -> dict[str, Any] | None:
    device, module = str(wish.get("id") or ""), str(wish.get("moduleId") or "")
    mode = str(wish.get("importMode") or "create")
    try:
        _carry_out(hub, mode, device, module, wish)
    except HubRefusal as refusal:
        error = {"deviceId": device, "errorCode": refusal.code, "errorStatus": refusal.message}
        return {**error, "operation": mode, **({"moduleId": module} if module else {})}
    return None


def _carry_out(hub: Hub, mode: str, device: str, module: str, wish: Mapping[str, Any]) -> None:
    etag = str(wish.get("eTag") or "*") if mode.endswith("IfMatchETag") else "*"
    match mode:
        case "create":
            identity, _ = hub.put(device, module, wish, None)
            _first_twin(hub, wish, device, module)
        case "update" | "updateIfMatchETag":
            identity = hub.find(device, module)
            hub.put(identity.device, identity.module, wish, etag)
        case "delete" | "deleteIfMatchETag":
            hub.delete(device, module, etag)
        case "updateTwin" | "updateTwinIfMatchETag":
            identity = hub.find(device, module)
            wanted = str(wish.get("twinETag") or "*") if mode.endswith("IfMatchETag") else "*"
            if not same_etag(wanted, identity.twin.etag):
                raise etag_differs(f"the twin of {identity.client}")
            hub.update_twin(identity, wish, None, replace=False)
        case _:
            raise bad_argument(f"importMode {mode!r} is unknown")


def _first_twin(hub: Hub, wish: Mapping[str, Any], device: str, module: str) -> None:
    """Tags and desired properties may come with a new device; a refused twin takes the device along."""
    if not wish.get("tags") and not wish.get("properties"):
        return
    try:
        hub.update_twin(hub.find(device, module), wish, None, replace=False)
    except HubRefusal:
        hub.delete(device, module)
        raise

"""The service's paths for deployments and configurations, and the lab's own for what goes wrong on demand."""

from typing import Any

from fleetctl.lab.iothub.deployments import Configuration
from fleetctl.lab.iothub.language import parse_condition, parse_query
from fleetctl.lab.iothub.limits import Operation
from fleetctl.lab.iothub.refusal import HubRefusal, bad_argument
from fleetctl.lab.iothub.service import Answer, Call, Route

_ONE = "/configurations/{id}"
_PAGE, _LARGEST_PAGE = 20, 100


def routes() -> list[Route]:
    kind = Operation.DEPLOYMENT
    return [
        Route("GET", "/configurations", kind, _list),
        Route("POST", "/configurations/testQueries", kind, _test_queries),
        Route("GET", _ONE, kind, _get),
        Route("PUT", _ONE, kind, _put),
        Route("DELETE", _ONE, kind, _delete),
        Route("POST", "/devices/{device}/applyConfigurationContent", kind, _apply),
        Route("GET", "/lab/faults", None, lambda call: Answer(call.service.faults.document())),
        Route("PUT", "/lab/faults", None, _set_faults),
        Route("PUT", "/lab/clock", None, _set_clock),
        Route("GET", "/lab/counts", None, _counts),
    ]


def _document(call: Call, configuration: Configuration) -> dict[str, Any]:
    custom = {name: _count(call, query) for name, query in configuration.metrics.items()}
    return configuration.document(call.hub.counts(configuration), custom)


def _count(call: Call, text: str) -> int:
    query = parse_query(text)
    documents = (document for _, document in call.hub.documents(of_modules=query.of_modules))
    return sum(1 for _ in query.rows(documents))


def _list(call: Call) -> Answer:
    newest = sorted(call.hub.configurations.values(), key=lambda each: -each.number)
    return Answer([_document(call, each) for each in newest[: call.number("top", _PAGE, _LARGEST_PAGE)]])


def _get(call: Call) -> Answer:
    return Answer(_document(call, call.hub.configuration(call.request.match_info["id"])))


def _put(call: Call) -> Answer:
    configuration, is_new = call.hub.put_configuration(
        call.request.match_info["id"], call.document, call.etag
    )
    return Answer(_document(call, configuration), 201 if is_new else 200)


def _delete(call: Call) -> Answer:
    call.hub.delete_configuration(call.request.match_info["id"], call.etag)
    return Answer(status=204)


def _apply(call: Call) -> Answer:
    call.hub.apply_content(call.device, call.document)
    return Answer(status=204)


def _test_queries(call: Call) -> Answer:
    metrics = call.document.get("customMetricQueries") or {}
    if not isinstance(metrics, dict):
        raise bad_argument("customMetricQueries is no object")
    return Answer(
        {
            "targetConditionError": _error(parse_condition, str(call.document.get("targetCondition") or "")),
            "customMetricQueryErrors": {
                name: error for name, text in metrics.items() if (error := _error(parse_query, str(text)))
            },
        }
    )


def _error(parse: Any, text: str) -> str:
    try:
        parse(text)
    except HubRefusal as refusal:
        return refusal.message
    return ""


def _set_faults(call: Call) -> Answer:
    call.service.faults.change(call.document)
    return Answer(call.service.faults.document())


def _set_clock(call: Call) -> Answer:
    ahead = call.document.get("ahead")
    if not isinstance(ahead, int | float) or isinstance(ahead, bool):
        raise bad_argument("`ahead` is by how many seconds the hub's clock goes ahead")
    call.service.set_clock(float(ahead))
    return Answer({"ahead": float(ahead)})


def _counts(call: Call) -> Answer:
    meter = call.service.meter
    return Answer(
        {"calls": {kind.value: count for kind, count in meter.counts.items()}, "throttled": meter.throttled}
    )

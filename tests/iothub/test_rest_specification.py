"""The hub's service side held against the REST specification that Microsoft publishes, by schemathesis."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from iothub_hub import Clients, deployment, hub_with_clients, settings
from long_matrices import FULL

from fleetctl.lab.iothub.signin import token

pytestmark = pytest.mark.xdist_group("iothub")

EXAMPLES = 100 if FULL else 6  # the usual ones are enough to know each path
SERVED = [
    ("GET", "/configurations"),
    ("GET", "/configurations/{id}"),
    ("PUT", "/configurations/{id}"),
    ("DELETE", "/configurations/{id}"),
    ("POST", "/configurations/testQueries"),
    ("GET", "/statistics/devices"),
    ("GET", "/statistics/service"),
    ("GET", "/devices"),
    ("POST", "/devices"),
    ("POST", "/devices/query"),
    ("GET", "/devices/{id}"),
    ("PUT", "/devices/{id}"),
    ("DELETE", "/devices/{id}"),
    ("POST", "/devices/{id}/applyConfigurationContent"),
    ("GET", "/twins/{id}"),
    ("PUT", "/twins/{id}"),
    ("PATCH", "/twins/{id}"),
    ("GET", "/twins/{id}/modules/{mid}"),
    ("PUT", "/twins/{id}/modules/{mid}"),
    ("PATCH", "/twins/{id}/modules/{mid}"),
    ("GET", "/devices/{id}/modules"),
    ("GET", "/devices/{id}/modules/{mid}"),
    ("PUT", "/devices/{id}/modules/{mid}"),
    ("DELETE", "/devices/{id}/modules/{mid}"),
    ("POST", "/twins/{deviceId}/methods"),
    ("POST", "/twins/{deviceId}/modules/{moduleId}/methods"),
]
DECLINED = {400, 401, 403, 404, 409, 412, 413, 504}  # the specification knows the good answers alone


@pytest.fixture(scope="module")
def specification(shared_data: Path) -> dict[str, Any]:
    """The published document; where it says object of a tag or property, it means any JSON value."""
    path = shared_data / "iothub" / "service-2021-04-12.json"
    if not path.is_file():
        pytest.skip(f"the REST specification is not at {path}")
    document: dict[str, Any] = json.loads(path.read_text())
    _mean_any(document["definitions"])
    return document


def _mean_any(schema: Any) -> None:
    if isinstance(schema, dict):
        if schema.get("additionalProperties") == {"type": "object"}:
            schema["additionalProperties"] = {}
        if (
            schema.get("type") == "object"
            and not schema.get("properties")
            and "additionalProperties" not in schema
        ):
            del schema["type"]
        for each in schema.values():
            _mean_any(each)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    """A hub with a little of everything in it."""
    with hub_with_clients(settings(tmp_path_factory.mktemp("hub"), keeps=False, units=1000)) as clients:
        fill(clients)
        yield clients


def fill(clients: Clients) -> None:
    hub = clients.hub.hub
    for name in ("luxor-01", "spare"):
        hub.put(name, "", {"capabilities": {"iotEdge": True}}, None)
        hub.put(name, "reader", {}, None)
        hub.put(name, "doomed", {}, None)
        hub.update_twin(hub.device(name), {"tags": {"site": "luxor", "floor": 2}}, None, replace=False)
    for name in ("r1", "r2"):
        hub.put_configuration(name, deployment(name, condition="tags.site = 'luxor'").serialize(), None)
    hub.evaluate()


def send(hub: Clients, method: str, url: str, **words: Any) -> requests.Response:
    host = hub.hub.service_host
    signed = token(host, hub.hub.settings.key, expiry=time.time() + 60, policy="iothubowner")
    return requests.request(
        method,
        f"https://{host}{url}",
        params={"api-version": "2021-04-12"},
        headers={"Authorization": signed, **words.pop("headers", {})},
        verify=os.environ["REQUESTS_CA_BUNDLE"],
        timeout=30,
        **words,
    )


NAMES = {"id": "luxor-01", "deviceId": "luxor-01", "mid": "reader", "moduleId": "reader"}
CONTENT = {"modulesContent": {"$edgeAgent": {"properties.desired": {"modules": {}}}}}
GOOD = {
    "PUT /configurations/{id}": (
        {"id": "r3", "content": CONTENT, "priority": 1, "targetCondition": "*"},
        "r3",
    ),
    "GET /configurations/{id}": (None, "r1"),
    "DELETE /configurations/{id}": (None, "r2"),
    "POST /configurations/testQueries": ({"targetCondition": "*", "customMetricQueries": {}}, ""),
    "POST /devices": ([{"id": "fresh", "importMode": "create", "status": "enabled"}], ""),
    "POST /devices/query": ({"query": "SELECT * FROM devices"}, ""),
    "PUT /devices/{id}": ({"deviceId": "made", "status": "enabled"}, "made"),
    "DELETE /devices/{id}": (None, "spare"),
    "PUT /devices/{id}/modules/{mid}": ({"deviceId": "luxor-01", "moduleId": "made"}, "luxor-01"),
    "POST /devices/{id}/applyConfigurationContent": (CONTENT, "luxor-01"),
}


@pytest.mark.parametrize(("method", "path"), SERVED, ids=lambda value: value)
def test_good_answers_are_as_specified(
    hub: Clients, specification: dict[str, Any], method: str, path: str
) -> None:
    """Every served path is in the specification, and answers a good call with a status and body it allows."""
    operation = schemathesis.openapi.from_dict(specification)[path][method]
    if method in ("PUT", "PATCH") and path.startswith("/twins"):
        body, name = {"tags": {"site": "luxor"}, "properties": {"desired": {"a": 1}}}, "luxor-01"
    else:
        body, name = GOOD.get(f"{method} {path}", (None, "luxor-01"))
    if path.endswith("/methods"):
        body = {"methodName": "smoke", "payload": None}
    module = {"PUT": "made", "DELETE": "doomed"}.get(method, "reader") if "/devices" in path else "reader"
    names = {**NAMES, "id": name, "mid": module}
    url = path.format(**names)
    found = send(hub, method, url, json=body)
    if path.endswith("/methods"):  # nobody is connected here; the device side's tests have the good answer
        assert (404, "DeviceNotOnline") == (found.status_code, found.headers["iothub-errorcode"])
        return

    assert 200 <= found.status_code < 300, found.text
    operation.validate_response(found)


def operations(specification: dict[str, Any]) -> list[Any]:
    schema = schemathesis.openapi.from_dict(specification)
    return [schema[path][method] for method, path in SERVED]


@pytest.mark.parametrize(("method", "path"), SERVED, ids=lambda value: value)
def test_any_call_is_answered_or_declined(
    hub: Clients, specification: dict[str, Any], method: str, path: str
) -> None:
    """Whatever may be sent is answered as specified or declined by name, and never with 500."""
    operation = schemathesis.openapi.from_dict(specification)[path][method]

    @hypothesis_settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), data=st.data())
    def calls(case: Any, data: st.DataObject) -> None:
        names = {
            key: data.draw(st.sampled_from([str(value), str(NAMES.get(key, value))]))
            for key, value in (case.path_parameters or {}).items()
        }
        url = path.format(
            **{key: requests.utils.quote(value, safe="") or "x" for key, value in names.items()}
        )
        headers = {
            str(k): str(v)
            for k, v in (case.headers or {}).items()
            if str(v).isprintable() and str(v).isascii()
        }
        body = {} if case.body is schemathesis.core.NOT_SET else {"json": case.body}
        found = send(hub, method, url, headers=headers, **body)
        # Of a bulk call that comes to nothing, the specification knows the body.
        is_bulk = found.status_code == 400 and "isSuccessful" in found.json()
        if 200 <= found.status_code < 300 or is_bulk:
            operation.validate_response(found)
        else:
            assert found.status_code in DECLINED, (found.status_code, found.text)
            assert found.headers["iothub-errorcode"], found.headers
            assert found.json()["Message"].startswith("ErrorCode:")

    calls()

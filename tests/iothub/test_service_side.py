"""The hub's service side, with the unmodified azure-iot-hub SDK as its client."""

import time
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import (
    ConfigurationContent,
    ConfigurationQueriesTestInput,
    ExportImportDevice,
    QuerySpecification,
    Twin,
    TwinProperties,
)
from iothub_hub import Clients, deployment, eventually, hub_with_clients, settings
from msrest.exceptions import HttpOperationError

pytestmark = pytest.mark.xdist_group("iothub")


def status_of(error: pytest.ExceptionInfo[HttpOperationError]) -> tuple[int, str]:
    return error.value.response.status_code, error.value.response.headers["iothub-errorcode"]


def rows(clients: Clients, query: str, page: int = 100) -> list[dict[str, Any]]:
    """All pages of an answer, as they came: the SDK's own models know no columns."""
    found: list[dict[str, Any]] = []
    continuation = None
    while True:
        wish = QuerySpecification(query=query)
        answer = clients.registry.protocol.query.get_twins(wish, continuation, page, None, True)
        found += answer.response.json()
        continuation = answer.headers["x-ms-continuation"]
        if not continuation:
            return found


def test_a_device_from_birth_to_death(clients: Clients) -> None:
    """A device is made with keys of its own, changed under its etag, listed, counted, and then gone."""
    registry = clients.registry
    made = registry.create_device_with_sas("luxor-01", "", "", "enabled")
    assert made.authentication.symmetric_key.primary_key
    changed = registry.update_device_with_sas("luxor-01", made.etag, "a2V5", "a2V5", "disabled")

    assert (made.etag, "disabled") != (changed.etag, made.status)
    assert ["luxor-01"] == [each.device_id for each in registry.get_devices()]
    counted = registry.get_device_registry_statistics()
    assert (1, 0, 1) == (
        counted.total_device_count,
        counted.enabled_device_count,
        counted.disabled_device_count,
    )
    with pytest.raises(HttpOperationError) as error:
        registry.update_device_with_sas("luxor-01", made.etag, "a2V5", "a2V5", "enabled")
    assert (412, "PreconditionFailed") == status_of(error)
    registry.delete_device("luxor-01")
    with pytest.raises(HttpOperationError) as error:
        registry.get_device("luxor-01")
    assert (404, "DeviceNotFound") == status_of(error)


def test_the_same_device_is_not_made_twice(clients: Clients) -> None:
    """A second device of one name is refused, and the first keeps its keys."""
    key = clients.edge_device("luxor-01").authentication.symmetric_key.primary_key
    with pytest.raises(HttpOperationError) as error:
        clients.edge_device("luxor-01")

    assert (409, "DeviceAlreadyExists") == status_of(error)
    assert key == clients.registry.get_device("luxor-01").authentication.symmetric_key.primary_key


def test_modules_of_a_device(clients: Clients) -> None:
    """An edge device comes with agent and hub; it takes fifty modules more, and no fifty-first."""
    clients.edge_device("luxor-01")
    registry = clients.registry
    for number in range(50):
        registry.create_module_with_sas("luxor-01", f"m{number:02}", "me", "", "")
    with pytest.raises(HttpOperationError) as error:
        registry.create_module_with_sas("luxor-01", "m50", "me", "", "")

    assert (403, "TooManyModulesOnDevice") == status_of(error)
    names = [each.module_id for each in registry.get_modules("luxor-01")]
    assert (["$edgeAgent", "$edgeHub", "m00"], 52) == (names[:3], len(names))
    registry.delete_module("luxor-01", "m00")
    with pytest.raises(HttpOperationError) as error:
        registry.get_module("luxor-01", "m00")
    assert (404, "ModuleNotFound") == status_of(error)


def test_twins_merge_delete_and_replace(clients: Clients) -> None:
    """A patch merges and null deletes; a replacement leaves nothing else; etag and versions move along."""
    clients.edge_device("luxor-01")
    registry = clients.registry
    first = registry.update_twin(
        "luxor-01", Twin(tags={"site": {"name": "luxor", "floor": 2}, "old": 1}), "*"
    )
    second = registry.update_twin("luxor-01", Twin(tags={"site": {"floor": 3}, "old": None}), first.etag)
    assert {"site": {"name": "luxor", "floor": 3}} == second.tags
    assert first.etag != second.etag
    with pytest.raises(HttpOperationError) as error:
        registry.update_twin("luxor-01", Twin(tags={"site": None}), first.etag)
    assert (412, "PreconditionFailed") == status_of(error)
    desired = TwinProperties(desired={"threshold": 0.5})
    third = registry.replace_twin("luxor-01", Twin(tags={"new": True}, properties=desired), second.etag)
    assert {"new": True} == third.tags
    assert (0.5, 2) == (third.properties.desired["threshold"], third.properties.desired["$version"])
    assert "$lastUpdated" in third.properties.desired["$metadata"]["threshold"]


@pytest.mark.parametrize(
    ("twin", "status"),
    [
        (Twin(tags={f"k{n}": "x" * 3000 for n in range(3)}), 413),
        (Twin(properties=TwinProperties(desired={f"k{n}": "x" * 4000 for n in range(9)})), 413),
        (Twin(tags={"a.b": 1}), 400),
        (Twin(tags={"a": "x" * 4097}), 400),
    ],
)
def test_twins_too_large_or_malformed_are_refused_whole(clients: Clients, twin: Twin, status: int) -> None:
    """What would be over the limits changes nothing of the twin."""
    before = clients.edge_device("luxor-01") and clients.registry.get_twin("luxor-01")
    with pytest.raises(HttpOperationError) as error:
        clients.registry.update_twin("luxor-01", twin, "*")

    assert status == error.value.response.status_code
    after = clients.registry.get_twin("luxor-01")
    assert (before.tags, before.etag) == (after.tags, after.etag)


def test_queries_come_in_pages(clients: Clients) -> None:
    """Every twin comes exactly once, whatever the page, and a count needs none."""
    for number in range(7):
        clients.registry.create_device_with_sas(f"luxor-{number}", "", "", "enabled")
    for page in (1, 3, 7, 100):
        found = rows(clients, "SELECT deviceId FROM devices", page)
        assert [f"luxor-{number}" for number in range(7)] == [each["deviceId"] for each in found]
    assert [{"n": 7}] == rows(clients, "SELECT COUNT() AS n FROM devices")
    with pytest.raises(HttpOperationError) as error:
        rows(clients, "SELECT everything")
    assert (400, "ArgumentInvalid") == status_of(error)


def test_bulk_changes_fail_one_by_one(clients: Clients) -> None:
    """Of many changes in one call each is carried out or refused by itself, twins' etags included."""
    protocol = clients.registry.protocol.bulk_registry
    made = [
        ExportImportDevice(id=f"d{n}", import_mode="create", status="enabled", tags={"n": n})
        for n in range(3)
    ]
    assert protocol.update_registry(made).is_successful
    etag = clients.registry.get_twin("d0").etag
    wishes = [
        ExportImportDevice(id="d0", import_mode="updateTwinIfMatchETag", twin_etag=etag, tags={"n": 10}),
        ExportImportDevice(id="d1", import_mode="updateTwinIfMatchETag", twin_etag="stale", tags={"n": 11}),
        ExportImportDevice(id="nobody", import_mode="updateTwin", tags={"n": 12}),
    ]
    result = protocol.update_registry(wishes)

    assert not result.is_successful
    assert [("d1", "PreconditionFailed"), ("nobody", "DeviceNotFound")] == [
        (each.device_id, each.error_code) for each in result.errors
    ]
    assert [10, 1, 2] == [clients.registry.get_twin(f"d{n}").tags["n"] for n in range(3)]


def test_a_deployment_reaches_the_boards_it_is_for(clients: Clients) -> None:
    """Boards whose tags meet the condition get the modules, and those whose tags come to meet it later."""
    for name, site in (("luxor-01", "luxor"), ("karnak-01", "karnak")):
        clients.edge_device(name)
        clients.registry.update_twin(name, Twin(tags={"site": site}), "*")
    clients.deployments.create_configuration(deployment("r1", condition="tags.site = 'luxor'"))

    def applied() -> int:
        return int(clients.deployments.get_configuration("r1").system_metrics.results["appliedCount"])

    eventually(lambda: applied() == 1)
    twin = clients.registry.get_module_twin("luxor-01", "reader")
    assert "reader" == twin.properties.desired["release"]
    assert 2 == len(clients.registry.get_modules("karnak-01"))
    clients.registry.update_twin("karnak-01", Twin(tags={"site": "luxor"}), "*")
    eventually(lambda: applied() == 2)
    query = "SELECT deviceId FROM devices.modules WHERE moduleId = '$edgeAgent'"
    assert 2 == len(rows(clients, f"{query} AND configurations.[[r1]].status = 'Applied'"))


def test_a_higher_priority_takes_over_and_gives_back(clients: Clients) -> None:
    """The deployment of higher priority is followed until it is gone, then the one below it is again."""
    clients.edge_device("luxor-01")

    def release() -> str:
        return str(clients.registry.get_module_twin("luxor-01", "reader").properties.desired["release"])

    clients.deployments.create_configuration(deployment("r1", priority=10, image="one"))
    eventually(lambda: len(clients.registry.get_modules("luxor-01")) == 3 and release() == "one")
    clients.deployments.create_configuration(deployment("r2", priority=11, image="two"))
    eventually(lambda: release() == "two")
    clients.deployments.delete_configuration("r2")
    eventually(lambda: release() == "one")
    clients.deployments.delete_configuration("r1")
    time.sleep(0.3)
    assert "one" == release()


def test_the_content_of_a_deployment_cannot_be_edited(clients: Clients) -> None:
    """Priority and condition of a deployment can be changed under its etag, its content cannot."""
    manager = clients.deployments
    made = manager.create_configuration(deployment("r1"))
    made.priority = 3
    changed = manager.update_configuration(made, made.etag)
    assert 3 == changed.priority
    with pytest.raises(HttpOperationError) as error:
        manager.update_configuration(made, made.etag)
    assert (412, "PreconditionFailed") == status_of(error)
    changed.content = deployment("r1", image="another").content
    with pytest.raises(HttpOperationError) as error:
        manager.update_configuration(changed, changed.etag)
    assert (400, "ArgumentInvalid") == status_of(error)


def test_content_applied_to_one_board(clients: Clients) -> None:
    """One edge device can be given modules without a deployment; a device that is none cannot."""
    clients.edge_device("luxor-01")
    clients.registry.create_device_with_sas("plain", "", "", "enabled")
    content = ConfigurationContent(modules_content=deployment("x", image="mine").content.modules_content)
    clients.deployments.apply_configuration_on_edge_device("luxor-01", content)

    desired = clients.registry.get_module_twin("luxor-01", "$edgeAgent").properties.desired
    assert "mine" == desired["modules"]["reader"]["settings"]["image"]
    with pytest.raises(HttpOperationError) as error:
        clients.deployments.apply_configuration_on_edge_device("plain", content)
    assert (400, "ArgumentInvalid") == status_of(error)


def test_conditions_can_be_tried_before_they_are_used(clients: Clients) -> None:
    """What is wrong with a condition or a metric is told without making anything."""
    wish = ConfigurationQueriesTestInput(
        target_condition="tags.", custom_metric_queries={"good": "SELECT * FROM devices", "bad": "SELECT"}
    )
    answer = clients.deployments.test_configuration_queries(wish)

    assert "not understood" in answer.target_condition_error
    assert ["bad"] == list(answer.custom_metric_query_errors)


@pytest.mark.parametrize("name", ["release.7", "Release-7", "release 7", "r" * 129])
def test_a_name_that_azure_takes_for_no_deployment(clients: Clients, name: str) -> None:
    """Names of deployments have no dot, no capital and no space, as Azure's portal and SDKs have it."""
    with pytest.raises(HttpOperationError) as error:
        clients.deployments.create_configuration(deployment(name))

    assert (400, "ArgumentInvalid") == status_of(error)


def test_the_hundred_and_first_deployment_is_refused(clients: Clients) -> None:
    """A hub has at most a hundred deployments, and says no more than 400 to the next."""
    for number in range(100):
        clients.hub.hub.put_configuration(f"r{number}", deployment(f"r{number}").serialize(), None)
    with pytest.raises(HttpOperationError) as error:
        clients.deployments.create_configuration(deployment("r100"))

    assert 400 == error.value.response.status_code


def test_calls_beyond_the_rate_are_told_when_to_come_back(tmp_path: Path) -> None:
    """The twenty-first query of a minute is answered 429 with Retry-After, and served after that time."""
    with hub_with_clients(settings(tmp_path / "hub", tier="S1", units=1)) as clients:
        for _ in range(20):
            rows(clients, "SELECT COUNT() AS n FROM devices")
        clients.registry.protocol.config.retry_policy.retries = 0  # its own patience hides the answer
        with pytest.raises(HttpOperationError) as error:
            rows(clients, "SELECT COUNT() AS n FROM devices")
        assert (429, "ThrottlingException") == status_of(error)
        wait = error.value.response.headers["Retry-After"]
        assert 1 <= int(wait) <= 3
        clients.hub.clock.ahead += int(wait)
        assert [{"n": 0}] == rows(clients, "SELECT COUNT() AS n FROM devices")


def test_wrong_keys_and_expired_tokens_are_refused(clients: Clients) -> None:
    """Another key, and a clock that has gone past the token's life, are both 401."""
    wrong = clients.hub.connection_string.rpartition("SharedAccessKey=")[0] + "SharedAccessKey=a2V5"
    stranger = IoTHubRegistryManager.from_connection_string(wrong)
    with pytest.raises(HttpOperationError) as error:
        stranger.get_devices()
    assert (401, "IotHubUnauthorizedAccess") == status_of(error)
    stranger.protocol.close()
    clients.hub.clock.ahead = 3 * 3600
    with pytest.raises(HttpOperationError) as error:
        clients.registry.get_devices()
    assert (401, "IotHubUnauthorizedAccess") == status_of(error)


class Credential:
    """A token as Entra ID would give it."""

    def __init__(self, token: str) -> None:
        self._token = token
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        self.scopes += scopes
        return AccessToken(self._token, int(time.time()) + 3600)


def test_a_bearer_token_signs_in(tmp_path: Path) -> None:
    """Who has the token that stands for Entra ID's gets in, with the scope of IoT Hub; others do not."""
    with hub_with_clients(settings(tmp_path / "hub", bearer="entra")) as clients:
        for token, gets_in in (("entra", True), ("forged", False)):
            credential = Credential(token)
            manager = IoTHubRegistryManager.from_token_credential(clients.hub.service_host, credential)
            if gets_in:
                assert [] == manager.get_devices()
            else:
                with pytest.raises(HttpOperationError):
                    manager.get_devices()
            assert {"https://iothubs.azure.net/.default"} == set(credential.scopes)
            manager.protocol.close()


def test_faults_on_demand(clients: Clients) -> None:
    """A told number of calls fails in the told way, then everything is as before."""
    clients.edge_device("luxor-01")
    etag = clients.registry.get_twin("luxor-01").etag
    faults = clients.hub.service.faults
    faults.conflicts = 1
    with pytest.raises(HttpOperationError) as error:
        clients.registry.update_twin("luxor-01", Twin(tags={"a": 1}), etag)
    assert (412, "PreconditionFailed") == status_of(error)
    clients.registry.update_twin("luxor-01", Twin(tags={"a": 1}), etag)
    faults.slow = 0.3
    began = time.monotonic()
    clients.registry.get_twin("luxor-01")
    assert time.monotonic() - began >= 0.3
    faults.slow = 0
    faults.throttle = faults.drop = 1  # the SDK tries these again by itself
    assert {"a": 1} == clients.registry.get_twin("luxor-01").tags
    assert (0, 0) == (faults.throttle, faults.drop)


def test_what_was_answered_survives_a_restart(tmp_path: Path) -> None:
    """Devices, keys, twins and deployments are there again after the hub was ended and started."""
    given = settings(tmp_path / "hub")
    with hub_with_clients(given) as clients:
        key = clients.edge_device("luxor-01").authentication.symmetric_key.primary_key
        twin = clients.registry.update_twin("luxor-01", Twin(tags={"site": "luxor"}), "*")
        clients.deployments.create_configuration(deployment("r1", image="one"))
        eventually(lambda: len(clients.registry.get_modules("luxor-01")) == 3)
        clients.registry.create_device_with_sas("gone", "", "", "enabled")
        clients.registry.delete_device("gone")
    with hub_with_clients(given) as clients:
        again = clients.registry.get_device("luxor-01")
        assert key == again.authentication.symmetric_key.primary_key
        assert (twin.tags, twin.etag) == (clients.registry.get_twin("luxor-01").tags, twin.etag)
        assert ["r1"] == [each.id for each in clients.deployments.get_configurations()]
        desired = clients.registry.get_module_twin("luxor-01", "reader").properties.desired
        assert "one" == desired["release"]
        assert ["luxor-01"] == [each.device_id for each in clients.registry.get_devices()]

"""Which deployments are made, used again and deleted, and when they are said to have been issued."""

import time
from types import SimpleNamespace
from typing import Any

from fleetctl.transports.iothub_consignment import Consignment
from fleetctl.transports.iothub_content import MODULE
from fleetctl.transports.iothub_deploy import Deployer, Wanted
from fleetctl.transports.iothub_quota import DEPLOYMENTS, Hub


class HubOnPaper:
    """Deployments that were written, and the tags that name them."""

    def __init__(self) -> None:
        self.deployed: dict[str, Any] = {}
        self.followed: list[str] = []
        self.overwritten: dict[str, str] = {}
        self.tags: dict[str, Any] = {}

    def deployments(self) -> list[Any]:
        return list(self.deployed.values())

    def create_deployment(self, configuration: Any) -> None:
        self.deployed[configuration.id] = configuration

    def delete_deployment(self, name: str) -> None:
        del self.deployed[name]

    def device_twin(self, name: str) -> tuple[str, dict[str, Any]]:
        return "2", {"fleetctl": self.tags[name]}

    def rows(self, query: str) -> list[dict[str, Any]]:
        if "FROM devices WHERE deviceId" in query:
            return [{"deviceId": name, "etag": "1"} for name in self.tags]
        return [{"name": name, "n": 1} for name in self.followed] if ".now AS" in query else []

    def age(self, name: str, minutes: float) -> None:
        desired = self.deployed[name].content.modules_content[MODULE]["properties.desired"]
        desired["issued"] -= int(minutes * 60_000)

    def issued(self, name: str) -> int:
        found: int = self.deployed[name].content.modules_content[MODULE]["properties.desired"]["issued"]
        return found


def wish(number: int, **words: Any) -> Wanted:
    modules = {MODULE: {"properties.desired": {"consignment": f"c{number}"}}}
    return Wanted(Consignment({}, {"config/serve.json": f"{number}"}, {}), modules, **words)


def test_a_deployment_is_used_again_unless_a_board_is_done_with_it() -> None:
    """A board that answered it and runs something else would say nothing more."""
    hub = HubOnPaper()
    deployer = Deployer(hub, Hub())  # type: ignore[arg-type]
    (first,) = deployer.deploy([wish(1)], 1).names
    (again,) = deployer.deploy([wish(1)], 1).names
    (anew,) = deployer.deploy([wish(1, spent=frozenset([first]))], 1).names

    assert first == again != anew
    assert {first: "c1", anew: "c1"} == deployer.deploy([wish(1)], 1).brings


def test_what_is_issued_is_later_than_what_boards_hold() -> None:
    """Whatever clock sent them back; a board that claims more than a day is not believed."""
    hub, now = HubOnPaper(), time.time_ns() // 1_000_000
    deployer, hour = Deployer(hub, Hub()), 3_600_000  # type: ignore[arg-type]
    (first,) = deployer.deploy([wish(1, floor=now + hour)], 1).names
    (second,) = deployer.deploy([wish(2, floor=2**52)], 1).names

    assert now + hour < hub.issued(first) < hub.issued(second) < now + 2 * hour


def test_room_is_not_made_of_what_is_about_to_be_used() -> None:
    """The tags of a controller that was killed are not there yet, and its deployment is to be used again."""
    hub = HubOnPaper()
    deployer = Deployer(hub, Hub("F1"))  # type: ignore[arg-type]
    (first,) = deployer.deploy([wish(1)], 1).names
    (unused,) = deployer.deploy([wish(2)], 1).names
    theirs = [f"theirs{number}" for number in range(DEPLOYMENTS["F1"] - 2)]
    hub.deployed |= {n: SimpleNamespace(id=n, labels={}, priority=1, content=None) for n in theirs}
    names = deployer.deploy([wish(2), wish(3)], 2).names

    assert unused == names[0]
    assert {*theirs, *names} == set(hub.deployed)
    assert first not in hub.deployed


def test_room_is_not_made_of_what_was_tagged_a_moment_ago() -> None:
    """The wave before has its tags, and queries do not know of them yet."""
    hub = HubOnPaper()
    deployer = Deployer(hub, Hub("F1"))  # type: ignore[arg-type]
    (first,) = deployer.deploy([wish(1)], 1).names
    (unused,) = deployer.deploy([wish(2)], 1).names
    hub.tags, hub.overwritten = {"luxor-01": {"now": first}}, {"luxor-01": "1"}
    theirs = [f"theirs{number}" for number in range(DEPLOYMENTS["F1"] - 2)]
    hub.deployed |= {n: SimpleNamespace(id=n, labels={}, priority=1, content=None) for n in theirs}
    names = deployer.deploy([wish(3)], 1).names

    assert {*theirs, first, *names} == set(hub.deployed)
    assert unused not in hub.deployed


def test_what_a_query_may_not_know_yet_is_the_last_that_makes_room() -> None:
    """A controller that died has tagged boards, and half an hour later a query may not have it."""
    hub = HubOnPaper()
    deployer = Deployer(hub, Hub("F1"))  # type: ignore[arg-type]
    (old,) = deployer.deploy([wish(1)], 1).names
    (young,) = deployer.deploy([wish(2)], 1).names
    hub.age(old, 60)
    hub.age(young, 30)
    theirs = [f"theirs{number}" for number in range(DEPLOYMENTS["F1"] - 2)]
    hub.deployed |= {n: SimpleNamespace(id=n, labels={}, priority=1, content=None) for n in theirs}
    (made,) = deployer.deploy([wish(3)], 1).names

    assert {*theirs, young, made} == set(hub.deployed)


def test_what_a_query_may_not_know_yet_is_not_collected() -> None:
    """Microsoft has queries lag by up to thirty minutes: what is younger is not taken for unused."""
    hub = HubOnPaper()
    deployer = Deployer(hub, Hub())  # type: ignore[arg-type]
    old, young = deployer.deploy([wish(1), wish(2)], 2).names
    hub.age(old, 60)
    hub.age(young, 30)
    Deployer(hub, Hub()).collect()  # type: ignore[arg-type]

    assert {young} == set(hub.deployed)


def test_what_a_wave_was_given_is_not_collected_behind_it() -> None:
    """It may be hours old, from a wave whose boards went back; the tags of this one are in no query yet."""
    hub = HubOnPaper()
    deployer = Deployer(hub, Hub())  # type: ignore[arg-type]
    (first,) = deployer.deploy([wish(1)], 1).names
    hub.age(first, 600)
    later = Deployer(hub, Hub())  # type: ignore[arg-type]
    assert [first] == later.deploy([wish(1)], 1).names
    later.collect()

    assert [first] == list(hub.deployed)

"""What fleetctl asks a hub for is what it means, whatever boards are called or others write into tags."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetctl.lab.iothub.language import parse_condition, parse_query
from fleetctl.manifest.words import NAME
from fleetctl.transports.iothub_client import QUERY_LIMIT
from fleetctl.transports.iothub_deploy import Deployer
from fleetctl.transports.iothub_fleet import Standing, answers, literal, standings
from fleetctl.transports.iothub_quota import Hub

relaxed = settings(deadline=None, max_examples=25)
board_names = st.from_regex(NAME.pattern, fullmatch=True)
deployments = st.builds(
    "fleetctl-{}-{}".format, st.from_regex(r"[0-9a-f]{24}", fullmatch=True), st.integers(1000, 99999)
)
anything = st.one_of(st.text(max_size=60), deployments, st.integers(), st.none(), st.just("x' OR 'a' = 'a"))


class TwinsOnly:
    """A hub of devices and modules that answers queries, and remembers them and whose priority was set."""

    def __init__(self, twins: list[dict[str, Any]]) -> None:
        self.twins, self.asked, self.lowered = twins, [], []
        self.asked: list[str]
        self.lowered: list[str]
        self.overwritten: dict[str, str] = {}

    def rows(self, query: str) -> Iterator[dict[str, Any]]:
        self.asked.append(query)
        kind = "moduleId" if "devices.modules" in query else "capabilities"
        return iter(list(parse_query(query).rows(each for each in self.twins if kind in each)))

    def set_priority(self, name: str, priority: int) -> None:
        assert priority == 0
        self.lowered.append(name)


def twin(name: str, now: Any = None) -> dict[str, Any]:
    return {
        "deviceId": name,
        "etag": "e",
        "capabilities": {"iotEdge": True},
        "tags": {"fleetctl": {"now": now, "before": "what it proved"}},
    }


@relaxed
@given(st.lists(board_names, min_size=1, max_size=30, unique=True), board_names)
def test_boards_are_found_by_any_name_a_manifest_may_give_them(names: list[str], other: str) -> None:
    """Each is found, and nobody else, in queries that a hub takes."""
    hub: Any = TwinsOnly([twin(name) for name in names])
    found = standings(hub, [*names, *(() if other in names else (other,))])

    assert names == [name for name, standing in found.items() if standing.is_registered]
    assert all(len(query) <= QUERY_LIMIT for query in hub.asked)


words = st.one_of(anything, st.dictionaries(st.sampled_from(["p0", "p1"]), st.text(max_size=9), max_size=2))
sections = st.one_of(
    words,
    st.dictionaries(
        st.sampled_from(["consignment", "answered", "state", "reply", "observation", "image"]), words
    ),
)


@relaxed
@given(sections, sections, st.sampled_from(["Connected", "Disconnected"]))
def test_who_waits_for_answers_is_told_them_alone(said: Any, agent: Any, connection: str) -> None:
    """Whatever a module reports: what comes of an order is in it, and what it observes, of 8 KiB, is not."""
    hub: Any = TwinsOnly(
        [
            module("$edgeAgent", {"lastDesiredStatus": agent, "modules": {"fleetctl": agent}}, connection),
            module("fleetctl", {"fleetctl": said}, connection),
        ]
    )
    (whole,), (waited,) = standings(hub, ["a"]).values(), answers(hub, ["a"]).values()

    assert whole.answer == waited.answer
    assert (whole.agent, whole.is_online) == (waited.agent, waited.is_online)
    assert [whole.said.get(key) for key in ("state", "reply")] == [
        waited.said.get(key) for key in ("state", "reply")
    ]
    assert {"observation", "image"}.isdisjoint(waited.said)


def module(name: str, reported: dict[str, Any], connection: str) -> dict[str, Any]:
    return {
        "deviceId": "a",
        "moduleId": name,
        "connectionState": connection,
        "properties": {"reported": reported},
    }


@relaxed
@given(st.lists(anything, min_size=1, max_size=8))
def test_tags_that_others_wrote_are_never_part_of_a_query(tags: list[Any]) -> None:
    """Only deployments that we could have named are asked about, and lowered where all followers go back."""
    twins = [twin(f"b{n}", now) for n, now in enumerate(tags)]
    hub: Any = TwinsOnly(twins)
    boards = [Standing(each["deviceId"], tags=each["tags"]["fleetctl"]) for each in twins]
    Deployer(hub, Hub()).lower(boards)
    ours = {
        now for now in tags if isinstance(now, str) and re.fullmatch(r"fleetctl-[0-9a-f]{24}-\d{1,9}", now)
    }

    assert ours == set(hub.lowered)
    assert len(ours) == len(hub.asked)
    assert not [query for query in hub.asked if " OR " in query]


@relaxed
@given(deployments, deployments)
def test_a_deployment_is_for_boards_whose_tag_names_it(name: str, other: str) -> None:
    """Its target condition chooses them, and no board that follows another."""
    condition = parse_condition(f"tags.fleetctl.now = {literal(name)}")

    assert condition(twin("a", name)) is True
    assert (other == name) is (condition(twin("a", other)) is True)


@relaxed
@given(st.text(max_size=20).filter(lambda text: not re.fullmatch(r"[A-Za-z0-9._-]+", text)))
def test_other_names_are_refused(name: str) -> None:
    """What would need an escape is not put into a query at all."""
    with pytest.raises(ValueError, match="cannot be asked for"):
        literal(name)

"""A wave over a hub when something is wrong: one plain sentence each, and nothing half-deployed."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.iot.hub.models import Twin
from contract_worlds import DEADLINE, Releases, observed
from iothub_hub import Clients, deployment, eventually
from iothub_world import IotHubWorld, ours, tags
from msgspec.structs import replace

from fleetctl.errors import OverQuota
from fleetctl.lab.iothub.agent import ImageMissing
from fleetctl.lab.iothub.runners import ProcessRunner
from fleetctl.manifest.schema import Board
from fleetctl.transports.base import ReplyStatus
from fleetctl.transports.iothub import Pace
from fleetctl.transports.iothub_client import HubClient
from fleetctl.transports.iothub_fleet import Standing, standings
from fleetctl.transports.iothub_quota import Hub
from fleetctl.transports.iothub_signin import SignIn

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("iothub"),
    pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLSv1_2 is deprecated"),  # the SDK's own choice
    pytest.mark.filterwarnings("ignore:.*SSLSocket:pytest.PytestUnraisableExceptionWarning"),
]


def test_a_bad_day_of_the_hub_is_sat_out(world: IotHubWorld, releases: Releases) -> None:
    """Dropped, failing and throttled calls are tried again, and the release ends as any other."""
    (board,) = world.boards(1)
    faults = world.clients.hub.service.faults
    faults.drop = faults.drop_after = faults.errors = faults.throttle = 1
    (reply,) = world.transport.release([releases.order(board)])

    assert "confirmed" == reply.data.get("state"), reply.error
    assert (0, 0, 0, 0) == (faults.drop, faults.drop_after, faults.errors, faults.throttle)


def test_tags_that_others_write_survive(world: IotHubWorld, releases: Releases) -> None:
    """Ours are laid beside other people's tags, also where those change in the midst of it."""
    (board,) = world.boards(1)
    known = world.iothub.hub.tag
    once = iter([True])

    def slow(wishes: Any) -> list[str]:
        if next(once, False):
            world.clients.registry.update_twin(board.name, Twin(tags={"site": "luxor"}), "*")
        return known(wishes)

    world.iothub.hub.tag = slow  # type: ignore[method-assign]
    (reply,) = world.transport.release([releases.order(board)])

    assert "confirmed" == reply.data.get("state"), reply.error
    found = world.clients.registry.get_twin(board.name).tags
    assert ("luxor", True) == (found["site"], "now" in found["fleetctl"])


def test_tags_are_written_though_queries_lag(world: IotHubWorld, releases: Releases) -> None:
    """A twin that others wrote is read again itself: a query may know its old version for minutes."""
    (board,) = world.boards(1)
    rows, known, once = world.iothub.hub.rows, world.iothub.hub.tag, iter([True])
    old: dict[str, list[Any]] = {}

    def lagging(query: str) -> Iterator[Any]:
        if "FROM devices WHERE" not in query:
            return rows(query)
        return iter(old.setdefault(query, list(rows(query))))

    def slow(wishes: Any) -> list[str]:
        if next(once, False):
            world.clients.registry.update_twin(board.name, Twin(tags={"site": "luxor"}), "*")
        return known(wishes)

    world.iothub.hub.rows, world.iothub.hub.tag = lagging, slow  # type: ignore[method-assign]
    (reply,) = world.transport.release([releases.order(board)])

    assert "confirmed" == reply.data.get("state"), reply.error
    assert "luxor" == world.clients.registry.get_twin(board.name).tags["site"]


def test_nothing_is_written_that_cannot_fit(world: IotHubWorld, releases: Releases) -> None:
    """With no room for another deployment nothing is: no deployment, no tag, and exit 32."""
    (board,) = world.boards(1)
    for number in range(10):
        world.clients.deployments.create_configuration(
            deployment(f"theirs-{number}", condition="deviceId = ''")
        )
    world.iothub.size = Hub("F1")
    with pytest.raises(OverQuota, match="needs 1 deployments, and the hub \\(F1\\) has room for 0"):
        list(world.transport.release([releases.order(board)]))

    assert 10 == len(ours(world))
    assert tags(world, board.name) is None


def test_an_image_that_is_missing_is_said_at_once(world: IotHubWorld, releases: Releases) -> None:
    """A board whose agent cannot fetch the image fails before its time is up, and keeps what it runs."""
    (board,) = world.boards(1)
    good = releases.order(board)
    list(world.transport.release([good]))
    ensure = world.iothub.images.ensure

    class Forgetful:
        def ensure(self, *given: Any) -> str:
            image = ensure(*given)
            shutil.rmtree(image.partition("@")[0])
            return image

    world.iothub.images = Forgetful()
    (reply,) = world.transport.release([releases.order(board, is_good=False)])

    assert ReplyStatus.FAILED is reply.status
    assert "manifest unknown" in reply.error
    assert "registry" in reply.hint
    assert good.release.digest == eventually(lambda: observed(world, board)["good"])


class SlowLine(ProcessRunner):
    """A board that needs more looks of its agent than one to fetch an image."""

    def __init__(self, home: Path, root: Path, looks: int) -> None:
        super().__init__(home, root)
        self._looks = looks

    def fetch(self, image: str) -> None:
        self._looks -= 1
        if self._looks >= 0:
            raise ImageMissing(f"{image}: The operation was canceled.")
        super().fetch(image)


def on_a_slow_line(world: IotHubWorld, looks: int) -> Board:
    (board,) = world.boards(1)
    world.cut_power(board)
    home = world.folder / "boards" / board.name
    world.start_agent(board.name, SlowLine(home, Path(board.root), looks))
    return board


def test_an_image_that_takes_its_time_is_waited_for(world: IotHubWorld, releases: Releases) -> None:
    """Microsoft's agent calls a deployment failed after a minute of fetching, and fetches on."""
    board = on_a_slow_line(world, 8)
    (reply,) = world.transport.release([releases.order(board)])

    assert "confirmed" == reply.data.get("state"), reply.error


def test_an_image_that_never_comes_is_told_in_the_end(world: IotHubWorld, releases: Releases) -> None:
    """A board whose time is up is told apart from one whose module is silent, in its agent's words."""
    board = on_a_slow_line(world, 1000)
    world.iothub.pace = Pace(poll=0.1, fetch=2.0)
    (reply,) = world.transport.release([replace(releases.order(board), deadline=1.0)])

    assert ReplyStatus.TIMED_OUT is reply.status
    assert "its edge agent says: Could not pull image" in reply.error
    assert "The operation was canceled." in reply.error


IMAGE = "registry.example/team/fleet@sha256:5d1f"


@pytest.mark.parametrize(
    ("code", "said", "is_final"),
    [
        (500, f"Could not pull image {IMAGE}: manifest unknown", True),
        (500, f"Could not pull image {IMAGE}: pull access denied", True),
        (500, f"Could not pull image {IMAGE}: The operation was canceled.", False),
        (500, "Could not pull image their/own@sha256:0: manifest unknown", False),
        (500, "Could not stop module fleetctl: No such container: fleetctl", False),
        (400, "modules.fleetctl: settings are missing", True),
        (412, "", True),
        (406, "Agent is not running", False),
        (417, "", False),
        (200, "", False),
        ([], "", False),
    ],
)
def test_what_an_agent_says_in_passing_ends_nothing(code: Any, said: str, *, is_final: bool) -> None:
    """It reports itself away while a deployment updates it, and failures that its next try mends."""
    standing = Standing("luxor-01", agent={"outcome": {"code": code, "description": said}})

    assert is_final is bool(standing.complaint(IMAGE))


class NullRunner:
    """A module that starts and says nothing."""

    def fetch(self, image: str) -> None: ...

    def start(self, *_: Any) -> None: ...

    def exit_code(self) -> None: ...

    def stop(self) -> None: ...


def test_a_module_that_never_reports_is_given_up(world: IotHubWorld, releases: Releases) -> None:
    """Applied is not proved: a module that says nothing until its time is up has failed."""
    (board,) = world.boards(1)
    world.clients.edge_device("mute")
    world.start_agent("mute", NullRunner())
    mute = replace(board, name="mute")
    world.iothub.pace = Pace(poll=0.1, fetch=1.0)
    order = replace(releases.order(mute), deadline=1.0)
    (reply,) = world.transport.release([order])

    assert (ReplyStatus.TIMED_OUT, "its module never reported") == (reply.status, reply.error)
    assert not tags(world, "mute")


def test_a_hub_that_is_slow_does_not_stretch_deadlines(world: IotHubWorld, releases: Releases) -> None:
    """Time that calls take counts: a board is given up when its time is up, not after so many polls."""
    (board,) = world.boards(1)
    world.clients.edge_device("mute")
    world.start_agent("mute", NullRunner())
    world.iothub.pace = Pace(poll=0.01, fetch=0.5)
    order = replace(releases.order(replace(board, name="mute")), deadline=0.5)
    replies = world.transport.release([order])
    world.clients.hub.service.faults.slow = 0.5
    begun = time.monotonic()
    (reply,) = replies

    assert ReplyStatus.TIMED_OUT is reply.status
    assert time.monotonic() - begun < 30.0


def test_a_board_that_is_away_joins_when_it_comes_back(world: IotHubWorld, releases: Releases) -> None:
    """A board that is offline is said to be so, and has the release soon after it is back."""
    (board,) = world.boards(1)
    world.cut_power(board)
    order = releases.order(board)
    (reply,) = world.transport.release([order])
    assert ReplyStatus.UNREACHABLE is reply.status
    home = world.folder / "boards" / board.name
    world.start_agent(board.name, ProcessRunner(home, Path(board.root)))

    def good() -> bool:
        (seen,) = world.transport.observe([board], deadline=DEADLINE)
        return seen.ok and seen.data.get("good") == order.release.digest

    eventually(good)


def test_a_hub_whose_queries_lag_loses_no_deployment(world: IotHubWorld, releases: Releases) -> None:
    """Tags that were written a moment ago are not in a query yet: what they name is not taken for unused."""
    (board,) = world.boards(1)
    world.cut_power(board)
    rows = world.iothub.hub.rows

    def lagging(query: str) -> Iterator[Any]:
        return iter(()) if "GROUP BY" in query else rows(query)

    world.iothub.hub.rows = lagging  # type: ignore[method-assign]
    list(world.transport.release([releases.order(board)]))

    assert tags(world, board.name)["now"] in ours(world)


def test_a_hub_whose_queries_lag_sends_boards_back(world: IotHubWorld, releases: Releases) -> None:
    """A twin that we wrote since a query was brought up to date is read itself, or its tag would be taken for
    set back."""
    (board,) = world.boards(1)
    known: dict[str, list[Any]] = {}
    rows = world.iothub.hub.rows

    def lagging(query: str) -> Iterator[Any]:
        if "FROM devices WHERE deviceId" not in query:
            return rows(query)
        return iter(known.setdefault(query, list(rows(query))))

    world.iothub.hub.rows = lagging  # type: ignore[method-assign]
    (reply,) = world.transport.release([world.bad_order(releases, board)])

    assert "reverted" == reply.data["state"]
    assert not tags(world, board.name)


def test_a_board_that_queries_do_not_know_of_yet_has_proved_itself(
    world: IotHubWorld, releases: Releases
) -> None:
    """Before it is given up its module's own twin is read: queries may be half an hour behind."""
    (board,) = world.boards(1)
    known: dict[str, list[Any]] = {}
    rows = world.iothub.hub.rows

    def lagging(query: str) -> Iterator[Any]:
        return iter(known.setdefault(query, list(rows(query)))) if "devices.modules" in query else rows(query)

    world.iothub.hub.rows = lagging  # type: ignore[method-assign]
    world.iothub.pace = Pace(poll=0.5, fetch=20.0)
    (reply,) = world.transport.release([replace(releases.order(board), deadline=10.0)])

    assert "confirmed" == reply.data.get("state"), reply.error


@pytest.mark.parametrize(
    "said",
    [{"lastDesiredVersion": "x"}, {"lastDesiredStatus": {"code": []}}, {"modules": {"fleetctl": 7}}, {}],
)
def test_one_board_that_says_odd_things_hides_no_other(clients: Clients, said: dict[str, Any]) -> None:
    """The SDK gives up all rows for one whose `version` is no number, or whose `tags` are no object."""
    for name in ("luxor-01", "luxor-02"):
        clients.edge_device(name)
    agent = clients.module("luxor-01", "$edgeAgent")
    agent.connect()
    agent.patch_twin_reported_properties(said)
    clients.registry.update_twin("luxor-01", Twin(tags={"fleetctl": "yes"}))
    client = HubClient(SignIn(clients.hub.service_host, clients.hub.connection_string))
    clients.keep_open(client)
    known = standings(client, ["luxor-01", "luxor-02"])

    assert [True, True] == [each.is_registered for each in known.values()]
    assert ({}, "") == (known["luxor-01"].tags, known["luxor-01"].complaint(""))


def test_a_wave_that_is_over_does_not_fail_for_what_is_left(world: IotHubWorld, releases: Releases) -> None:
    """A hub that is too busy to have deployments cleared away takes nothing from boards that are proved."""
    (board,) = world.boards(1)
    said: list[str] = []
    world.iothub.say = said.append
    replies = world.transport.release([releases.order(board)])
    assert "confirmed" == next(replies).data["state"]
    world.clients.hub.service.faults.throttle = 8

    assert [] == list(replies)
    assert "still throttled" in said[-1]

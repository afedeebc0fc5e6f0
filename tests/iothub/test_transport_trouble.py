"""A rollout over a hub when something is wrong: one plain sentence each, and nothing half-deployed."""

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.iot.hub.models import Configuration, ConfigurationContent, Twin
from contract_worlds import DEADLINE, Releases, observed
from iothub_hub import Clients, deployment, eventually, hub_with_clients, settings
from iothub_world import IotHubWorld, iothub_world
from msgspec.structs import replace

from fleetctl import smoke
from fleetctl.errors import OverQuota, Refused, TransportError
from fleetctl.lab.iothub.runners import ProcessRunner
from fleetctl.smoke import Verdict
from fleetctl.store import BlobStore
from fleetctl.transports.base import Reply, ReplyStatus
from fleetctl.transports.iothub import Pace
from fleetctl.transports.iothub_client import HubClient
from fleetctl.transports.iothub_content import Surroundings
from fleetctl.transports.iothub_fleet import standings
from fleetctl.transports.iothub_quota import Hub
from fleetctl.transports.iothub_signin import SignIn

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("iothub"),
    pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLSv1_2 is deprecated"),  # the SDK's own choice
    pytest.mark.filterwarnings("ignore:.*SSLSocket:pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[IotHubWorld]:
    yield from iothub_world(tmp_path)


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    return Releases(BlobStore(tmp_path_factory.mktemp("store")))


def tags(world: IotHubWorld, board: str) -> Any:
    return (world.clients.registry.get_twin(board).tags or {}).get("fleetctl")


def ours(world: IotHubWorld) -> dict[str, int]:
    return {each.id: each.priority for each in world.clients.deployments.get_configurations(100)}


class Asleep:
    """What a client slept, instead of sleeping."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)


def test_a_wrong_key_is_said(clients: Clients) -> None:
    """A key that is not the hub's is exit 31, with where to look, and the key is not repeated."""
    text = clients.hub.connection_string.rpartition("SharedAccessKey=")[0] + "SharedAccessKey=a2V5"
    client = HubClient(SignIn(clients.hub.service_host, text))
    with pytest.raises(Refused, match="takes neither our key nor our token") as error:
        list(client.rows("SELECT * FROM devices"))

    assert 31 == error.value.exit_code
    client.close()


def test_clocks_that_differ_are_told_from_wrong_keys(clients: Clients) -> None:
    """Tokens that expired on the hub's clock alone are a matter of clocks, and by how much."""
    clients.hub.clock.ahead = 2 * 3600
    client = HubClient(SignIn(clients.hub.service_host, clients.hub.connection_string))
    with pytest.raises(Refused, match="are 120 minutes apart"):
        list(client.rows("SELECT * FROM devices"))
    client.close()


class LoggedOut:
    """A credential of somebody who has not signed in."""

    def get_token(self, *_: str, **__: Any) -> Any:
        raise ClientAuthenticationError("DefaultAzureCredential failed to retrieve a token\nAttempted: all")


def test_who_is_not_signed_in_is_told_how(clients: Clients) -> None:
    """No token from Entra ID is exit 31 with what to do, not the SDK's traceback."""
    client = HubClient(SignIn(clients.hub.service_host), credential=LoggedOut())
    with pytest.raises(Refused, match="gives no token for hub") as error:
        list(client.rows("SELECT * FROM devices"))

    assert "az login" in error.value.hint
    assert error.value.message.isprintable()
    client.close()


def test_a_key_that_was_copied_by_half_is_told(clients: Clients) -> None:
    """A key that is not in base64 is said to be so, and not repeated."""
    text = f"HostName={clients.hub.service_host};SharedAccessKeyName=o;SharedAccessKey=poison!"
    client = HubClient(SignIn(clients.hub.service_host, text))
    with pytest.raises(Refused, match="not in base64") as error:
        list(client.rows("SELECT * FROM devices"))

    assert "poison" not in f"{error.value.message} {error.value.hint}"
    client.close()


@pytest.mark.parametrize(
    ("host", "says"), [("no-such-hub.invalid", "there is no hub"), ("127.0.0.1:9", "cannot be reached")]
)
def test_a_hub_that_is_not_there_is_said(host: str, says: str) -> None:
    """A name that nobody has, and a port on which nobody listens, are exit 30."""
    text = f"HostName={host};SharedAccessKeyName=o;SharedAccessKey=a2V5"
    client = HubClient(SignIn(host, text), sleep=Asleep())
    with pytest.raises(TransportError, match=says) as error:
        list(client.rows("SELECT * FROM devices"))

    assert 30 == error.value.exit_code
    client.close()


def test_a_hub_with_a_strange_certificate_is_refused(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hub that the system does not trust is not talked to, and the message says what a lab needs."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    client = HubClient(SignIn(clients.hub.service_host, clients.hub.connection_string), sleep=Asleep())
    with pytest.raises(Refused, match="certificate") as error:
        list(client.rows("SELECT * FROM devices"))

    assert "REQUESTS_CA_BUNDLE" in error.value.hint
    client.close()


def test_the_hub_says_how_long_to_wait(tmp_path: Path) -> None:
    """Throttled, the client waits as long as `Retry-After` says, and gives up with exit 32, not forever."""
    with hub_with_clients(settings(tmp_path / "hub", tier="S1", units=1, keeps=False)) as clients:
        asleep = Asleep()
        client = HubClient(SignIn(clients.hub.service_host, clients.hub.connection_string), sleep=asleep)
        with pytest.raises(OverQuota) as error:
            for _ in range(500):  # the slower this machine, the more of them the hub lets through
                list(client.rows("SELECT COUNT() AS n FROM devices"))
        assert 32 == error.value.exit_code
        assert asleep.waits
        assert all(1 <= wait <= 3 for wait in asleep.waits)
        clients.hub.service.faults.throttle = 2
        clients.hub.clock.ahead += 60
        asleep.waits.clear()
        assert [{"n": 0}] == list(client.rows("SELECT COUNT() AS n FROM devices"))
        assert [1.0, 1.0] == asleep.waits
        client.close()


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
    assert ({}, "") == (known["luxor-01"].tags, known["luxor-01"].complaint())


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


def test_a_board_that_goes_back_keeps_its_module(world: IotHubWorld, releases: Releases) -> None:
    """Where a deployment of others lies below, it is not followed instead of ours: it has no such module."""
    modules = {"$edgeAgent": {"properties.desired": {"schemaVersion": "1.1", "modules": {}}}}
    base = Configuration(id="base", priority=10, content=ConfigurationContent(modules_content=modules))
    base.target_condition = "*"
    world.clients.deployments.create_configuration(base)
    world.iothub.around = Surroundings(is_layered=True)
    (board,) = world.boards(1)
    first, *later = (releases.order(board, threshold=number / 10) for number in (1, 2, 3))
    for order in (first, *later):
        list(world.transport.release([order]))
    (reply,) = world.transport.revert(
        [board], {board.name: first.release.digest}, reason="as it was once", deadline=DEADLINE
    )
    assert ("reverted", first.release.digest) == (reply.data["state"], reply.data["current"])

    assert tags(world, board.name)["now"] in ours(world)
    assert eventually(lambda: first.release.digest == observed(world, board)["current"])


def test_a_killed_controller_resumes(world: IotHubWorld, releases: Releases) -> None:
    """A second controller finds the deployment and the tags of the first, and makes no others."""
    (board,) = world.boards(1)
    order = releases.order(board)
    replies = world.transport.release([order])
    sent: list[Reply] = []
    thread = threading.Thread(target=lambda: sent.extend(replies), daemon=True)
    thread.start()
    eventually(lambda: tags(world, board.name))
    before = ours(world)
    (reply,) = world.transport.release([order])
    thread.join(60)

    assert "confirmed" == reply.data.get("state") or "unchanged" == reply.data.get("state"), reply.error
    assert before == ours(world)


def test_a_wave_goes_back_by_priority(world: IotHubWorld, releases: Releases) -> None:
    """Where all that follow a deployment go back, it loses its priority, and they follow the former."""
    (board,) = world.boards(1)
    first, second = releases.order(board, threshold=0.1), releases.order(board, threshold=0.2)
    for order in (first, second):
        list(world.transport.release([order]))
    now = tags(world, board.name)["now"]
    (reply,) = world.transport.revert([board], {board.name: None}, reason="gate", deadline=DEADLINE)

    assert ("reverted", first.release.digest) == (reply.data["state"], reply.data["current"])
    assert 0 == ours(world)[now]
    assert now != tags(world, board.name)["now"]
    (again,) = world.transport.release([second])
    assert "confirmed" == again.data["state"]
    assert now not in ours(world)


def test_a_board_is_never_sent_back_twice(world: IotHubWorld, releases: Releases) -> None:
    """An answer that is lost leaves doubt; asked again, the board would go back to what it left."""
    (board,) = world.boards(1)
    first, second = releases.order(board, threshold=0.1), releases.order(board, threshold=0.2)
    for order in (first, second):
        list(world.transport.release([order]))
    world.clients.hub.service.faults.drop_after = 1
    (reply,) = world.transport.revert([board], {board.name: None}, reason="by hand", deadline=DEADLINE)

    assert ReplyStatus.TIMED_OUT is reply.status
    eventually(lambda: first.release.digest == observed(world, board)["current"])


def test_a_board_that_takes_its_time_is_asked_once(world: IotHubWorld, releases: Releases) -> None:
    """A proof may take minutes: the SDK's own patience, shorter than a method's, does not cut it off."""
    (board,) = world.boards(1)
    list(world.transport.release([releases.order(board)]))
    client = world.iothub.hub
    client._protocol.config.connection.timeout = 1.0  # a hundred seconds, for whoever has time
    world.clients.hub.service.faults.slow = 2.0
    calls = client.calls
    (reply,) = world.transport.probe([board], deadline=DEADLINE)

    assert reply.ok, reply.error
    assert 1 == client.calls - calls


def test_a_board_that_was_away_does_not_begin_with_what_its_wave_left(
    world: IotHubWorld, releases: Releases
) -> None:
    """Its tag was set for when it comes back; where its wave goes back it would follow nobody any more."""
    here, away = world.boards(2)
    for board in (here, away):
        list(world.transport.release([releases.order(board, threshold=0.1)]))
    before = tags(world, away.name)["now"]
    world.cut_power(away)
    alike = [here, replace(here, name=away.name)]  # so that both follow one deployment
    list(world.transport.release([releases.order(board, threshold=0.2) for board in alike]))
    now = tags(world, away.name)["now"]
    list(world.transport.revert([here], {here.name: None}, reason="gate", deadline=DEADLINE))

    assert now not in (before, tags(world, here.name)["now"])
    assert before == tags(world, away.name)["now"]
    assert 0 == ours(world)[now]


def test_a_board_falls_back_on_what_it_ran(world: IotHubWorld, releases: Releases) -> None:
    """What was sent while it was away it never ran: after the next release fails, it does not end on that."""
    (board,) = world.boards(1)
    ran, missed = releases.order(board, threshold=0.1), releases.order(board, threshold=0.2)
    bad = replace(releases.order(board, is_good=False, threshold=0.3), deadline=5.0)
    list(world.transport.release([ran]))
    followed = tags(world, board.name)["now"]
    world.cut_power(board)
    for order in (missed, bad):
        list(world.transport.release([order]))

    assert followed == tags(world, board.name)["before"]


def test_a_board_that_failed_unwatched_is_asked_again(world: IotHubWorld, releases: Releases) -> None:
    """It came back, failed and went back before anybody looked: the rollout that is run again hears of it."""
    (board,) = world.boards(1)
    list(world.transport.release([releases.order(board)]))
    world.cut_power(board)
    bad = replace(releases.order(board, is_good=False), deadline=5.0)
    list(world.transport.release([bad]))
    world.start_agent(board.name, ProcessRunner(world.folder / "boards" / board.name, Path(board.root)))
    eventually(lambda: standings(world.iothub.hub, [board.name])[board.name].said.get("state") == "reverted")
    (reply,) = world.transport.release([bad])

    assert Verdict.ROLLED_BACK is smoke.verdict(bad, reply).verdict, reply.error


def test_a_board_that_claims_to_hold_for_years_is_told_apart(world: IotHubWorld, releases: Releases) -> None:
    """What it says of its clock moves no other board, and nobody looks for a module that is broken."""
    (board,) = world.boards(1)
    list(world.transport.release([releases.order(board, threshold=0.1)]))
    world.cut_power(board)
    note = Path(board.root) / "state" / "edge.json"
    note.write_text(json.dumps({"floor": 2**51}))
    world.start_agent(board.name, ProcessRunner(world.folder / "boards" / board.name, Path(board.root)))
    eventually(lambda: standings(world.iothub.hub, [board.name])[board.name].said.get("floor") == 2**51)
    world.iothub.pace = Pace(poll=0.1, fetch=1.0)
    (reply,) = world.transport.release([replace(releases.order(board, threshold=0.2), deadline=2.0)])

    assert "lies ahead of the clock" in reply.error

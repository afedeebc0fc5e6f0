"""Boards and waves of a hub that go back, go on, or answer late, whoever was there to see it."""

import json
import threading
from pathlib import Path

import pytest
from azure.iot.hub.models import Configuration, ConfigurationContent
from contract_worlds import DEADLINE, Releases, observed
from iothub_hub import Clients, deployment, eventually
from iothub_world import QUICK, IotHubWorld, azure_world, ours, tags
from msgspec.structs import replace

from fleetctl import smoke
from fleetctl.lab.iothub.runners import ProcessRunner
from fleetctl.smoke import Verdict
from fleetctl.transports.base import Reply, ReplyStatus
from fleetctl.transports.iothub import Pace
from fleetctl.transports.iothub_content import Surroundings
from fleetctl.transports.iothub_fleet import standings

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("iothub"),
    pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLSv1_2 is deprecated"),  # the SDK's own choice
    pytest.mark.filterwarnings("ignore:.*SSLSocket:pytest.PytestUnraisableExceptionWarning"),
]


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


def test_a_trial_leaves_a_hub_as_it_was(clients: Clients, releases: Releases, tmp_path: Path) -> None:
    """`make test-azure` deletes the devices and deployments that it made, and no others."""
    clients.deployments.create_configuration(deployment("theirs"))
    for world in azure_world(tmp_path, clients.hub.connection_string):
        world.iothub.pace = QUICK
        (board,) = world.boards(1)
        list(world.transport.release([releases.order(board)]))
        assert 2 == len(ours(world))

    assert ["theirs"] == [each.id for each in clients.deployments.get_configurations(100)]
    assert [] == clients.registry.get_devices(10)


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

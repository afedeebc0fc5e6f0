"""What every transport carries to boards that demand signatures, held against each of them in turn."""

import json
from pathlib import Path
from typing import Any

import pytest
from contract_worlds import DEADLINE, FakeWorld, LabWorld, Releases, World, observed
from msgspec.structs import replace
from signatures import KEY, STRANGER, signed, trust_in

from fleetctl.bootstrap.boards import Trust
from fleetctl.manifest.schema import Board
from fleetctl.transports.base import Order, Reply, ReplyStatus
from fleetctl.transports.orders import Preparation


@pytest.fixture
def trusting(without_hub: World) -> World:
    """Every transport whose boards can be given keys."""
    return without_hub


def entrust(world: World, board: Board, *keys: Any) -> None:
    """Have a board trust keys: as bootstrap does where there is ssh, else as the double of it."""
    if isinstance(world, FakeWorld):
        world.entrust(board, trust_in(*keys, board=board.name))
        return
    assert isinstance(world, LabWorld)
    trust = Trust("unas", tuple(key.public.pem for key in keys)).request(board.name)
    asked = Preparation({"user": "", "udev": False, "wheels": {}, "proof": "", **trust})
    (reply,) = world.ansible.prepare([board], {board.name: asked}, deadline=DEADLINE)
    assert reply.data["changed"] == ["trusted keys"], reply.error


def order_of(releases: Releases, board: Board, threshold: float = 0.5, /, **changes: Any) -> Order:
    """An order for a board, signed for it; any word of the statement may be another."""
    order = releases.order(board, threshold=threshold)
    statement = {"release": order.release.digest, "board": board.name, **changes}
    return replace(order, signed=signed(**statement))


def bring(world: World, order: Order) -> Reply:
    (reply,) = world.transport.release([order])
    return reply


def test_only_what_was_signed_for_the_board_is_taken(trusting: World, releases: Releases) -> None:
    """Unsigned, a stranger's, another board's: refused, with a hint; signed: confirmed."""
    (board,) = trusting.boards(1)
    entrust(trusting, board, KEY)
    good = order_of(releases, board)
    refused = [
        replace(good, signed=None),
        order_of(releases, board, key=STRANGER),
        order_of(releases, board, board="another"),
        order_of(releases, board, release="0" * 64),
    ]
    for order in refused:
        reply = bring(trusting, order)
        assert reply.status is ReplyStatus.FAILED
        assert "signed" in reply.error
        assert "by name" in reply.hint
    assert observed(trusting, board)["current"] is None

    reply = bring(trusting, good)
    assert (reply.data.get("state"), reply.error) == ("confirmed", "")
    assert reply.data["receipt"]["signed"]["key"] == KEY.public.fingerprint
    trust = observed(trusting, board)["trust"]
    assert trust == {"fleet": "unas", "board": board.name, "keys": [KEY.public.fingerprint], "serial": 10}


def test_going_back_has_to_be_signed_for(trusting: World, releases: Releases) -> None:
    """A replayed release and an unsigned revert are refused; what was signed for is done."""
    (board,) = trusting.boards(1)
    entrust(trusting, board, KEY)
    old, new = order_of(releases, board, 0.4, serial=10), order_of(releases, board, 0.6, serial=11)
    assert [bring(trusting, order).data["state"] for order in (old, new)] == ["confirmed", "confirmed"]
    to = {board.name: old.release.digest}
    (unsigned,) = trusting.transport.revert([board], to, reason="no", deadline=DEADLINE)
    replayed = bring(trusting, old)

    assert [reply.status for reply in (unsigned, replayed)] == [ReplyStatus.FAILED] * 2
    assert "--back" in replayed.hint
    assert observed(trusting, board)["good"] == new.release.digest

    leave = {board.name: signed(old.release.digest, board=board.name, serial=11, back_from=11)}
    (back,) = trusting.transport.revert([board], to, reason="yes", deadline=DEADLINE, signed=leave)
    assert (back.data["state"], back.data["current"]) == ("reverted", old.release.digest)
    assert observed(trusting, board)["trust"]["serial"] == 11


def test_an_altered_release_is_refused_whatever_was_signed(trusting: World, releases: Releases) -> None:
    """The signature is on the digest of everything: other bytes are another release."""
    (board,) = trusting.boards(1)
    entrust(trusting, board, KEY)
    meant, sent = order_of(releases, board, 0.5), releases.order(board, threshold=0.6)

    assert bring(trusting, replace(sent, signed=meant.signed)).status is ReplyStatus.FAILED
    assert observed(trusting, board)["current"] is None


@pytest.mark.e2e
def test_keys_and_statements_lie_where_only_root_writes(lab: LabWorld) -> None:
    """Keys are read-only files in a folder of the root, which the service's user does not own."""
    (board,) = lab.boards(1)
    entrust(lab, board, KEY)
    folder = Path(board.root) / "trust"

    assert {oct(path.stat().st_mode & 0o777) for path in folder.glob("*.pem")} == {"0o444"}
    assert oct(folder.stat().st_mode & 0o022) == "0o0"
    assert json.loads((folder / "trust.json").read_bytes())["board"] == board.name
    lab.retire()


@pytest.mark.e2e
@pytest.mark.xdist_group("iothub")
@pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLSv1_2 is deprecated")
@pytest.mark.parametrize("world", ["iothub"], indirect=True)
def test_a_hub_is_given_nothing_that_was_signed(world: World, releases: Releases) -> None:
    """Boards behind a hub share what they get, and could not verify it: refused before it is sent."""
    (board,) = world.boards(1)
    reply = bring(world, order_of(releases, board))

    assert reply.status is ReplyStatus.FAILED
    assert "signed for it by name" in reply.error

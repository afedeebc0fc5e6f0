"""A new model on the wire, to real boards' software behind real ssh: no more of it than a board lacks."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract_worlds import LabWorld, Releases, World, observed
from msgspec.structs import replace
from tcp_link import Link, link_to

from fleetctl.artifact import BlobRef
from fleetctl.desired import holding_of
from fleetctl.manifest.schema import Board
from fleetctl.observing import observe
from fleetctl.release import Release
from fleetctl.store import BlobStore, sha256
from fleetctl.transports.ansible import AnsibleTransport
from fleetctl.transports.base import Order, Reply, ReplyStatus, Transport
from fleetctl.transports.ssh import SshReader

NOISE = random.Random(3)  # as weights are
OLD = NOISE.randbytes(1_500_000)
NEW = OLD[:1_400_000] + NOISE.randbytes(2_000) + OLD[1_402_000:]
OTHER = NOISE.randbytes(1_500_000)


@pytest.fixture
def world(without_hub: World) -> World:
    """Simulated boards, and those of the lab."""
    return without_hub


def ordered(releases: Releases, board: Board, weights: bytes) -> Order:
    """A release that brings these bytes along with its model."""
    order = releases.order(board)
    ref = BlobRef(BlobStore(order.blobs).put(weights), len(weights))
    return replace(order, release=Release({**order.release.files, "model/weights.bin": ref}))


def rolled_out(transport: Transport, order: Order) -> Reply:
    """What a rollout does with a board: it looks, and then gives the order."""
    seen = observe(transport, [order.board], deadline=60.0)[order.board.name]
    (reply,) = transport.release([replace(order, holding=holding_of(seen))])
    return reply


def test_a_new_model_is_told_by_what_is_other_in_it(world: World, releases: Releases) -> None:
    """2,000 bytes of weights that are new cost about that, and the board runs the model that was built."""
    (board,) = world.boards(1)
    rolled_out(world.transport, ordered(releases, board, OLD))
    order = ordered(releases, board, NEW)
    reply = rolled_out(world.transport, order)

    assert reply.data.get("state") == "confirmed", reply
    assert reply.data["sent"] < 5_000
    assert observed(world, board)["files"]["model/weights.bin"]["sha256"] == sha256(NEW)


@pytest.mark.e2e
def test_a_board_whose_old_model_was_altered_gets_the_new_one(lab: LabWorld, releases: Releases) -> None:
    """Since the board was looked at, or where nobody looks: the new one is sent whole then."""
    (board,) = lab.boards(1)
    rolled_out(lab.transport, ordered(releases, board, OLD))
    seen = holding_of(observe(lab.transport, [board], deadline=60.0)[board.name])
    blob = Path(board.root) / "blobs" / "sha256" / sha256(OLD)
    blob.unlink()
    blob.write_bytes(OLD[::-1])
    (reply,) = lab.transport.release([replace(ordered(releases, board, NEW), holding=seen)])

    assert reply.data.get("state") == "confirmed", reply
    assert len(NEW) < reply.data["sent"] < len(NEW) + 10_000
    assert observed(lab, board)["files"]["model/weights.bin"]["sha256"] == sha256(NEW)
    lab.retire()


@pytest.fixture
def linked(lab: LabWorld, tmp_path: Path) -> Iterator[tuple[Board, Link, AnsibleTransport]]:
    """A board of the lab behind a link that can break, and the transport that goes through it."""
    (board,) = lab.boards(1)
    with link_to(board.port) as link:
        known = tmp_path / "known_hosts"
        known.write_text(lab.files.known_hosts.read_text().replace(f":{board.port} ", f":{link.port} "))
        reader = SshReader(known, lab.files.identity)
        yield replace(board, port=link.port), link, AnsibleTransport(reader, known, lab.files.identity)
    lab.retire()


@pytest.mark.e2e
def test_a_transfer_that_broke_goes_on_where_it_broke(
    linked: tuple[Board, Link, AnsibleTransport], releases: Releases
) -> None:
    """The line breaks at about two thirds of a new model: what came is not sent again."""
    board, link, transport = linked
    rolled_out(transport, ordered(releases, board, OLD))
    order = ordered(releases, board, OTHER)
    link.break_after(1_000_000, lambda: len(beginning(board)) > 700_000)
    reply = rolled_out(transport, order)
    assert reply.status in (ReplyStatus.TIMED_OUT, ReplyStatus.UNREACHABLE), reply
    assert OTHER.startswith(beginning(board))

    came = len(beginning(board))
    reply = rolled_out(transport, order)
    assert reply.data.get("state") == "confirmed", reply
    assert reply.data["sent"] < len(OTHER) - came + 10_000
    assert beginning(board) == b""


def beginning(board: Board) -> bytes:
    """What lies on the board of a blob that did not come whole."""
    return b"".join(path.read_bytes() for path in (Path(board.root) / "blobs" / "begun").glob("*"))

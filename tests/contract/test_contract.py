"""What every transport promises, held against each of them in turn."""

from contract_worlds import CONFIRM_TIMEOUT, DEADLINE, Releases, World, by_board, observed, settled

from fleetctl.observation import Observed
from fleetctl.transports.base import ReplyStatus


def test_first_release_is_proved_and_confirmed(world: World, releases: Releases) -> None:
    """A board that never had a release ends with it confirmed and loaded; its receipt says so, and when."""
    (board,) = world.boards(1)
    order = releases.order(board)
    (reply,) = world.transport.release([order])

    assert reply.ok, reply.error
    assert reply.data["state"] == "confirmed"
    assert reply.data["judgement"]["outcome"] == "passed"
    receipt = reply.data["receipt"]
    assert (board.name, order.release.digest, "c0ffee") == (
        receipt["board"],
        receipt["release"],
        receipt["commit"],
    )
    seen = observed(world, board)
    assert order.release.digest == seen["current"] == seen["good"] == seen["service"]["loaded"]["release"]
    assert seen["pending"] is None
    said = Observed.parse(board.name, seen)
    age = said.age(said.receipt["time"])
    assert order.release.digest == said.receipt["release"]
    assert age is not None
    assert 0 <= age < 60


def test_same_release_again_changes_nothing(world: World, releases: Releases) -> None:
    """A release that is there already is proved again, sends no blob and restarts nothing."""
    (board,) = world.boards(1)
    order = releases.order(board)
    list(world.transport.release([order]))
    before = observed(world, board)
    (reply,) = world.transport.release([order])

    assert reply.data["state"] == "unchanged"
    assert reply.data["judgement"]["outcome"] == "passed"
    assert reply.data["sent"] == 0
    after = observed(world, board)
    assert before["service"] == after["service"]
    assert before["current"] == after["current"]


def test_only_missing_blobs_are_sent(world: World, releases: Releases) -> None:
    """A change of one setting sends the file it changes, and no model and no runtime."""
    (board,) = world.boards(1)
    (first,) = world.transport.release([releases.order(board, threshold=0.5)])
    (second,) = world.transport.release([releases.order(board, threshold=0.6)])

    assert second.data["state"] == "confirmed"
    assert first.data["sent"] > 50_000
    assert 0 < second.data["sent"] <= 4096


def test_bad_answers_put_the_board_back(world: World, releases: Releases) -> None:
    """A release whose answers are not the golden ones is reverted, and what ran before runs on."""
    (board,) = world.boards(1)
    good = releases.order(board)
    list(world.transport.release([good]))
    (reply,) = world.transport.release([world.bad_order(releases, board)])

    assert reply.ok, reply.error
    assert reply.data["state"] == "reverted"
    assert reply.data["judgement"]["outcome"] == "failed"
    assert "0 of 4 golden answers agree" in " ".join(reply.data["receipt"]["reasons"])
    seen = observed(world, board)
    assert good.release.digest == seen["current"] == seen["good"] == seen["service"]["loaded"]["release"]


def test_offline_board_does_not_hold_up_the_others(world: World, releases: Releases) -> None:
    """Boards that cannot be reached are said to be so, and every other board gets its release."""
    dark, light = world.boards(2)
    world.cut_power(dark)
    replies = by_board(world.transport.release([releases.order(dark), releases.order(light)]))

    assert {dark.name, light.name} == set(replies)
    assert replies[dark.name].status is ReplyStatus.UNREACHABLE
    assert replies[light.name].data["state"] == "confirmed"


def test_refused_boards_are_left_alone(world: World, releases: Releases) -> None:
    """A host key that is unknown or has changed is refused with a hint, and nothing on the board changes."""
    board, _ = world.boards(2)
    for transport in (world.distrust(board), world.mistrust(board)):
        (reply,) = transport.release([releases.order(board)])

        assert reply.status is ReplyStatus.REFUSED, reply.error
        assert reply.hint
    assert observed(world, board)["current"] is None


def test_interrupted_release_leaves_a_whole_board(world: World, releases: Releases) -> None:
    """A controller that goes away before confirming leaves the board on one proved release."""
    (board,) = world.boards(1)
    before = releases.order(board, threshold=0.5)
    list(world.transport.release([before]))
    after = releases.order(board, threshold=0.6)
    world.interrupted(after)
    world.pass_time(CONFIRM_TIMEOUT + 2)

    seen = settled(world, board)
    assert seen["current"] == seen["good"] == seen["service"]["loaded"]["release"]
    assert seen["current"] in (before.release.digest, after.release.digest)
    (again,) = world.transport.release([after])
    assert again.data["state"] in ("confirmed", "unchanged")


def test_going_back_to_releases(world: World, releases: Releases) -> None:
    """A board goes back to the release before, or to one that is named; one it never had is an error."""
    (board,) = world.boards(1)
    orders = [releases.order(board, threshold=0.1 * step) for step in (1, 2, 3)]
    for order in orders:
        list(world.transport.release([order]))
    first, second, _ = (order.release.digest for order in orders)

    (before,) = world.transport.revert(
        [board], {board.name: None}, reason="try {{ 7 * 7 }}", deadline=DEADLINE
    )
    assert ("reverted", second) == (before.data["state"], before.data["current"])
    assert before.data["receipt"]["reasons"] == ["try {{ 7 * 7 }}"]
    (named,) = world.transport.revert([board], {board.name: first}, reason="by name", deadline=DEADLINE)
    assert ("reverted", first) == (named.data["state"], named.data["current"])
    (never,) = world.transport.revert([board], {board.name: "0" * 64}, reason="never", deadline=DEADLINE)
    assert never.status is ReplyStatus.FAILED
    assert observed(world, board)["current"] == first


def test_confirming_is_idempotent(world: World, releases: Releases) -> None:
    """Confirming what is confirmed is fine; confirming what the board does not run is refused."""
    (board,) = world.boards(1)
    order = releases.order(board)
    list(world.transport.release([order]))
    (again,) = world.transport.confirm([board], {board.name: order.release.digest}, deadline=DEADLINE)
    (other,) = world.transport.confirm([board], {board.name: "0" * 64}, deadline=DEADLINE)

    assert again.data["state"] == "confirmed"
    assert other.status is ReplyStatus.FAILED
    assert observed(world, board)["current"] == order.release.digest


def test_altered_blob_is_never_sent(world: World, releases: Releases) -> None:
    """Bytes in the store that no longer match their name stop the release before anything is sent."""
    (board,) = world.boards(1)
    order = releases.order(board, threshold=0.87)
    path = releases.store.path(order.release.files["config/serve.json"].sha256)
    path.chmod(0o644)
    path.write_bytes(b"{}")
    (reply,) = world.transport.release([order])

    assert reply.status is ReplyStatus.FAILED
    assert "was altered" in reply.error
    assert observed(world, board)["current"] is None


def test_reading_changes_nothing(world: World, releases: Releases) -> None:
    """Fresh evidence, the service's last words and past receipts can be had at any time."""
    (board,) = world.boards(1)
    order = releases.order(board)
    list(world.transport.release([order]))
    before = observed(world, board)
    (probed,) = world.transport.probe([board], deadline=DEADLINE)
    (logged,) = world.transport.logs([board], lines=5, deadline=DEADLINE)
    (told,) = world.transport.history([board], last=1, deadline=DEADLINE)

    assert probed.data["receipt"]["release"] == order.release.digest
    assert len(probed.data["receipt"]["answers"]) == 4
    assert 0 <= len(logged.data["lines"]) <= 5
    assert [before["receipt"]] == told.data["receipts"]
    after = observed(world, board)
    assert before["receipt"] == after["receipt"]

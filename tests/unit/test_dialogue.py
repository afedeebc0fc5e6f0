"""What a board is asked and sent on its way to a release: no more than is not known of it."""

import io
import random
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from contract_worlds import Releases, generic_board
from msgspec.structs import replace

from fleetctl.artifact import BlobRef
from fleetctl.release import Release
from fleetctl.store import BlobStore, sha256
from fleetctl.transports import board_script, wire
from fleetctl.transports.base import Holding, Order
from fleetctl.transports.dialogue import foresee, release_to
from fleetctl.transports.wire import BoardSaidNo

CURRENT = "c" * 64


@dataclass
class ListeningBoard:
    """Takes what it is sent, and lacks some blobs; its evidence is none, so every release goes back."""

    lacks: set[str]
    without_base: bool = False  # it no longer has the release it was seen to run
    gone: set[str] = field(default_factory=set)  # what it was seen to have, and has no more
    refuses: str = ""  # the code with which it declines the first bundle
    begun: dict[str, int] = field(default_factory=dict)  # what came of blobs before
    bytes: int = 0  # that it was sent
    asked: list[str] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    manifests: list[type] = field(default_factory=list)
    members: list[list[str]] = field(default_factory=list)

    def __call__(self, verb: str, request: Mapping[str, Any], payload: bytes = b"") -> Mapping[str, Any]:
        self.asked.append(verb)
        self.bytes += len(wire.standard_input(board_script.by_digest("/opt/fleetctl"), request, payload))
        if verb == "missing":
            return {
                "missing": sorted((self.lacks | self.gone).intersection(request["blobs"])),
                "begun": self.begun,
            }
        if verb == "activate":
            self.sent.append(len(payload))
            self.manifests.append(type(request["manifest"]))
            self.members.append(names_in(payload))
            if self.refuses and len(self.members) == 1:
                raise BoardSaidNo(verb, self.refuses, "it is not what it was")
            if self.without_base and isinstance(request["manifest"], dict):
                raise BoardSaidNo(verb, "unknown-base", "it is not told by what this board has")
            if any(digest.encode() not in payload for digest in self.lacks):
                raise BoardSaidNo(verb, "missing-blobs", "blobs of the release are not here")
        return {"state": "pending" if verb == "activate" else "reverted"}


def names_in(payload: bytes) -> list[str]:
    if not payload:
        return []
    with tarfile.open(fileobj=io.BytesIO(payload)) as tar:
        return tar.getnames()


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> Order:
    return Releases(BlobStore(tmp_path_factory.mktemp("store"))).order(generic_board("luxor-01"))


def holding(order: Order, *, without: str = "") -> Holding:
    files = {path: ref.sha256 for path, ref in order.release.files.items() if path != without}
    return Holding(CURRENT, files, begun={})


def digest(order: Order, path: str = "config/serve.json") -> str:
    return order.release.files[path].sha256


def test_a_board_that_nobody_looked_at_is_asked_what_it_lacks(order: Order) -> None:
    """What it names is sent, and nothing else."""
    board = ListeningBoard({digest(order)})
    release_to(order, board)

    assert ["missing", "activate", "revert"] == board.asked
    assert [2048] == board.sent


def test_a_board_that_was_looked_at_is_not_asked(order: Order) -> None:
    """It is sent what was not seen on it, with the first word."""
    board = ListeningBoard({digest(order)})
    release_to(replace(order, holding=holding(order, without="config/serve.json")), board)

    assert ["activate", "revert"] == board.asked
    assert [2048] == board.sent


def test_a_board_that_has_less_than_was_seen_is_asked_after_all(order: Order) -> None:
    """A blob that went meanwhile costs one more round, not the release."""
    board = ListeningBoard({digest(order), digest(order, "runtime/serve.py")})
    release_to(replace(order, holding=holding(order, without="config/serve.json")), board)

    assert ["activate", "missing", "activate", "revert"] == board.asked


def test_a_model_of_a_release_before_is_not_sent_again(order: Order) -> None:
    """The board was seen to have it still, though what it runs does not name it."""
    seen = replace(holding(order, without="config/serve.json"), spare=(sha256(OTHER),))
    board = ListeningBoard({digest(order)})
    release_to(replace(with_other(order), holding=seen), board)

    assert ["activate", "revert"] == board.asked
    assert [2048] == board.sent


def test_a_board_that_lost_what_it_ran_is_told_everything(order: Order) -> None:
    """What a release changes of another says nothing to a board without that other."""
    board = ListeningBoard({digest(order)}, without_base=True)
    release_to(replace(order, holding=holding(order, without="config/serve.json")), board)

    assert ["activate", "missing", "activate", "revert"] == board.asked
    assert [dict, str] == board.manifests


def test_a_large_model_is_not_sent_twice_to_a_board_that_lost_what_it_ran(order: Order) -> None:
    """The whole manifest travels with it, beside which it is nothing: the model is taken in at once."""
    board = ListeningBoard({sha256(OTHER)}, without_base=True)
    release_to(replace(with_other(order), holding=holding(order)), board)

    assert ["activate", "revert"] == board.asked
    assert [str] == board.manifests


def test_another_configuration_is_a_kilobyte(order: Order) -> None:
    """Scripts, requests and blob together, deflated as they are sent to a board that has the rest."""
    board = ListeningBoard({digest(order)})
    release_to(replace(order, holding=holding(order, without="config/serve.json")), board)

    assert board.bytes < 2048


@pytest.mark.parametrize(("boards", "together"), [(2, True), (1, False)])
def test_what_several_boards_lack_is_deflated_before_them(
    order: Order, boards: int, *, together: bool
) -> None:
    """So that processes forked for each find it done; what one board alone lacks is left to its process."""
    model = "model/model.tflite"
    seen = [replace(order, holding=holding(order, without=model)) for _ in range(boards)]
    wire.deflated.cache_clear()
    foresee(seen)
    release_to(order, ListeningBoard(set()))  # the script, and what says that a bundle ends
    before = wire.deflated.cache_info().misses

    board = ListeningBoard({digest(order, model)})
    release_to(seen[0], board)

    assert [digest(order, model)] == board.members[0]
    assert together == (wire.deflated.cache_info().misses == before)


def test_an_absent_blob_is_left_to_whoever_has_to_send_it(order: Order) -> None:
    """Nothing is said of it before."""
    absent = Release({**order.release.files, "model/labels": BlobRef("f" * 64, 10)})
    foresee([replace(order, release=absent, holding=holding(order))] * 2)


def test_the_modules_are_kept_where_the_board_says_so(order: Order) -> None:
    """Otherwise the script is sent whole at once; where nobody looked, their digest is worth a try."""
    seen = holding(order)
    assert board_script.is_kept(None)
    assert board_script.is_kept(replace(seen, modules=board_script.runtime_digest()))
    assert not board_script.is_kept(replace(seen, modules="0" * 64))
    assert not board_script.is_kept(seen)


NOISE = random.Random(11)  # as weights are
OLD = NOISE.randbytes(600_000)
NEW = OLD[:400_000] + NOISE.randbytes(1 << 10) + OLD[400_000:]
OTHER = NOISE.randbytes((1 << 20) + 1000)
MODEL = "model/large"
BEGUN = 500_000


@pytest.fixture
def update(order: Order) -> Order:
    """Another model of 600 kB for a board that has one much like it."""
    return replace(with_model(order, NEW), holding=holding(with_model(order, OLD)))


def with_other(order: Order) -> Order:
    ref = BlobRef(BlobStore(order.blobs).put(OTHER), len(OTHER))
    return replace(order, release=Release({**order.release.files, "model/other": ref}))


def with_model(order: Order, data: bytes) -> Order:
    ref = BlobRef(BlobStore(order.blobs).put(data), len(data))
    return replace(order, release=Release({**order.release.files, MODEL: ref}))


def test_a_model_is_told_by_what_is_other_in_it(update: Order) -> None:
    """That is little: the board is not asked before, and a kilobyte of new weights costs about that."""
    board = ListeningBoard({sha256(NEW)})
    release_to(update, board)

    assert ["activate", "revert"] == board.asked
    assert [[f"{sha256(NEW)}/{sha256(OLD)}"]] == [[n.rpartition("/")[0] for n in m] for m in board.members]
    assert board.bytes < 5 << 10


@pytest.mark.parametrize("code", ["unknown-base", "bad-bundle", "missing-blobs"])
def test_a_board_that_cannot_make_a_model_is_sent_it(update: Order, code: str) -> None:
    """What it was seen to run may have been altered or gone since, whatever it says about that."""
    board = ListeningBoard({sha256(NEW)}, refuses=code)
    release_to(update, board)

    assert ["activate", "missing", "activate", "revert"] == board.asked
    assert [sha256(NEW)] == board.members[1]


@pytest.mark.parametrize("seen", [None, Holding(CURRENT, {"model/large": sha256(OLD)})])
def test_a_board_that_did_not_say_what_it_has_is_asked(update: Order, seen: Holding | None) -> None:
    """Nobody looked, or one of another version answered. It is sent what it lacks, whole if need be."""
    board = ListeningBoard({sha256(NEW), sha256(OTHER)}, gone={sha256(OLD)})
    release_to(replace(with_other(update), holding=seen), board)

    assert ["missing", "activate", "revert"] == board.asked
    assert [sorted([sha256(NEW), sha256(OTHER)])] == board.members


def test_a_bundle_that_is_damaged_as_it_is_is_not_sent_twice(order: Order) -> None:
    """There is nothing else to try."""
    board = ListeningBoard({digest(order)}, refuses="bad-bundle")
    with pytest.raises(BoardSaidNo):
        release_to(replace(order, holding=holding(order, without="config/serve.json")), board)

    assert ["activate"] == board.asked


def test_what_came_before_a_line_broke_is_not_sent_again(order: Order) -> None:
    """The rest comes first, for a board keeps the beginning of one blob only."""
    wanted = with_other(with_model(order, NEW))
    for blob in (NEW, OTHER):
        board = ListeningBoard({sha256(NEW), sha256(OTHER)})
        seen = replace(holding(order), begun={sha256(blob): BEGUN})
        release_to(replace(wanted, holding=seen), board)

        assert ["activate", "revert"] == board.asked
        assert board.members[0][0] == f"{sha256(blob)}/{BEGUN}"
        assert board.sent[0] < len(NEW) + len(OTHER) - BEGUN + 4096


@pytest.mark.parametrize(
    "begun", [{"x": 1}, {sha256(NEW): "1"}, {sha256(NEW): True}, {sha256(NEW): -5}, [], 7]
)
def test_what_a_board_says_that_came_is_not_believed(order: Order, begun: Any) -> None:
    """A board that says something else is sent all that it lacks."""
    board = ListeningBoard({sha256(NEW)}, begun=begun)
    release_to(with_model(order, NEW), board)

    assert [[sha256(NEW)]] == board.members


def test_a_blob_that_came_whole_is_begun_at_its_end(order: Order) -> None:
    """A board that died just then gets the last byte once more, and looks at the whole."""
    board = ListeningBoard({sha256(NEW)}, begun={sha256(NEW): len(NEW) + 5})
    release_to(with_model(order, NEW), board)

    assert [[f"{sha256(NEW)}/{len(NEW) - 1}"]] == board.members


def test_a_rest_that_does_not_fit_is_followed_by_the_whole(order: Order) -> None:
    """What a power cut left of a beginning may be anything."""
    board = ListeningBoard({sha256(NEW)}, begun={sha256(NEW): 5}, refuses="bad-bundle")
    release_to(with_model(order, NEW), board)

    assert ["missing", "activate", "missing", "activate", "revert"] == board.asked
    assert [[f"{sha256(NEW)}/5"], [sha256(NEW)]] == board.members

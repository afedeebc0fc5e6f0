"""What a board is asked and sent on its way to a release: no more than is not known of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from contract_worlds import Releases, generic_board

from fleetctl.artifact import BlobRef
from fleetctl.release import Release
from fleetctl.store import BlobStore
from fleetctl.transports import board_script, wire
from fleetctl.transports.base import Holding, Order
from fleetctl.transports.dialogue import release_to
from fleetctl.transports.wire import BoardSaidNo

CURRENT = "c" * 64


@dataclass
class ListeningBoard:
    """Takes what it is sent, and lacks some blobs; its evidence is none, so every release goes back."""

    lacks: set[str]
    without_base: bool = False  # it no longer has the release it was seen to run
    bytes: int = 0  # that it was sent
    asked: list[str] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    manifests: list[type] = field(default_factory=list)

    def __call__(self, verb: str, request: Mapping[str, Any], payload: bytes = b"") -> Mapping[str, Any]:
        self.asked.append(verb)
        self.bytes += len(wire.standard_input(board_script.by_digest("/opt/fleetctl"), request, payload))
        if verb == "missing":
            return {"missing": sorted(self.lacks.intersection(request["blobs"]))}
        if verb == "activate":
            self.sent.append(len(payload))
            self.manifests.append(type(request["manifest"]))
            if self.without_base and isinstance(request["manifest"], dict):
                raise BoardSaidNo(verb, "unknown-base", "it is not told by what this board has")
            if any(digest.encode() not in payload for digest in self.lacks):
                raise BoardSaidNo(verb, "missing-blobs", "blobs of the release are not here")
        return {"state": "pending" if verb == "activate" else "reverted"}


@pytest.fixture
def order(tmp_path: Path) -> Order:
    return Releases(BlobStore(tmp_path / "store")).order(generic_board("luxor-01"))


def holding(order: Order, *, without: str = "") -> Holding:
    files = {path: ref.sha256 for path, ref in order.release.files.items() if path != without}
    return Holding(CURRENT, files)


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


def test_a_board_is_asked_before_much_is_sent(order: Order) -> None:
    """It may have a part from a transfer that was cut."""
    large = Release({**order.release.files, "model/large": BlobRef("f" * 64, 2 << 20)})
    board = ListeningBoard({digest(order)})
    release_to(replace(order, release=large, holding=Holding(None, {})), board)

    assert ["missing", "activate", "revert"] == board.asked


def test_a_board_that_lost_what_it_ran_is_told_everything(order: Order) -> None:
    """What a release changes of another says nothing to a board without that other."""
    board = ListeningBoard({digest(order)}, without_base=True)
    release_to(replace(order, holding=holding(order, without="config/serve.json")), board)

    assert ["activate", "missing", "activate", "revert"] == board.asked
    assert [dict, str] == board.manifests


def test_another_configuration_is_a_kilobyte(order: Order) -> None:
    """Scripts, requests and blob together, deflated as they are sent to a board that has the rest."""
    board = ListeningBoard({digest(order)})
    release_to(replace(order, holding=holding(order, without="config/serve.json")), board)

    assert board.bytes < 2048


def test_the_modules_are_kept_where_all_of_them_were_seen(order: Order) -> None:
    """Otherwise the script is sent whole at once; where nobody looked, their digests are worth a try."""
    assert board_script.is_kept(None)
    assert board_script.is_kept(holding(order))
    assert not board_script.is_kept(holding(order, without="runtime/settle_verbs.py"))
    assert not board_script.is_kept(Holding(None, {}))

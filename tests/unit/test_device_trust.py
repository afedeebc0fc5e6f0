"""A board that trusts keys: what it takes, and what it refuses before anything is staged."""

import base64
import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from long_matrices import FULL
from signatures import KEY, OTHER_KEY, STRANGER, sign_text, signed, trust_in
from tiny_board import TinyBoard, TinyRelease, powered, tiny_release

from fleetctl.device.board_error import BoardError
from fleetctl.device.layout import Board
from fleetctl.device.release_files import parse_manifest
from fleetctl.device.trust import demand_statement
from fleetctl.signing.keys import PrivateKey


@pytest.fixture
def board(tmp_path: Path) -> Iterator[TinyBoard]:
    """A board that trusts one key and has no release yet."""
    with powered(tmp_path / "board") as board:
        assert entrust(board, KEY)["changed"] == ["trusted keys"]
        yield board


def entrust(board: TinyBoard, *keys: PrivateKey, **who: str) -> dict[str, Any]:
    return board.ask("prepare", {"trust": trust_in(*keys, **who)})


def release(board: TinyBoard, threshold: float = 0.5) -> TinyRelease:
    return tiny_release(board.port, threshold=threshold)


def bring(board: TinyBoard, wanted: TinyRelease, **changes: Any) -> dict[str, Any]:
    """Activate a release with a statement, any word of which may be another; confirm it if tried."""
    reply = board.activate(wanted, **signed(wanted.digest, **changes).request)
    if reply.get("state") == "pending":
        assert board.confirm(wanted)["state"] == "confirmed"
    return reply


def everything(board: TinyBoard) -> dict[str, bytes]:
    """Every file under the root; locks are no news."""
    found = (path for path in board.root.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path): path.read_bytes() for path in found}


def test_a_signed_release_is_taken_and_its_receipt_says_whose_it_is(board: TinyBoard) -> None:
    """The receipt has the key's fingerprint and the place in history; `observe` has them too."""
    reply = bring(board, release(board))

    seen = board.ask("observe")
    assert reply["state"] == "pending", reply
    said = {"key": KEY.public.fingerprint, "serial": 10, "back_from": None}
    assert said == reply["receipt"]["signed"] == seen["receipt"]["signed"]
    assert seen["trust"] == {
        "fleet": "unas",
        "board": "luxor-01",
        "keys": [KEY.public.fingerprint],
        "serial": 10,
    }


REFUSED: dict[str, dict[str, Any]] = {
    "another board's": {"board": "luxor-02"},
    "another fleet's": {"fleet": "teti"},
    "another release's": {"release": "0" * 64},
    "another commit's": {"commit": "decaf"},
    "a stranger's": {"key": STRANGER},
    "without a place in history": {"serial": None},
    "with a place that is no number": {"serial": True},
    "with a place beyond all history": {"serial": 1 << 60},
    "back from nowhere": {"back_from": "anywhere"},
}


@pytest.mark.parametrize("changes", REFUSED.values(), ids=REFUSED)
def test_what_was_not_signed_for_this_board_is_refused(board: TinyBoard, changes: dict[str, Any]) -> None:
    """One word off, or one key: refused with its own code, and not a byte of the board is another."""
    wanted = release(board)
    before = everything(board)
    said = {"release": wanted.digest, **changes}
    reply = board.activate(wanted, **signed(**said).request)

    assert (reply["ok"], reply.get("code")) == (False, "untrusted"), reply
    assert before == everything(board)


def test_nothing_signed_is_refused(board: TinyBoard) -> None:
    """Neither a bare release, nor half of a signature, nor a signed text of another kind."""
    wanted = release(board)
    whole = signed(wanted.digest).request
    other = sign_text(
        json.dumps({**json.loads(whole["statement"]), "schema": "fleetctl.statement/v2"}).encode()
    )
    halves = [
        {},
        {"statement": whole["statement"]},
        {"signature": whole["signature"]},
        {**whole, "statement": 7},
    ]
    odd = [
        other.request,
        sign_text(b"[]").request,
        {**whole, "signature": "é"},
    ]
    codes = [board.activate(wanted, **words).get("code") for words in [*halves, *odd]]

    assert codes == ["untrusted"] * 7


def test_another_boards_order_is_refused_whatever_it_calls_itself(board: TinyBoard) -> None:
    """An order that was recorded on its way to luxor-02 is no order for luxor-01."""
    wanted = release(board)
    words = signed(wanted.digest, board="luxor-02").request
    reply = board.activate(wanted, board="luxor-02", **words)

    assert reply["code"] == "untrusted"
    assert "about board luxor-02, not luxor-01" in reply["error"]


def test_a_replayed_older_release_is_refused(board: TinyBoard) -> None:
    """What was signed once and confirmed is refused once the board has gone on; nothing is staged."""
    old, new = release(board, 0.1), release(board, 0.2)
    recorded = signed(old.digest, serial=10).request
    assert board.activate(old, **recorded)["state"] == "pending"
    board.confirm(old)
    assert bring(board, new, serial=11)["state"] == "pending"
    shutil.rmtree(board.root / "releases" / old.digest)
    reply = board.activate(old, **recorded)

    assert (reply["ok"], reply.get("code")) == (False, "older"), reply
    assert not (board.root / "releases" / old.digest).exists()
    assert board.serves() == new.digest


def test_a_release_that_failed_leaves_no_mark_in_history(board: TinyBoard) -> None:
    """Only what was confirmed makes older ones refusable: a bad commit may be taken back."""
    bad = release(board).with_json("config/smoke.json", max_p95_ms=0.000001)
    assert bring(board, bad, serial=99)["state"] == "reverted"

    assert bring(board, release(board), serial=10)["state"] == "pending"


def test_going_back_has_to_be_signed_for_from_where_the_board_stands(board: TinyBoard) -> None:
    """An older release is taken if the statement says so; the same statement is worthless later."""
    old, new, newer = (release(board, threshold) for threshold in (0.1, 0.2, 0.3))
    bring(board, old, serial=10)
    bring(board, new, serial=11)
    permission = signed(old.digest, serial=10, back_from=11).request
    assert board.activate(old, **permission)["state"] == "pending"
    board.confirm(old)

    assert bring(board, newer, serial=12)["state"] == "pending"
    assert board.activate(old, **permission)["code"] == "older"
    assert (board.root / "state" / "serial").read_text() == "12\n"


@pytest.mark.parametrize("damaged", [b"", b"\0\0\0", b"1", b"1_1\n", None])
def test_with_a_damaged_place_in_history_nothing_else_is_taken(
    board: TinyBoard, damaged: bytes | None
) -> None:
    """Any release may be an older one, so none is taken nor gone back to until somebody says the number."""
    old, new = release(board, 0.1), release(board, 0.2)
    recorded = signed(old.digest, serial=10).request
    bring(board, old, serial=10)
    bring(board, new, serial=11)
    place = board.root / "state" / "serial"
    place.unlink()
    place.write_bytes(damaged) if damaged is not None else place.mkdir()

    back = signed(old.digest, serial=11, back_from=11).request
    replies = [
        board.activate(old, **recorded),
        bring(board, release(board, 0.3), serial=12),
        board.ask("revert", {"to": old.digest, **back}),
        board.ask("leave", signed("nothing", serial=11, back_from=11).request),
    ]
    assert ["damaged-serial"] * 4 == [reply.get("code") for reply in replies]
    assert bring(board, new, serial=9)["state"] == "unchanged"
    assert (board.serves(), board.ask("observe")["trust"]["serial"]) == (new.digest, None)
    assert place.is_dir() if damaged is None else place.read_bytes() == damaged

    if damaged is not None:
        place.write_bytes(b"11\n")
        assert board.activate(old, **recorded)["code"] == "older"


def test_reverting_a_confirmed_release_has_to_be_signed_for(board: TinyBoard) -> None:
    """`revert` takes a statement about the very release it goes to, made for going back."""
    old, new = release(board, 0.1), release(board, 0.2)
    bring(board, old, serial=10)
    bring(board, new, serial=11)
    request = {"to": old.digest, "reason": "asked to"}
    plain = signed(old.digest, serial=11).request
    about_new = signed(new.digest, serial=11, back_from=11).request
    earlier = signed(old.digest, serial=10, back_from=10).request
    refused = [board.ask("revert", {**request, **words}) for words in ({}, plain, about_new, earlier)]
    assert ["untrusted", "older", "untrusted", "older"] == [reply.get("code") for reply in refused]
    assert board.serves() == new.digest

    reply = board.ask("revert", {**request, **signed(old.digest, serial=11, back_from=11).request})
    assert (reply.get("state"), board.serves()) == ("reverted", old.digest), reply
    assert reply["receipt"]["signed"]["back_from"] == 11


def test_ending_a_probation_needs_no_signature(board: TinyBoard) -> None:
    """What a board does by itself when nobody confirms, anybody who reaches it may have it do at once."""
    old, new = release(board, 0.1), release(board, 0.2)
    bring(board, old)
    assert board.activate(new, **signed(new.digest).request)["state"] == "pending"

    assert board.ask("revert", {"to": None, "reason": "no"})["state"] == "reverted"
    assert board.serves() == old.digest


def test_the_same_release_again_moves_the_place_in_history(board: TinyBoard) -> None:
    """A later commit that asks for what runs already still outdates what was signed before it."""
    same = release(board)
    bring(board, same, serial=10)
    reply = bring(board, same, serial=20)

    assert reply["state"] == "unchanged"
    assert board.ask("observe")["trust"]["serial"] == 20
    assert bring(board, same, serial=15)["state"] == "unchanged"
    assert bring(board, release(board, 0.9), serial=15)["code"] == "older"


def test_a_key_is_replaced_and_revoked(board: TinyBoard) -> None:
    """Both keys are trusted for a while; then the old one is not, and its file is gone."""
    assert entrust(board, KEY, OTHER_KEY)["changed"] == ["trusted keys"]
    assert bring(board, release(board, 0.1), key=KEY)["state"] == "pending"
    assert bring(board, release(board, 0.2), key=OTHER_KEY)["state"] == "pending"

    assert entrust(board, OTHER_KEY)["changed"] == ["trusted keys"]
    assert entrust(board, OTHER_KEY)["changed"] == []
    assert bring(board, release(board, 0.3), key=KEY)["code"] == "untrusted"
    assert [f"{OTHER_KEY.public.fingerprint}.pem"] == [
        path.name for path in (board.root / "trust").glob("*.pem")
    ]


def test_nothing_asked_of_a_board_makes_it_trust_nobody(board: TinyBoard) -> None:
    """No keys, no names, or a key of another kind: refused, and the trust is what it was."""
    rsa = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAK0=\n-----END PUBLIC KEY-----\n"
    before = everything(board)
    asked = [None, [], {}, trust_in(), {**trust_in(KEY), "keys": [rsa]}, {**trust_in(KEY), "board": None}]
    codes = [board.ask("prepare", {"trust": said}).get("code") for said in asked]

    assert codes == ["bad-request"] * 6
    assert before == everything(board)
    assert board.ask("prepare", {})["changed"] == []


def test_damaged_trust_trusts_no_key(board: TinyBoard) -> None:
    """A record that cannot be read, or a key file that is another key, lets nothing through; mending does."""
    wanted = release(board)
    words = signed(wanted.digest).request
    record, key = board.root / "trust" / "trust.json", board.root / "trust" / f"{KEY.public.fingerprint}.pem"
    key.chmod(0o644)
    key.write_text(STRANGER.public.pem)
    assert board.activate(wanted, **words)["code"] == "untrusted"
    assert board.activate(wanted, **signed(wanted.digest, key=STRANGER).request)["code"] == "untrusted"
    record.write_text("{")
    assert "damaged" in board.activate(wanted, **words)["error"]

    assert entrust(board, KEY)["changed"] == ["trusted keys"]
    assert board.activate(wanted, **words)["state"] == "pending"


def test_a_board_without_openssl_refuses(board: TinyBoard, tmp_path: Path) -> None:
    """What cannot be verified is not taken."""
    board.environment = {"PATH": str(tmp_path / "nothing")}
    wanted = release(board)
    reply = board.activate(wanted, **signed(wanted.digest).request)

    assert (reply.get("code"), "openssl" in reply["error"]) == ("untrusted", True), reply


def test_a_board_that_trusts_nobody_takes_what_it_is_brought(tmp_path: Path) -> None:
    """Adoption: unsigned releases, and signed ones whose signature nobody here can check."""
    with powered(tmp_path / "board") as board:
        unsigned = board.activate(release(board, 0.1))
        board.confirm(release(board, 0.1))
        words = signed("0" * 64, key=STRANGER).request
        signed_by_a_stranger = board.activate(release(board, 0.2), **words)
        seen = board.ask("observe")

    assert ["pending", "pending"] == [unsigned["state"], signed_by_a_stranger["state"]]
    assert unsigned["receipt"]["signed"] is None
    assert seen["trust"] is None


def test_every_flipped_bit_of_statement_and_signature_is_refused(board: TinyBoard) -> None:
    """No other text is taken, and no other spelling of the signature."""
    digest = release(board).digest
    here, words = Board(str(board.root)), signed(digest).request
    assert demand_statement(here, words, digest)
    for part, text in words.items():
        for index, bit in itertools.product(range(len(text)), BITS):
            with pytest.raises(BoardError) as refused:
                demand_statement(here, {**words, part: flip(text, index, bit(index))}, digest)
            assert refused.value.code == "untrusted"


def test_every_flipped_bit_of_a_release_is_another_release(board: TinyBoard) -> None:
    """What was signed is a digest: a manifest that differs anywhere is refused before a file is looked at."""
    wanted = release(board)
    manifest = wanted.release.manifest.decode()
    assert parse_manifest(manifest, wanted.digest)
    step = 1 if len(BITS) > 1 else 5
    for index, bit in itertools.product(range(0, len(manifest), step), BITS):
        with pytest.raises(BoardError) as refused:
            parse_manifest(flip(manifest, index, bit(index)), wanted.digest)
        assert refused.value.code == "bad-manifest"


def test_a_signature_has_one_spelling(board: TinyBoard) -> None:
    """Bytes behind it, base64 with line ends, and half a character are refused, not overlooked."""
    digest = release(board).digest
    here, words = Board(str(board.root)), signed(digest).request
    longer = base64.b64encode(base64.b64decode(words["signature"]) + b"\0").decode()
    for other in (longer, words["signature"] + "\n", words["signature"][:-4], ""):
        with pytest.raises(BoardError):
            demand_statement(here, {**words, "signature": other}, digest)
    with pytest.raises(BoardError):
        demand_statement(here, {**words, "statement": "\ud800"}, digest)


# One bit of each character, another one each; all of them take half a minute.
BITS = [lambda index: index % 7]
if FULL:
    BITS = [lambda _, bit=bit: bit for bit in range(8)]


def flip(text: str, index: int, bit: int) -> str:
    return text[:index] + chr(ord(text[index]) ^ (1 << bit)) + text[index + 1 :]


def test_a_board_is_given_back_only_if_that_was_signed(board: TinyBoard) -> None:
    """`leave` ends what was confirmed, so it takes a statement about nothing, made for going back."""
    wanted = release(board)
    bring(board, wanted, serial=10)
    other = signed("nothing", serial=10, back_from=9).request
    codes = [board.ask("leave", words).get("code") for words in ({}, other, signed(wanted.digest).request)]
    assert codes == ["untrusted", "older", "untrusted"]
    assert board.serves() == wanted.digest

    reply = board.ask("leave", signed("nothing", serial=10, back_from=10).request)
    assert (reply.get("state"), board.serves()) == ("left", None), reply
    assert board.ask("leave")["stayed"] is True

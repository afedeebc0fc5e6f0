"""What a board is asked, by whoever reaches it: read with suspicion, and answered in one line."""

import contextlib
import io
import json
import subprocess

import pytest
from tiny_board import DEVICE, TinyBoard

from fleetctl.device.activate import answer_verb, no_checkpoint
from fleetctl.device.board_error import BoardError
from fleetctl.device.call import Call, read_request
from fleetctl.device.layout import Board
from fleetctl.device.loader import Inflated
from fleetctl.device.release_files import parse_manifest
from fleetctl.store import sha256
from fleetctl.transports import wire

BAD_MANIFESTS = [
    '{"schema": "fleetctl.release/v1", "files": {"../x": {"sha256": "%s", "size": 1}}}' % ("0" * 64),
    '{"schema": "fleetctl.release/v1", "files": {"/etc/x": {"sha256": "%s", "size": 1}}}' % ("0" * 64),
    '{"schema": "fleetctl.release/v1", "files": {"a//b": {"sha256": "%s", "size": 1}}}' % ("0" * 64),
    '{"schema": "fleetctl.release/v1", "files": {"release.json": {"sha256": "%s", "size": 1}}}' % ("0" * 64),
    '{"schema": "fleetctl.release/v1", "files": {"a": {"sha256": "../../x", "size": 1}}}',
    '{"schema": "fleetctl.release/v1", "files": {"a": {"sha256": "%s", "size": -1}}}' % ("0" * 64),
    '{"schema": "fleetctl.release/v1", "files": ["a"]}',
    '{"schema": "other", "files": {}}',
    "[" * 100_000,
    "[]",
    "no json",
]


@pytest.mark.parametrize("text", BAD_MANIFESTS)
def test_a_manifest_that_reaches_outside_is_refused(text: str) -> None:
    """Whatever its digest, a manifest names files inside the release only."""
    with pytest.raises(BoardError) as refusal:
        parse_manifest(text, sha256(text.encode()))
    assert refusal.value.code == "bad-manifest"


def test_a_manifest_must_match_its_digest() -> None:
    """A release is what its digest says; half a character has none."""
    with pytest.raises(BoardError, match="does not match its digest"):
        parse_manifest("\ud800", "0" * 64)
    with pytest.raises(BoardError, match="does not match its digest"):
        parse_manifest("{}", "0" * 64)


def call_of(board: TinyBoard, line: bytes) -> Call:
    stream = io.BytesIO(line)
    request = read_request(stream)
    return Call(Board(str(board.root)), request, stream, no_checkpoint, "", False)


@pytest.mark.parametrize(
    ("verb", "line", "code"),
    [
        ("activate", b"", "bad-request"),
        ("activate", b"[1]\n", "bad-request"),
        ("activate", b"\xff\xfe\n", "bad-request"),
        ("activate", b"[" * 100_000 + b"\n", "bad-request"),
        ("activate", b'{"board": 1, "release": "x"}\n', "bad-request"),
        ("missing", b'{"blobs": ["../../etc/passwd"]}\n', "bad-request"),
        ("confirm", b'{"release": null}\n', "bad-request"),
        ("revert", b'{"to": "../../x"}\n', "bad-request"),
        ("revert", b"", "bad-request"),
        ("leave", b"\n", "bad-request"),
        ("logs", b'{"lines": true}\n', "bad-request"),
        ("history", b'{"last": -1}\n', "bad-request"),
        ("probe", b"{}\n", "nothing-active"),
    ],
)
def test_malformed_requests_get_a_reply(board: TinyBoard, verb: str, line: bytes, code: str) -> None:
    """Whatever is asked, the answer is one line of JSON and says what was wrong."""
    assert answer_verb(verb, lambda: call_of(board, line))["code"] == code


def test_an_order_that_is_cut_short_is_none() -> None:
    """Wherever a connection breaks: going back with no word of where to would leave what was confirmed."""
    script = wire.deflated(b"pass")
    sent = wire.standard_input(b"pass", {"to": None, "trial": "0" * 64, "reason": "no agreement"})
    for length in range(len(script), len(sent)):
        come = io.BufferedReader(Inflated(io.BufferedReader(io.BytesIO(sent[len(script) : length]))))
        with contextlib.suppress(BoardError):
            assert read_request(come)["trial"] == "0" * 64  # only the checksum behind it is lacking


def test_nothing_is_said_to_a_board_that_boots(board: TinyBoard) -> None:
    """Its init system runs `recover`, and has no request to make."""
    done = subprocess.run(
        [board.python, DEVICE / "activate.py", "recover", "--root", board.root],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout) == {"ok": True, "state": "clean", "current": None}

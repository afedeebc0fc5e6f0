"""What boards say is printed where it belongs, and looks like nothing that fleetctl says."""

import base64
import io
import json
import sys
import zlib
from functools import reduce

import pytest

from fleetctl.report.console import Talk, json_text, printable, table_text
from fleetctl.store import canonical_json
from fleetctl.transports import wire
from fleetctl.transports.iothub_fleet import Standing
from fleetctl.transports.wire import BoardFault

LIE = "down\nluxor-02  running\n✓ luxor-02: verified"


def test_no_board_adds_a_row_to_a_table() -> None:
    """A cell is one line, whatever the board said."""
    assert 2 == len(table_text(["board", "service"], [["luxor-01", LIE]]).splitlines())


def test_no_board_says_a_line_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines behind the first are set in: a mark at the beginning of a line is fleetctl's."""
    Talk().fail(f"luxor-01: {LIE}")
    first, *others = capsys.readouterr().err.splitlines()

    assert first.startswith("✗ luxor-01")
    assert others
    assert all(line.startswith("  ") for line in others)


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (rb'"\ud800"', "\ufffd"),  # half of a pair: no text that could be written down
        (rb'"\uDC00 \ud83d\ude00 \ud83d"', "\ufffd \U0001f600 \ufffd"),
        (rb'"\\ud800 \\\ud800"', "\\ud800 \\\ufffd"),
        (rb'{"\ud800": "\u00e4"}', {"\ufffd": "\u00e4"}),
    ],
)
def test_half_characters_of_a_board_are_made_whole(said: bytes, heard: object) -> None:
    """A journal, a digest and a webhook are UTF-8: no board's reply may end the rollout of all."""
    reply = wire.parse_reply("observe", b'{"ok": true, "said": ' + said + b"}")

    assert heard == reply["said"]
    assert canonical_json(reply)


@pytest.mark.parametrize("said", [b"1e999", b"-1e999", b"NaN", b'"\xed\xa0\x80"'])
def test_what_json_cannot_hold_is_no_reply(said: bytes) -> None:
    """An infinite number, or bytes that are no UTF-8, fail the board that sent them and no other."""
    with pytest.raises(BoardFault, match="is not a reply"):
        wire.parse_reply("observe", b'{"ok": true, "said": ' + said + b"}")


def test_what_is_too_deep_to_be_written_again_is_no_reply() -> None:
    """A journal, a digest and `-o json` come to it from further inside than whoever read it."""
    with pytest.raises(BoardFault, match="is not a reply"):
        wire.parse_reply("observe", b'{"ok": true, "said": ' + b"[" * 500 + b"]" * 500 + b"}")

    assert {} == wire.tamed({"said": [reduce(lambda inner, _: [inner], range(500), [])]})


@pytest.mark.parametrize(("said", "service"), [("\ud800", "\ufffd"), (float("inf"), None)])
def test_what_comes_over_a_hub_can_be_written_down_too(said: object, service: object) -> None:
    """A module packs what it observed as it likes."""
    packed = zlib.compress(json.dumps({"service": {"state": said}}).encode())
    board = Standing("karnak-07", said={"observation": {"p0": base64.b64encode(packed).decode()}})

    assert service == board.observation.get("service", {}).get("state")
    assert canonical_json(board.observation)


@pytest.mark.parametrize(
    ("character", "shown"),
    [
        ("\x1b", r"\x1b"),
        ("\r", r"\r"),
        ("\u202e", r"\u202e"),
        ("\U000e0041", r"\U000e0041"),
        ("\udcff", r"\xff"),
    ],
)
def test_a_character_that_is_not_printed_can_be_told(character: str, shown: str) -> None:
    """By what it is called elsewhere: `x202e` may be a space and two letters. A name's odd byte is one."""
    assert f"a{shown}b" == printable(f"a{character}b")


def test_json_that_terminals_do_not_obey(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a terminal would take for a command or a direction is escaped; its value stays what it was."""
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    said = {"line": "\x1b[2J \x9b2J \x7f \u202e \u2028 \ud800 ägypten"}
    text = json_text("fleetctl.logs/v1", said)

    assert all(character.isprintable() or character == "\n" for character in text)
    assert "ägypten" in text
    assert said["line"] == json.loads(text)["line"]

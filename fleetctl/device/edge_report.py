"""What an IoT Edge module says of itself in its twin, and how a controller reads it again.

A twin has no nulls, short texts and little room, so long values travel as JSON, packed, in pieces. What the
hub is asked for in queries (`release`, `state`, `answered`) stands beside them as it is.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any, Dict, Iterable, List, Mapping, Optional

SCHEMA = "fleetctl.iothub/v1"
SECTION = "fleetctl"  # of the reported properties
NAME = "@BOARD@"  # stands for the board's name in texts that are common to many boards

_PIECE = 4000  # characters; a twin's texts have at most 4096 bytes
_MOST_PIECES = 5
_ROOM = 7  # pieces of all that is said: a twin holds 32 KiB, and what stands beside them is small
_MOST_BYTES = 1 << 20  # of JSON; more is nothing that a board honestly says


def pack(value: Any, before: Iterable[str] = ()) -> Optional[Dict[str, Any]]:
    """`value` as pieces of text, null for pieces of `before` that are left over; None if it is too long."""
    raw = json.dumps(value, sort_keys=True).encode("utf-8")
    text = base64.b64encode(zlib.compress(raw, 9)).decode("ascii")
    pieces = [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]
    if len(pieces) > _MOST_PIECES:
        return None
    packed: Dict[str, Any] = dict.fromkeys(before)
    packed.update(("p%d" % number, piece) for number, piece in enumerate(pieces))
    return packed


def standing(packed: Optional[Mapping[str, Any]]) -> List[str]:
    """Names of the pieces that a twin has once it was told these."""
    return sorted(name for name, piece in (packed or {}).items() if piece is not None)


def has_room(packed: Optional[Mapping[str, Any]], beside: Mapping[str, Any]) -> bool:
    """Whether a twin holds these pieces beside those of something else."""
    return packed is not None and len(standing(packed)) + len(standing(beside)) <= _ROOM


def unpack(pieces: Any) -> Dict[str, Any]:
    """The JSON object of such pieces; an empty one where they are nothing of the kind."""
    if not isinstance(pieces, dict):
        return {}
    found = [pieces.get("p%d" % number) for number in range(_MOST_PIECES)]
    text = "".join(piece for piece in found if isinstance(piece, str))
    try:
        unpacker = zlib.decompressobj()
        raw = unpacker.decompress(base64.b64decode(text, validate=True), _MOST_BYTES)
        value = json.loads(raw.decode("utf-8")) if unpacker.eof else None
    except (ValueError, zlib.error, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def last_receipts(reply: Mapping[str, Any], room: int) -> Dict[str, Any]:
    """A reply to `history` that has at most so many bytes: without golden answers, and without the oldest."""
    if len(json.dumps(reply)) <= room or not isinstance(reply.get("receipts"), list):
        return dict(reply)
    found: List[Any] = []
    left = room - len(json.dumps(dict(reply, receipts=[])))
    for receipt in reversed(reply["receipts"]):
        told = {key: value for key, value in receipt.items() if key != "answers"}
        left -= len(json.dumps(told)) + len(", ")
        if left < 0:
            break
        found.append(told)
    return dict(reply, receipts=found[::-1])


def filled(text: str, board: str) -> str:
    """A text that is common to many boards, as it is on this one: the name stands in JSON there."""
    return text.replace(NAME, json.dumps(board, ensure_ascii=False)[1:-1])

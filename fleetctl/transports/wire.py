"""The words of docs/board-protocol.md as bytes: what goes to a board's standard input, and what comes back.

Nothing needs to be installed on a board beforehand: a script (see `board_script`) travels ahead of the
request on the same standard input, and any `python3` on the board runs it.
"""

import binascii
import contextlib
import json
import math
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NoReturn

from fleetctl.device.loader import FOLDED
from fleetctl.store import canonical_json
from fleetctl.transports.base import Reply, ReplyStatus

REPLY_LIMIT = 4 << 20  # bytes; the largest honest reply, ten thousand log lines, stays below
_DEEPEST = 64  # levels of a reply, of which an honest one has a few; what is deeper cannot be written again
_ERROR_LIMIT = 500  # characters of a board's words that reach a person
_PYTHON = ["python3", "-I", "-S"]  # nothing of the board's own changes what runs, and it starts sooner
_LAUNCH = "import sys,zlib;exec(compile(zlib.decompress(sys.stdin.buffer.read({size})),'activate.py','exec'))"
_TAR_BLOCK = 512
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]+")


_HIGH, _LOW = r"\\u[dD][89abAB][0-9a-fA-F]{2}", r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPE = re.compile(rf"\\\\|{_HIGH}{_LOW}|(?P<half>{_HIGH}|{_LOW})")

_HINTS = {
    "busy": "wait until that is over, and run the same command again",
    "no-space": "make room there: journals (`journalctl --vacuum-size=50M`), packages, old pictures",
    "environment-failed": "its interpreter is as it was: see to what it says, and bootstrap it again",
    "untrusted": "it trusts keys: whatever it is to run, or to go back to, has to be signed for it by name",
    "older": "`fleetctl rollout --back` goes back on purpose, where the history asks for it",
    "damaged-serial": "as root, write what `git rev-list --count --first-parent HEAD` says into that file",
}


class BoardFault(Exception):
    """Asking a board ended without a usable answer; the fields are those of the `Reply` to give."""

    def __init__(self, status: ReplyStatus, error: str, hint: str = "") -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.hint = hint

    def reply(self, board: str) -> Reply:
        """This fault as the answer of `board`."""
        return Reply(board, self.status, error=self.error, hint=self.hint)


class BoardSaidNo(BoardFault):
    """The board understood and declined: `{"ok": false, "code", "error"}`."""

    def __init__(self, verb: str, code: str, error: str) -> None:
        said = f"{verb}: {error}" if error else f"{verb}: {code}"
        super().__init__(ReplyStatus.FAILED, said, _HINTS.get(code, ""))
        self.code = code


def command(verb: str, root: str, script: bytes) -> list[str]:
    """The argv that runs `verb` on a board, reading `script` and then the request from standard input."""
    return [*_PYTHON, "-c", launch(script), verb, "--root", root]


def launch(script: bytes) -> str:
    """The Python that reads `script` from standard input, and runs it."""
    return _LAUNCH.format(size=len(deflated(script)))


def standard_input(script: bytes, request: Mapping[str, Any], payload: bytes = b"") -> bytes:
    """What a board reads: the script, the request as a line, and any bundle; deflated, member by member."""
    said = [zlib.compress(canonical_json(dict(request)), 9), *map(deflated, _members(payload))]
    return deflated(script) + b"".join(said)


def deflate_members(bundle: bytes) -> None:
    """Deflate what `standard_input` will be asked for, before processes are forked that would each do so."""
    for member in _members(bundle):
        deflated(member)


@lru_cache(maxsize=1024)
def deflated(data: bytes) -> bytes:
    """`data` as it is sent; deflated once in a process, however many boards are sent it."""
    return zlib.compress(data, 9)


def _members(tar: bytes) -> Iterator[bytes]:
    """The members of a tar with their headers, then its end; anything else in one piece."""
    start = 0
    with contextlib.suppress(tarfile.TarError):
        while start < len(tar):
            header = tarfile.TarInfo.frombuf(tar[start : start + _TAR_BLOCK], "ascii", "strict")
            end = start + _TAR_BLOCK + -(-header.size // _TAR_BLOCK) * _TAR_BLOCK
            yield tar[start:end]
            start = end
    yield tar[start:]


def parse_reply(verb: str, stdout: bytes) -> dict[str, Any]:
    """The reply of a board, from its last line: a login script may have talked before.

    Raises:
        BoardSaidNo: the board declined.
        BoardFault: it said something that is no reply.
    """
    if len(stdout) > REPLY_LIMIT:
        raise BoardFault(ReplyStatus.FAILED, f"{verb}: the board said more than {REPLY_LIMIT >> 20} MiB")
    lines = stdout.strip().splitlines()
    try:
        reply = _parsed(_unfolded(lines[-1]).decode()) if lines else None
    except (ValueError, RecursionError, zlib.error):
        reply = None
    if not isinstance(reply, dict) or not isinstance(reply.get("ok"), bool):
        raise BoardFault(ReplyStatus.FAILED, f"{verb}: the board's answer is not a reply: {_excerpt(stdout)}")
    if not reply["ok"]:
        raise BoardSaidNo(verb, printable(reply.get("code")), printable(reply.get("error")))
    return reply


def tamed(said: Mapping[str, Any]) -> dict[str, Any]:
    """What a board said on another way, as `parse_reply` would have read it; empty if it would not."""
    try:
        return dict(_parsed(json.dumps(dict(said))))
    except (ValueError, RecursionError):
        return {}


def _parsed(text: str) -> Any:
    """JSON as it can be written again, in UTF-8: no half characters or infinite numbers, not too deep."""
    whole = _ESCAPE.sub(_whole, text) if "\\u" in text else text
    said = json.loads(whole, parse_constant=_refuse_constant, parse_float=_finite)
    if _is_deeper(said, _DEEPEST):
        raise ValueError("nested too deeply")
    return said


def _is_deeper(said: object, levels: int) -> bool:
    inner = said.values() if isinstance(said, dict) else said if isinstance(said, list) else ()
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner if isinstance(each, dict | list))


def _whole(escape: re.Match[str]) -> str:
    return r"\ufffd" if escape["half"] else escape[0]


def _finite(figure: str) -> float:
    number = float(figure)
    return number if math.isfinite(number) else _refuse_constant(figure)


def _unfolded(line: bytes) -> bytes:
    """A reply that a sent script may have deflated; cut off where it would be no honest one."""
    if not line.startswith(FOLDED.encode()):
        return line
    return zlib.decompressobj().decompress(binascii.a2b_base64(line[len(FOLDED) :]), REPLY_LIMIT)


def printable(said: object, limit: int = _ERROR_LIMIT) -> str:
    """What a board said, fit for a terminal: one line, no control or direction characters, not endless."""
    text = said if isinstance(said, str) else "" if said is None else str(said)
    text = _UNPRINTABLE.sub(" ", text[: limit * 4]).strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _excerpt(stdout: bytes) -> str:
    said = stdout.strip()
    return repr(printable(said[:200].decode(errors="replace"), 120)) if said else "nothing"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")

"""Whose releases this board takes: those that a key it trusts signed for it, by name, and that are not older.

What is signed is a statement: this board of this fleet is to run this release, as of this place in git's
history. A board that was given no keys takes what it is brought. Verifying is left to OpenSSL's own command.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
from typing import Any, Dict, List, NamedTuple, Optional

from .board_error import BoardError
from .durable import atomic_write, remove
from .files import Json, names, read_json, to_json
from .layout import Board

STATEMENT_LIMIT = 4096  # characters
SIGNATURE_LIMIT = 72  # bytes: the longest a DER signature on P-256 can be
SERIAL_LIMIT = 1 << 53
SERIAL_RECORD = re.compile(rb"[0-9]{1,16}\n\Z")
NOTHING = "nothing"  # the release of a board that is given back to what ran on it before
PATIENCE_S = 30.0

# How every public key on the curve P-256 begins in DER (RFC 5480); 64 bytes of a point follow.
P256_HEAD = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")


class Trust(NamedTuple):
    """Who this board is, and the fingerprints of the keys that may say what it runs."""

    fleet: str
    board: str
    keys: List[str]


def trust_of(board: Board) -> Optional[Trust]:
    """None for a board that was never given keys; one whose record is damaged trusts no key at all."""
    path = os.path.join(board.trust, "trust.json")
    if not os.path.lexists(path):
        return None
    record = read_json(path)
    keys = record.get("keys")
    whole = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    return Trust(str(record.get("fleet")), str(record.get("board")), keys if whole and keys else [])


def described_trust(board: Board) -> Optional[Dict[str, Any]]:
    trust = trust_of(board)
    if trust is None:
        return None
    try:
        serial = highest_serial(board)
    except BoardError:
        serial = None  # whoever brings a release is told
    return dict(trust._asdict(), serial=serial)


# taking a release


def demand_statement(board: Board, request: Json, digest: str) -> Optional[Dict[str, Any]]:
    """Who signed that this board is to run the release, and as of when; None where nobody has to.

    Returns `{"key", "serial", "back_from"}`; the statement was about this board and this release.

    Raises:
        BoardError: `untrusted`.
    """
    trust = trust_of(board)
    if trust is None:
        return None
    if not trust.keys:
        raise BoardError("untrusted", "this board's record of the keys it trusts is damaged")
    text, signature = request.get("statement"), request.get("signature")
    if not isinstance(text, str) or not isinstance(signature, str):
        raise BoardError("untrusted", "this board takes only signed releases, and nothing was signed for it")
    key = signer_of(board, trust, text, signature)
    if key is None:
        raise BoardError(
            "untrusted", "none of the %d keys that this board trusts signed this" % len(trust.keys)
        )
    return dict(words_of(trust, text, request, digest), key=key)


def words_of(trust: Trust, text: str, request: Json, digest: str) -> Dict[str, Any]:
    """`serial` and `back_from` of a verified statement about this board, this release and this request.

    Raises:
        BoardError: `untrusted`; it is about something else.
    """
    said = parse_statement(text)
    wanted = {"fleet": trust.fleet, "board": trust.board, "release": digest}
    for name, value in wanted.items():
        if said.get(name) != value:
            raise BoardError(
                "untrusted", "what was signed is about %s %.80s, not %s" % (name, said.get(name), value)
            )
    for name in ("board", "commit"):  # they go into the receipt
        if request.get(name, said.get(name)) != said.get(name):
            raise BoardError("untrusted", "the order's %s is not the one that was signed" % name)
    return {"serial": said["serial"], "back_from": said["back_from"]}


def refuse_older(board: Board, signed: Optional[Json], digest: str) -> None:
    """Raises `older` for a release from before what this board confirmed, unless going back was signed.

    Where the board cannot tell what it confirmed, any but the good one may be older: `damaged-serial`.
    """
    if signed is None or digest == board.good:
        return
    highest = highest_serial(board)
    if highest is None:
        return
    if signed["serial"] < highest and not may_go_back(highest, signed):
        raise BoardError(
            "older",
            "release %s was signed as number %d of the history, and this board has confirmed number %d"
            % (digest[:12], signed["serial"], highest),
        )


def demand_return(board: Board, request: Json, digest: str) -> Optional[Dict[str, Any]]:
    """Who signed that this board may leave a confirmed release for another; None where nobody has to.

    Args:
        digest: of the release that it goes to, or `NOTHING`.

    Raises:
        BoardError: `untrusted`, `damaged-serial`, or `older` where that was not signed for from here.
    """
    signed = demand_statement(board, request, digest)
    if signed is not None and not may_go_back(highest_serial(board), signed):
        raise BoardError("older", "%s was signed, but not for going back to it from here" % digest[:12])
    return signed


def may_go_back(highest: Optional[int], signed: Json) -> bool:
    """Whether going back was signed for, from where this board stands now: it cannot be replayed later."""
    back_from = signed["back_from"]
    return back_from is not None and (highest or 0) <= back_from


def highest_serial(board: Board) -> Optional[int]:
    """The latest place in history that this board confirmed a signed release of; None before the first.

    Raises:
        BoardError: `damaged-serial`. No receipt stands in for the record: any of them may be lost as well.
    """
    path = board.in_state("serial")
    try:
        with open(path, "rb") as stream:
            said = stream.read(64)
    except FileNotFoundError:
        return None
    except OSError:  # a card that fails
        said = b""
    if not SERIAL_RECORD.match(said):
        raise BoardError(
            "damaged-serial",
            "%s, where this board keeps how far in history it came, is damaged: any release may be older"
            % path,
        )
    return int(said)


def note_serial(board: Board, signed: Optional[Json]) -> None:
    """A signed release was confirmed: from now on older ones are refused."""
    serial = signed.get("serial") if signed else None
    if not isinstance(serial, int):
        return
    try:
        highest = highest_serial(board)
    except BoardError:
        return  # it stays damaged: this number may be below the one that was lost
    if highest is None or serial > highest:
        atomic_write(board.in_state("serial"), b"%d\n" % serial)


# signatures


def signer_of(board: Board, trust: Trust, text: str, signature: str) -> Optional[str]:
    """Fingerprint of the trusted key that signed a text; None where none did."""
    import shutil  # slow to import: only where somebody signs

    try:
        message, raw = text.encode("utf-8"), base64.b64decode(signature, validate=True)
    except ValueError:  # half a character, or no base64
        return None
    strict = base64.b64encode(raw).decode() == signature  # one signature has one spelling
    if not strict or len(text) > STATEMENT_LIMIT or len(raw) > SIGNATURE_LIMIT:
        return None
    openssl = shutil.which("openssl")
    if openssl is None:
        raise BoardError("untrusted", "a signature cannot be verified here: openssl is not installed")
    for key in trust.keys:
        path = os.path.join(board.trust, "%s.pem" % key)
        if is_whole_key(path, key) and verifies(openssl, path, message, raw):
            return key
    return None


def is_whole_key(path: str, fingerprint: str) -> bool:
    try:
        with open(path, encoding="ascii") as stream:
            return fingerprint_of(stream.read()) == fingerprint
    except (OSError, ValueError, BoardError):
        return False


def verifies(openssl: str, key: str, message: bytes, signature: bytes) -> bool:
    """ECDSA on P-256 over SHA-256. The signature goes through a pipe, so nothing is written for it."""
    import subprocess  # slow to import: as above

    reader, writer = os.pipe()
    try:
        os.write(writer, signature)  # shorter than any pipe
        os.close(writer)
        argv = [openssl, "dgst", "-sha256", "-verify", key, "-signature", "/dev/fd/%d" % reader]
        done = subprocess.run(
            argv,
            input=message,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=PATIENCE_S,
            pass_fds=(reader,),
            env={"LC_ALL": "C", "OPENSSL_CONF": os.devnull},  # nobody's settings change what verifies
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BoardError("untrusted", "a signature cannot be verified here: %s" % error) from None
    finally:
        os.close(reader)
    return done.returncode == 0 and done.stdout.strip() == b"Verified OK"


def parse_statement(text: str) -> Dict[str, Any]:
    """A statement that was verified; it may still be one for another program, or for another version."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or said.get("schema") != "fleetctl.statement/v1":
        raise BoardError("untrusted", "what was signed is not a fleetctl.statement/v1")
    if not is_serial(said.get("serial")) or not (
        said.get("back_from") is None or is_serial(said["back_from"])
    ):
        raise BoardError("untrusted", "what was signed has no place in history")
    said.setdefault("back_from", None)
    return said


def is_serial(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < SERIAL_LIMIT


# being given keys


def fingerprint_of(pem: str) -> str:
    """sha256 of a public key's DER form; raises `bad-request` for anything but one key on P-256."""
    lines = pem.strip().splitlines()
    if len(lines) < 3 or lines[0] != "-----BEGIN PUBLIC KEY-----" or lines[-1] != "-----END PUBLIC KEY-----":
        raise BoardError("bad-request", "a key is not a public key in PEM")
    try:
        der = base64.b64decode("".join(lines[1:-1]), validate=True)
    except binascii.Error:
        der = b""
    if not der.startswith(P256_HEAD) or len(der) != len(P256_HEAD) + 64:
        raise BoardError("bad-request", "a key is not on the curve P-256")
    return hashlib.sha256(der).hexdigest()


def ensure_trust(board: Board, said: Any) -> bool:
    """Trust exactly these keys, as this board of this fleet; true if that took a change.

    Args:
        said: `{"fleet", "board", "keys": [PEM]}`, at least one key: no request makes a board trust nobody.
    """
    keys = said.get("keys") if isinstance(said, dict) else None
    if not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
        raise BoardError("bad-request", "trust names no keys")
    if not isinstance(said.get("fleet"), str) or not isinstance(said.get("board"), str):
        raise BoardError("bad-request", "trust names no board of a fleet")
    texts = {fingerprint_of(pem): pem.strip().encode("ascii") + b"\n" for pem in keys}
    wanted = Trust(said["fleet"], said["board"], sorted(texts))
    whole = all(is_whole_key(os.path.join(board.trust, "%s.pem" % key), key) for key in texts)
    if whole and trust_of(board) == wanted:
        return False
    os.makedirs(board.trust, mode=0o755, exist_ok=True)
    for key, text in texts.items():
        atomic_write(os.path.join(board.trust, "%s.pem" % key), text, 0o444)
    # Keys count once this names them: a crash before leaves the old trust, one after it the new.
    record = dict(wanted._asdict(), schema="fleetctl.trust/v1")
    atomic_write(os.path.join(board.trust, "trust.json"), to_json(record))
    for name in names(board.trust):
        if name.endswith(".pem") and name[:-4] not in texts:
            remove(os.path.join(board.trust, name))
    return True

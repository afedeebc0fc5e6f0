"""Whom a simulated board trusts: words of `device.trust`, with our library in place of OpenSSL's command."""

import base64
from collections.abc import Mapping
from typing import Any

from fleetctl.device import trust as on_board
from fleetctl.device.board_error import BoardError
from fleetctl.signing.keys import PublicKey, parse_public, verifies
from fleetctl.transports.wire import BoardSaidNo

Trust = Mapping[str, Any]  # fleet, board, keys: PEM


def described(trust: Trust | None, serial: int | None) -> dict[str, Any] | None:
    """What the verb `observe` says of it."""
    if trust is None:
        return None
    return {**trust, "keys": sorted(map(on_board.fingerprint_of, trust["keys"])), "serial": serial}


def demand(trust: Trust | None, request: Mapping[str, Any], release: str) -> dict[str, Any] | None:
    """Who signed that the board is to run a release; None where nobody has to.

    Raises:
        BoardSaidNo: `untrusted`.
    """
    if trust is None:
        return None
    text, signature = str(request.get("statement", "")), str(request.get("signature", ""))
    keys = (parse_public(pem, "a simulated board") for pem in trust["keys"])
    signer = next((key for key in keys if _is_by(key, text, signature)), None)
    if signer is None:
        raise BoardSaidNo("activate", "untrusted", "no key that this board trusts signed this release")
    known = on_board.Trust(trust["fleet"], trust["board"], [signer.fingerprint])
    try:
        return {**on_board.words_of(known, text, request, release), "key": signer.fingerprint}
    except BoardError as error:
        raise BoardSaidNo("activate", error.code, str(error)) from None


def refuse_older(signed: Mapping[str, Any] | None, highest: int | None, *, is_good: bool) -> None:
    """Raises `older` for what is from before what was confirmed, unless going back was signed for."""
    if signed is None or highest is None or is_good or signed["serial"] >= highest:
        return
    refuse_unasked(signed, highest)


def refuse_unasked(signed: Mapping[str, Any] | None, highest: int | None) -> None:
    """Raises `older` where going back is at stake and was not signed for."""
    if signed and not on_board.may_go_back(highest, signed):
        said = f"number {signed['serial']} of the history; this board has confirmed number {highest}"
        raise BoardSaidNo("activate", "older", said)


def _is_by(key: PublicKey, text: str, signature: str) -> bool:
    try:
        return verifies(key, text.encode(), base64.b64decode(signature, validate=True))
    except ValueError:
        return False

"""Keys and statements for tests of boards that take only signed releases."""

import base64
from typing import Any

from msgspec.structs import replace

from fleetctl.signing.keys import PrivateKey, make_key
from fleetctl.signing.statement import Signed, Statement

KEY, OTHER_KEY, STRANGER = make_key(), make_key(), make_key()


def trust_in(*keys: PrivateKey, board: str = "luxor-01", fleet: str = "unas") -> dict[str, Any]:
    """What `prepare` is asked for, to make a board trust these keys."""
    return {"fleet": fleet, "board": board, "keys": [key.public.pem for key in keys]}


def signed(release: str, key: PrivateKey = KEY, **changes: Any) -> Signed:
    """A statement about a release, signed; any word of it may be another."""
    statement = Statement("unas", "luxor-01", release, "c0ffee", 10)
    return sign_text(replace(statement, **changes).text, key)


def sign_text(text: bytes, key: PrivateKey = KEY) -> Signed:
    return Signed(text.decode(), base64.b64encode(key.sign(text)).decode())

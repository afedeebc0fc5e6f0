"""Shared access signatures, as Azure IoT Hub wants them: who signed, for what, and until when."""

import base64
import binascii
import hashlib
import hmac
import urllib.parse

from msgspec import Struct

from fleetctl.lab.iothub.refusal import HubRefusal

_PREFIX = "SharedAccessSignature "


class Signature(Struct, frozen=True):
    """A token taken apart; `resource` as it was quoted, `expiry` in seconds since the epoch."""

    resource: str
    signature: str
    expiry: float
    policy: str

    @classmethod
    def parse(cls, token: str) -> "Signature":
        """Raises `HubRefusal` where the token has not the form."""
        if not token.startswith(_PREFIX):
            raise _unauthorized("the token is no shared access signature")
        pairs = (word.partition("=") for word in token[len(_PREFIX) :].split("&"))
        words = {name: value for name, _, value in pairs}
        try:
            return cls(
                words["sr"],
                urllib.parse.unquote(words["sig"]),
                float(words["se"]),
                urllib.parse.unquote(words.get("skn", "")),
            )
        except (KeyError, ValueError) as error:
            raise _unauthorized("the token lacks a field") from error

    def check(self, keys: list[str], resource: str, now: float) -> None:
        """Raise `HubRefusal` unless one of `keys` (base64) signed this for `resource`, or what it lies in."""
        if self.expiry <= now:
            raise _unauthorized(f"the token expired {now - self.expiry:.0f} seconds ago")
        if not _covers(urllib.parse.unquote(self.resource), resource):
            raise _unauthorized(f"the token is not for {resource}")
        if not any(hmac.compare_digest(self.signature, sign(key, self._signed())) for key in keys):
            raise _unauthorized("the token is signed with another key")

    def _signed(self) -> str:
        return f"{self.resource}\n{int(self.expiry)}"


def sign(key: str, text: str) -> str:
    """The base64 HMAC-SHA256 of `text` under a base64 `key`; empty where the key is no base64."""
    try:
        secret = base64.b64decode(key, validate=True)
    except binascii.Error:
        return ""
    return base64.b64encode(hmac.digest(secret, text.encode(), hashlib.sha256)).decode()


def token(resource: str, key: str, *, expiry: float, policy: str = "") -> str:
    """A shared access signature for `resource`."""
    quoted = urllib.parse.quote_plus(resource)
    signature = urllib.parse.quote(sign(key, f"{quoted}\n{int(expiry)}"), safe="")
    named = f"&skn={urllib.parse.quote(policy)}" if policy else ""
    return f"{_PREFIX}sr={quoted}&sig={signature}&se={int(expiry)}{named}"


def _covers(scope: str, resource: str) -> bool:
    scope, resource = scope.rstrip("/").lower(), resource.rstrip("/").lower()
    return resource == scope or resource.startswith(f"{scope}/")


def _unauthorized(why: str) -> HubRefusal:
    return HubRefusal(401, "IotHubUnauthorizedAccess", why)

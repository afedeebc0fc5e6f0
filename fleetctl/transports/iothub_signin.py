"""How fleetctl signs in to a hub: by a connection string of the environment, or by Entra ID."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from fleetctl.errors import UsageError

CONNECTION_STRING = "FLEETCTL_IOTHUB_CONNECTION_STRING"
HOST = "FLEETCTL_IOTHUB_HOST"
_PARTS = ("HostName", "SharedAccessKeyName", "SharedAccessKey")
_HINT = f"set {CONNECTION_STRING}, or write `iothub: {{host: ...}}` in fleet.yaml to sign in with Entra ID"


@dataclass(frozen=True, slots=True)
class SignIn:
    """The hub's host, and the connection string where it is not Entra ID that lets us in."""

    host: str
    connection_string: str = field(default="", repr=False)  # holds a key


def sign_in(environment: Mapping[str, str], host: str = "") -> SignIn:
    """How to sign in; `host` is the hub that the manifest names.

    Raises:
        UsageError: the environment does not say, or says it wrongly; no message repeats what may be a key.
    """
    text, named = environment.get(CONNECTION_STRING, "").strip(), environment.get(HOST, "").strip()
    if text and named:
        raise UsageError(f"{CONNECTION_STRING} and {HOST} are both set", hint="set one of them")
    if text:
        return SignIn(_host(text), text)
    if named or host:
        return SignIn(named or host)
    raise UsageError("nothing says which IoT Hub to use", hint=_HINT)


def _host(text: str) -> str:
    parts = dict(re.findall(r"(\w+)=([^;]+)", text))
    if missing := [name for name in _PARTS if not parts.get(name)]:
        raise UsageError(
            f"{CONNECTION_STRING} has no {missing[0]}",
            hint=f"copy it from the hub's shared access policies: {'=...;'.join(_PARTS)}=...",
        )
    return str(parts["HostName"])

"""How fleetctl signs in to a hub: by a connection string of the environment, or by Entra ID."""

from collections import Counter
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
        parts = _parts(text)
        return SignIn(parts["HostName"], ";".join(f"{name}={parts[name]}" for name in _PARTS))
    if named or host:
        return SignIn(named or host)
    raise UsageError("nothing says which IoT Hub to use", hint=_HINT)


def _parts(text: str) -> dict[str, str]:
    """The parts that matter: of any other, and of a `;` too many, the SDK has but a ValueError to say."""
    pairs = [part.partition("=")[::2] for part in text.split(";")]
    found, times = dict(pairs), Counter(name for name, _ in pairs)
    hint = f"copy it from the hub's shared access policies: {'=...;'.join(_PARTS)}=..."
    for name in _PARTS:
        if not found.get(name):
            raise UsageError(f"{CONNECTION_STRING} has no {name}", hint=hint)
        if times[name] > 1:
            raise UsageError(f"{CONNECTION_STRING} has {name} twice", hint=hint)
    return found

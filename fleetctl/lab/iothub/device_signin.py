"""How devices and modules sign in: by token, or by a certificate of the CA's or of the registry's."""

import contextlib
import math
from typing import Any, Protocol

from msgspec import Struct

from fleetctl.lab.iothub.authority import thumbprint
from fleetctl.lab.iothub.device_topics import Username
from fleetctl.lab.iothub.hub import Hub
from fleetctl.lab.iothub.identities import Identity
from fleetctl.lab.iothub.refusal import HubRefusal
from fleetctl.lab.iothub.signin import Signature


class Session(Protocol):
    """What a client said when it connected."""

    client_id: str | None
    username: str | None
    password: str | None
    ssl_object: Any


class SignedIn(Struct, frozen=True):
    """Who it is, and until when (on the hub's clock)."""

    identity: Identity
    expiry: float


def sign_in(hub: Hub, host: str, session: Session, now: float) -> SignedIn:
    """Who is at the other end.

    Raises:
        HubRefusal: it is not who it says, or may not.
    """
    user = Username.parse(session.username or "")
    if user is None or user.host.lower() != host.lower():
        raise _no("the user name does not name this hub and a device")
    identity = hub.find(user.device, user.module)
    if session.client_id != identity.client:
        raise _no("the client's id is not that of the user name")
    if not hub.device(user.device).is_enabled:
        raise _no(f"device {user.device} is disabled")
    if session.password:
        return SignedIn(identity, _check_token(identity, host, session.password, now))
    _check_certificate(identity, session.ssl_object)
    return SignedIn(identity, math.inf)


def _check_token(identity: Identity, host: str, token: str, now: float) -> float:
    if identity.way != "sas":
        raise _no(f"{identity.client} signs in by certificate")
    signature = Signature.parse(token)
    signature.check(identity.keys, f"{host}/{identity.path}", now)
    return signature.expiry


def _check_certificate(identity: Identity, tls: Any) -> None:
    """TLS has made sure already that the CA signed whatever certificate there is."""
    certificate = tls.getpeercert(True) if tls is not None else None
    if certificate is None:
        raise _no("there is neither token nor certificate")
    if identity.way == "certificateAuthority":
        if _common_name(tls.getpeercert()) != identity.device:
            raise _no("the certificate is another device's")
    elif identity.way == "selfSigned":
        if not {thumbprint(certificate), thumbprint(certificate, sha1=True)} & set(identity.thumbprints):
            raise _no("the certificate's thumbprint is not registered")
    else:
        raise _no(f"{identity.client} signs in by token")


def _common_name(certificate: Any) -> str:
    with contextlib.suppress(KeyError, TypeError, ValueError):
        return str(dict(pair for part in certificate["subject"] for pair in part)["commonName"])
    return ""


def _no(why: str) -> HubRefusal:
    return HubRefusal(401, "IotHubUnauthorizedAccess", why)

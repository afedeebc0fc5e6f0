"""How registries are spoken with: patiently, and by plain http on loopback only.

A registry says where to send a blob, where to get a token and where to ask instead. All of that is a
stranger's word, so a request is looked at where it is sent, not where its address was read.
"""

import ipaddress
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from fleetctl.remotes.base import RemoteError, RemoteRefused

if TYPE_CHECKING:
    import requests

_TIMEOUT = 60  # seconds without a byte


def careful(session: "requests.Session", host: str) -> "requests.Session":
    """`session`, with requests that end when nothing comes any more, and go only where they may.

    They raise `RemoteRefused` before anything is sent where others could read it, and `RemoteError` where
    they are led to what is no address.

    Args:
        host: the registry's, with its port; what it asks for, and each redirect, is held against it.
    """
    from requests.adapters import HTTPAdapter

    class Careful(HTTPAdapter):
        def send(self, request: Any, *rest: Any, **options: Any) -> Any:
            _demand_private(request.url, host)
            timeout = options.get("timeout") or _TIMEOUT
            reply = super().send(request, *rest, **{**options, "timeout": timeout})
            if reply.is_redirect:
                _demand_way(reply, host)
            return reply

    session.trust_env = not is_local(host)  # no proxy for what is on this machine
    session.auth = _as_it_is  # else a .netrc would take the place of a token, and its `default` go anywhere
    session.rebuild_auth = partial(_redirect, session)  # type: ignore[method-assign]
    for scheme in ("https://", "http://"):
        session.mount(scheme, Careful())
    return session


def origin(host: str) -> str:
    """The address of a registry by its host and port."""
    return f"{'http' if is_local(host) else 'https'}://{host}"


def is_local(host: str) -> bool:
    """Whether a host, which may come with a port, is this machine."""
    return _is_loopback(host.partition(":")[0])


def demand_address(url: str, name: str) -> SplitResult:
    """The parts of an address that the registry `name` gave.

    Raises:
        RemoteError: it is none.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # which is looked at only now
    except ValueError as error:
        raise nonsense(name, f"{url[:100]!r} as an address") from error
    return parts


def nonsense(name: str, what: str) -> RemoteError:
    """The error of a registry whose answer means nothing."""
    return RemoteError(
        f"{name} answers nonsense: {what}",
        hint="is it a registry? look at the address, and at what stands between",
    )


def is_at(url: str, host: str) -> bool:
    """Whether an address is the registry's own, whose credentials are for nobody beside it."""
    parts, own = demand_address(url, host), urlsplit(origin(host))
    port = {"https": 443, "http": 80}
    return (parts.scheme, parts.hostname, parts.port or port.get(parts.scheme)) == (
        own.scheme,
        own.hostname,
        own.port or port[own.scheme],
    )


def _as_it_is(request: Any) -> Any:
    return request


def _redirect(session: "requests.Session", request: Any, reply: "requests.Response") -> None:
    """What `requests` does of itself, but for the .netrc that it looks into for the new host."""
    if session.should_strip_auth(reply.request.url, request.url):  # type: ignore[no-untyped-call]
        request.headers.pop("Authorization", None)


def _demand_private(url: str, host: str) -> None:
    """Raise where others could read what is sent.

    A distant registry is not followed to loopback by http either: its password is not for what listens here.
    """
    parts = demand_address(url, host)
    if parts.scheme == "https" or (is_local(host) and _is_loopback(parts.hostname or "")):
        return
    there = parts.netloc.rpartition("@")[2]
    raise RemoteRefused(
        f"{host} leads to http://{there}, where nothing was sent: plain http is spoken on loopback only",
        hint="have it name https there; behind a proxy a registry learns of https by X-Forwarded-Proto",
    )


def _demand_way(redirect: "requests.Response", host: str) -> None:
    try:
        demand_address(redirect.headers["Location"], host)
    except RemoteError:
        redirect.raw.drain_conn()  # else the connection stays open until it is collected
        redirect.close()
        raise


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

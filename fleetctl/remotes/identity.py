"""Who one is to a registry, as `oras` has it of a login or is told, and which hosts may hear of it."""

import json
import os
from pathlib import Path
from typing import Any

from fleetctl.remotes.base import RemoteRefused
from fleetctl.remotes.sessions import careful, is_at, is_local, origin

LOG_IN = "set FLEETCTL_REGISTRY_USER and FLEETCTL_REGISTRY_PASSWORD, or `docker login`"
# What oras raises where a demand for credentials names no realm, or what it is given there is no token.
CREDULITY = (AttributeError, TypeError, RecursionError)


def client(host: str, repository: str, credentials: tuple[str, str] | None) -> Any:
    """A client of `oras` that answers the registry's demand for credentials, if it has any.

    Raises:
        requests.RequestException: the registry cannot be reached.
        RemoteError: it leads to where nothing may be sent.
        ValueError: it demands a password, and there is none.
    """
    import oras.provider
    import requests

    with careful(requests.Session(), host) as session:
        demand = session.get(f"{origin(host)}/v2/").headers.get("WWW-Authenticate", "")
    basic = demand.lower().startswith("basic")
    made = oras.provider.Registry(
        hostname=host, insecure=is_local(host), auth_backend="basic" if basic else "token"
    )
    careful(made.session, host)
    if credentials:
        made.auth.set_basic_auth(*credentials)
    else:
        _log_in(made, f"{host}/{repository}")
    if basic and not getattr(made.auth, "_basic_auth", None):
        raise ValueError("a password is demanded")
    return made


def _log_in(client: Any, repository: str) -> None:
    """Take what `docker login` left, if it left anything."""
    path = _docker_config()
    if path is None:
        return
    try:
        client.auth._auth_config = _logins(path)  # oras would look into the home folder alone
        client.auth.load_configs(client.get_container(repository))
    except (OSError, ValueError, LookupError, *CREDULITY) as error:
        raise RemoteRefused(
            f"what `docker login` left in {path} cannot be read: {error}",
            hint=f"mend it, or {LOG_IN}",
        ) from error


def _docker_config() -> Path | None:
    """Where docker keeps logins; None for a user without a home."""
    if folder := os.environ.get("DOCKER_CONFIG"):
        return Path(folder, "config.json")
    try:
        return Path.home() / ".docker" / "config.json"
    except RuntimeError:
        return None


def _logins(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_bytes())
    except FileNotFoundError:
        said = {}
    return {
        "auths": dict(said.get("auths") or {}),
        "credHelpers": dict(said.get("credHelpers") or {}),
        "credsStore": said.get("credsStore"),
    }


def request(client: Any, url: str, method: str, *, headers: dict[str, str], **how: Any) -> Any:
    """One request to a registry, and once more with what it demands for it.

    oras would try it six times in two minutes, also what is refused; it would answer each demand with the
    token that it has, be that too old or for less; and it would tell every host that the registry leads to.

    Raises:
        ValueError: there is nothing to answer the demand with.
    """
    if not is_at(url, client.hostname):
        return client.session.request(method, url, headers=headers, **how)
    known = {**headers, **client.auth.get_auth_header()}
    reply = client.session.request(method, url, headers=known, **how)
    if reply.status_code not in (401, 403) or not is_at(reply.url, client.hostname):
        return reply
    reply.close()
    client.auth.token = None
    headers, changed = client.auth.authenticate_request(reply, headers)
    if not changed:
        raise ValueError("no answer to a demand for credentials")
    return client.session.request(method, url, headers=headers, **how)

"""Delivers notifications to an address of the environment's: signed, retried, and not twice.

`FLEETCTL_WEBHOOK` is the address (https, or http on this machine), `FLEETCTL_WEBHOOK_SECRET` signs what is
sent. Neither is ever written down or said. What cannot be delivered is warned of and never stops a rollout.
"""

import contextlib
import hashlib
import hmac
import http.client
import json
import queue
import re
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fleetctl.children import WEBHOOK as ADDRESS
from fleetctl.children import WEBHOOK_SECRET as SECRET
from fleetctl.errors import UsageError, WriteError
from fleetctl.notifications import Notification
from fleetctl.store import atomic_write, canonical_json

_TIMEOUT_S = 10.0
_PAUSES_S = (1.0, 4.0, 15.0)  # before the second, third and fourth try
_LONGEST_S = 60.0  # that a receiver may ask us to wait
_PATIENCE_S = 90.0  # for what is still under way when the work is over
_SOON_S = 3.0  # that nobody wonders about, and all that there is where somebody wants an end
_REMEMBERED_S = 7 * 86400.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PRINTABLE = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True, repr=False)
class Webhook:
    """Where to, and with what to sign. Has no `repr`: both may be secrets."""

    address: str
    secret: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Webhook | None":
        """The webhook that the environment names, if it does.

        Raises:
            UsageError: the address is not one to send to, or the secret is missing. Neither is repeated.
        """
        address, secret = environment.get(ADDRESS, ""), environment.get(SECRET, "")
        if not address:
            return None
        _check(address)
        if not secret:
            raise UsageError(
                f"{SECRET} is not set", hint="receivers need it to tell our messages from other people's"
            )
        return cls(address, secret)

    def headers(self, body: bytes, now: float, key: str) -> dict[str, str]:
        """What goes with a message: `sha256=` and the HMAC of the time, a dot and the body."""
        stamp = str(int(now))
        signed = hmac.new(self.secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
        return {
            "Content-Type": "application/json",
            "User-Agent": "fleetctl",
            "X-Fleetctl-Delivery": key,
            "X-Fleetctl-Timestamp": stamp,
            "X-Fleetctl-Signature-256": f"sha256={signed}",
        }


def _check(address: str) -> None:
    """Refuse what is no address to send to, without a word of it: the library names what it stumbles over."""
    if not _PRINTABLE.fullmatch(address):
        hint = "a space, and what is not ASCII, is written as %XX"
        raise UsageError(f"{ADDRESS} has a character that no address has", hint=hint)
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port  # which is read where it is asked for
    except ValueError:
        hint = "https://HOST:PORT/PATH, with a number as port, or without one"
        raise UsageError(f"{ADDRESS} is no https address", hint=hint) from None
    if "@" in parts.netloc:
        hint = f"name the receiver alone: what it is sent is signed with {SECRET}"
        raise UsageError(f"{ADDRESS} has a user or a password in it", hint=hint)
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)):
        hint = "plain http is taken on this machine only"
        raise UsageError(f"{ADDRESS} is no https address", hint=hint)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A message is for its address, and for nobody that the address names."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def send(webhook: Webhook, notification: Notification, sleep: Callable[[float], None] = time.sleep) -> str:
    """Deliver one notification, trying again where that may help; returns why it failed, or empty."""
    body = canonical_json(notification.to_json())
    failure, asked = "", 0.0
    for pause in (0.0, *_PAUSES_S):
        sleep(max(pause, min(asked, _LONGEST_S)))
        failure, wait = _try(webhook, body, notification.key)
        if not failure or wait is None:
            return failure
        asked = wait
    return failure


def _try(webhook: Webhook, body: bytes, key: str) -> tuple[str, float | None]:
    """Why a delivery failed, or empty; and how long the receiver asks us to wait, or None: it is no use."""
    headers = webhook.headers(body, time.time(), key)
    request = urllib.request.Request(webhook.address, body, headers, method="POST")  # noqa: S310 - `of` checks
    try:
        with _opener(webhook).open(request, timeout=_TIMEOUT_S):
            return "", 0.0
    except urllib.error.HTTPError as error:
        with error:
            again = error.code >= 500 or error.code in (408, 425, 429)
            return f"the receiver answered {error.code}", _wait(error) if again else None
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"the receiver cannot be reached: {_kind(error)}", 0.0


def _opener(webhook: Webhook) -> urllib.request.OpenerDirector:
    """No proxy of the environment's comes between us and this machine: it would read plain http elsewhere."""
    is_plain = urlsplit(webhook.address).scheme == "http"
    return urllib.request.build_opener(_NoRedirect, *([urllib.request.ProxyHandler({})] if is_plain else []))


def _kind(error: Exception) -> str:
    """What kind of failure it was. Not its message: those repeat hosts, paths and passwords."""
    reason = getattr(error, "reason", None)
    cause = reason if isinstance(reason, OSError) else error
    if isinstance(cause, ssl.SSLError):  # whose `strerror` has the host in it
        return cause.reason or type(cause).__name__
    words = cause.strerror if isinstance(cause, OSError) else ""
    return words or type(cause).__name__


def _wait(error: urllib.error.HTTPError) -> float:
    said = error.headers.get("Retry-After", "")
    return float(said) if said.isascii() and said.isdigit() else 0.0


class Notifier:
    """Sends in a thread of its own, so that boards never wait for a receiver; forgets what was told once.

    `memory` is a file that remembers what was delivered, and what each board had. It can be lost.
    """

    def __init__(
        self,
        webhook: Webhook,
        memory: Path,
        warn: Callable[[str], None],
        *,
        sleep: Callable[[float], None] = time.sleep,
        patience: float = _PATIENCE_S,
    ) -> None:
        self._webhook = webhook
        self._memory = memory
        self._warn = warn
        self._sleep = sleep
        self._patience = patience
        self._known = _read(memory)
        self._untold: set[str] = set()  # subjects that nobody was told of so far
        self._waiting: queue.SimpleQueue[Notification | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def __enter__(self) -> "Notifier":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for what is under way, not for ever; hardly, where the work was interrupted."""
        self._waiting.put(None)
        self._thread.join(min(_SOON_S, self._patience))
        interrupted = kind is not None and not issubclass(kind, Exception)
        if self._thread.is_alive() and not interrupted and (longer := self._patience - _SOON_S) > 0:
            self._warn(f"the receiver of notifications is slow: it has another {longer:g} s at most")
            self._thread.join(longer)
        if self._thread.is_alive():
            self._warn("notifications were not delivered in time")

    @property
    def ailments(self) -> dict[str, str]:
        """What each unhealthy board had when somebody was last told."""
        return dict(self._known["ailments"])

    def remember(self, ailments: Mapping[str, str]) -> None:
        """Keep what each board has for the next time, but for those that nobody was told of.

        To be called when everything was sent: behind the `with`.
        """
        before = self._known["ailments"]
        told = {board: what for board, what in ailments.items() if board not in self._untold}
        untold = {board: before[board] for board in self._untold if board in before}
        self._known["ailments"] = told | untold
        self._write()

    def tell(self, notification: Notification) -> None:
        """Send it soon, unless it was delivered in the last week."""
        if notification.key not in self._known["delivered"]:
            self._untold.add(notification.subject)
            self._waiting.put(notification)

    def _work(self) -> None:
        while (notification := self._waiting.get()) is not None:
            with contextlib.suppress(OSError, ValueError):  # of a warning that cannot be printed
                self._deliver(notification)

    def _deliver(self, notification: Notification) -> None:
        if notification.key in self._known["delivered"]:
            return
        failure = self._failure_of(notification)
        if failure:
            self._warn(f"{notification.occasion.value} was not delivered: {failure}")
        else:
            self._untold.discard(notification.subject)
            self._known["delivered"][notification.key] = time.time()
            self._write()

    def _failure_of(self, notification: Notification) -> str:
        """As `send`; whatever else goes wrong is a failure, too, and not the end of what waits behind it."""
        try:
            return send(self._webhook, notification, self._sleep)
        except Exception as error:  # noqa: BLE001 - nobody else would hear of it
            return type(error).__name__

    def _write(self) -> None:
        limit = time.time() - _REMEMBERED_S
        fresh = {key: when for key, when in dict(self._known["delivered"]).items() if when > limit}
        self._known["delivered"] = fresh
        try:
            atomic_write(self._memory, json.dumps(self._known), mode=0o600)
        except WriteError as error:
            self._warn(f"what was told cannot be remembered: {error.message}")


def _read(memory: Path) -> dict[str, dict[str, Any]]:
    try:
        said = json.loads(memory.read_bytes())
        delivered = {str(k): float(v) for k, v in said["delivered"].items()}
        return {"delivered": delivered, "ailments": {str(k): str(v) for k, v in said["ailments"].items()}}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {"delivered": {}, "ailments": {}}

"""The service side over HTTPS: who may call, how much, what goes wrong on demand; paths lie beside it."""

import asyncio
import email.utils
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct, field

from fleetctl.lab.iothub.faults import Faults
from fleetctl.lab.iothub.hub import Hub
from fleetctl.lab.iothub.identities import Identity
from fleetctl.lab.iothub.limits import Clock, Meter, Operation, throttled
from fleetctl.lab.iothub.refusal import HubRefusal, bad_argument, etag_differs
from fleetctl.lab.iothub.signin import Signature

if TYPE_CHECKING:
    from aiohttp import web

BODY_LIMIT = 1 << 20  # bytes

Handler = Callable[["Call"], "Awaitable[Answer] | Answer"]


class Methods(Protocol):
    """Reaches connected devices and modules."""

    async def invoke(self, identity: Identity, request: Mapping[str, Any]) -> dict[str, Any]: ...


class Service(Struct):
    """What handlers work with."""

    hub: Hub
    meter: Meter
    clock: Clock
    methods: Methods
    save: Callable[[], None]
    policies: Mapping[str, str]  # name: base64 key
    bearer: str  # the one token taken in place of one that Entra ID gave; empty: none
    faults: Faults = field(default_factory=Faults)
    set_clock: Callable[[float], None] = lambda _: None  # by how many seconds the hub's clock goes ahead


class Call(Struct, frozen=True):
    """One request."""

    service: Service
    request: "web.Request"
    body: Any

    @property
    def hub(self) -> Hub:
        return self.service.hub

    @property
    def device(self) -> str:
        return str(self.request.match_info["device"])

    @property
    def module(self) -> str:
        return str(self.request.match_info.get("module", ""))

    @property
    def etag(self) -> str | None:
        """What `If-Match` holds; a write without it creates."""
        return self.request.headers.get("If-Match")

    @property
    def document(self) -> Mapping[str, Any]:
        """The body, an object.

        Raises:
            HubRefusal: it is something else.
        """
        if not isinstance(self.body, dict):
            raise bad_argument("the body is no JSON object")
        return self.body

    def number(self, name: str, default: int, most: int) -> int:
        """A number from the query string, from 1 to `most`."""
        text = self.request.query.get(name, str(default))
        if not text.isdecimal() or not 1 <= int(text):
            raise bad_argument(f"{name} is no number from 1")
        return min(int(text), most)


class Answer(Struct, frozen=True):
    """What a handler has to say; None is no body."""

    data: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Route(Struct, frozen=True):
    """A method and a path, what it counts as, and who answers."""

    method: str
    path: str
    kind: Operation | None
    handler: Handler


def application(service: Service, routes: list[Route]) -> "web.Application":
    """The aiohttp application of a hub's service side."""
    from aiohttp import web

    app = web.Application(client_max_size=BODY_LIMIT, middlewares=[_refusing(service)])
    for route in routes:
        app.router.add_route(route.method, route.path, _serve(service, route))
    return app


def _serve(service: Service, route: Route) -> "Callable[[web.Request], Awaitable[web.StreamResponse]]":
    async def serve(request: "web.Request") -> "web.StreamResponse":
        await _misbehave(service, request)
        _authorize(service, request)
        _conflict(service, request)
        if route.kind is not None:
            service.meter.spend(route.kind)
        found = route.handler(Call(service, request, await _body(request)))
        answer = found if isinstance(found, Answer) else await found
        service.save()  # a change that was answered is on disk
        if service.faults.hits("drop_after"):
            _cut(request)
        return _response(answer.data, answer.status, answer.headers, service.clock())

    return serve


def _refusing(service: Service) -> Any:
    from aiohttp import web

    @web.middleware
    async def refusing(
        request: "web.Request", handler: "Callable[[web.Request], Awaitable[web.StreamResponse]]"
    ) -> "web.StreamResponse":
        try:
            return await handler(request)
        except HubRefusal as refusal:
            return _response(refusal.body(), refusal.status, refusal.headers(), service.clock())
        except web.HTTPException as error:
            bare = HubRefusal(error.status, f"Generic{error.reason.replace(' ', '')}", error.reason)
            return _response(bare.body(), bare.status, bare.headers(), service.clock())

    return refusing


def _response(data: Any, status: int, headers: Mapping[str, str], now: float) -> "web.Response":
    from aiohttp import web

    dated = {**headers, "Date": email.utils.formatdate(now, usegmt=True)}
    if data is None:
        return web.Response(status=status, headers=dated)
    return web.json_response(data, status=status, headers=dated)


async def _body(request: "web.Request") -> Any:
    raw = await request.read()
    if not raw:
        return None
    try:
        return json.loads(raw)
    except ValueError as error:
        raise bad_argument(f"the body is no JSON: {error}") from error


async def _misbehave(service: Service, request: "web.Request") -> None:
    faults = service.faults
    if request.path.startswith("/lab/"):
        return
    if faults.slow:
        await asyncio.sleep(faults.slow)
    if faults.hits("drop"):
        _cut(request)
    if faults.hits("throttle"):
        raise throttled("told to throttle", 1)
    if faults.hits("errors"):
        raise HubRefusal(500, "ServerError", "told to fail")


def _cut(request: "web.Request") -> None:
    """End the connection without a word."""
    if request.transport is not None:
        request.transport.abort()
    raise HubRefusal(500, "ConnectionForcefullyClosed", "told to drop")


def _conflict(service: Service, request: "web.Request") -> None:
    is_conditional = request.headers.get("If-Match", "*").strip() not in ("*", '"*"')
    if is_conditional and service.faults.hits("conflicts"):
        raise etag_differs("what was to be changed (told to conflict)")


def _authorize(service: Service, request: "web.Request") -> None:
    """Raise `HubRefusal` unless the caller may do anything here; a lab has no lesser policies."""
    if not request.query.get("api-version") and not request.path.startswith("/lab/"):
        raise bad_argument("api-version is missing")
    header = request.headers.get("Authorization", "")
    if service.bearer and header == f"Bearer {service.bearer}":
        return
    signature = Signature.parse(header)
    key = service.policies.get(signature.policy)
    if key is None:
        raise HubRefusal(401, "IotHubUnauthorizedAccess", f"there is no policy {signature.policy!r}")
    signature.check([key], request.host, service.clock())

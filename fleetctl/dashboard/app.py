"""The server of the dashboard: addresses to pages, what changed as it changes, and the walls around both.

It listens on loopback. A page of another site could still have a browser ask it: requests under any other
name than its own are refused, and those that another site's page makes, but for a link that somebody follows;
and no answer may be framed, or read by others.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from fleetctl.dashboard.actions import Desk
from fleetctl.dashboard.pages import Pages
from fleetctl.dashboard.snapshot import Watch
from fleetctl.report.prometheus import CONTENT_TYPE, prometheus_text
from fleetctl.report.web.fleet_view import Choice
from fleetctl.report.web.pages import static

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_NAMES = ["127.0.0.1", "localhost", "[::1]"]
_LOOK_S = 0.25  # seconds between two looks for changes
_BEAT_S = 15.0  # seconds of silence after which a stream says that it lives
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_WALLS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; style-src-attr 'unsafe-inline'; "
    "script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


def make_app(watch: Watch, desk: Desk | None, is_ending: Callable[[], bool]) -> "Starlette":
    """The dashboard as an ASGI application; `watch` is started and stopped by whoever serves it.

    Without a `desk` there is no address that changes anything. The streams of changes end once `is_ending`.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.routing import Route

    site = _Site(watch, is_ending, may_act=desk is not None)
    routes = [
        Route("/", site.fleet),
        Route("/rows", site.rows),
        Route("/rollout", site.rollout),
        Route("/plan", site.plan),
        Route("/models", site.models),
        Route("/models/{model}", site.card),
        Route("/models/{model}/files/{name}", site.card_picture),
        Route("/boards/{board}", site.board),
        Route("/boards/{board}/golden/{index:int}.png", site.golden),
        Route("/events", site.events),
        Route("/metrics", site.metrics),
        Route("/static/{name}", site.static),
        *([Route("/actions/{verb}", desk.act, methods=["POST"])] if desk else []),
    ]
    walls = [Middleware(_Walls), Middleware(TrustedHostMiddleware, allowed_hosts=_NAMES, www_redirect=False)]
    return Starlette(routes=routes, middleware=walls, exception_handlers={404: site.missing})


def _is_of_another_site(scope: "Scope") -> bool:
    """Whether a browser asks for another site's page: for a picture, say. To look at a link is not that."""
    said = dict(scope.get("headers", ()))
    site = said.get(b"sec-fetch-site", b"none")
    return site not in (b"none", b"same-origin") and said.get(b"sec-fetch-dest") != b"document"


class _Walls:
    """Refuses what another site asks for, and adds to every answer what keeps other sites out."""

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        async def guarded(message: "Message") -> None:
            if message["type"] == "http.response.start":
                named = {name for name, _ in message["headers"]}
                more = [(k.encode(), v.encode()) for k, v in _WALLS.items() if k.encode() not in named]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        app = self._app
        if _is_of_another_site(scope):
            from starlette.responses import PlainTextResponse

            app = PlainTextResponse("only the page itself may ask\n", 403)
        await app(scope, receive, guarded)


class _Site:
    """One method for each address. Those that are not `async` run in threads: they read and ask."""

    def __init__(self, watch: Watch, is_ending: Callable[[], bool], *, may_act: bool) -> None:
        self._watch = watch
        self._is_ending = is_ending
        self._may_act = may_act

    @property
    def _pages(self) -> Pages:
        return Pages(self._watch, may_act=self._may_act)

    def fleet(self, request: "Request") -> "Response":
        return self._html(self._pages.fleet(Choice.parse(request.query_params)))

    def rows(self, request: "Request") -> "Response":
        return self._html(self._pages.rows(Choice.parse(request.query_params)))

    def rollout(self, _: "Request") -> "Response":
        return self._html(self._pages.rollout())

    def plan(self, request: "Request") -> "Response":
        return self._html(self._pages.plan(request.query_params.get("commit", "")[:200]))

    def models(self, _: "Request") -> "Response":
        return self._html(self._pages.models())

    def card(self, request: "Request") -> "Response":
        return self._html(self._pages.card(request.path_params["model"]), "There is no card of that model")

    def board(self, request: "Request") -> "Response":
        return self._html(
            self._pages.board(request.path_params["board"]), "The fleet has no board of that name"
        )

    def card_picture(self, request: "Request") -> "Response":
        where = request.path_params
        return self._png(self._pages.card_picture(where["model"], where["name"]))

    def golden(self, request: "Request") -> "Response":
        where = request.path_params
        return self._png(self._pages.golden_picture(where["board"], where["index"]))

    def metrics(self, _: "Request") -> "Response":
        from starlette.responses import Response

        known = self._watch.snapshot
        if known.asked_at is None:
            return Response("the boards have not been asked yet\n", 503, media_type="text/plain")
        text = prometheus_text(known.statuses, known.source.fleet.boards, known.asked_at)
        return Response(text, headers={"content-type": CONTENT_TYPE})

    def static(self, request: "Request") -> "Response":
        from starlette.responses import Response

        name = request.path_params["name"]
        if name not in ("style.css", "live.js", "list.js", "act.js", "icon.svg"):
            return self._html(None, "There is no such file")
        return Response(static(name), media_type=_TYPES[name.rpartition(".")[2]])

    async def events(self, _: "Request") -> "Response":
        from starlette.responses import StreamingResponse

        return StreamingResponse(self._changes(), media_type="text/event-stream")

    async def missing(self, _: "Request", error: Exception) -> "Response":
        del error
        return self._html(None, "There is no such page")

    async def _changes(self) -> AsyncIterator[str]:
        """The versions now, and again whenever one is another."""
        told: dict[str, int] = {}
        silent = 0.0
        while not self._is_ending():
            now = dict(self._watch.versions)
            if now != told:
                told, silent = now, 0.0
                yield f"event: versions\ndata: {json.dumps(now)}\n\n"
            elif silent >= _BEAT_S:
                silent = 0.0
                yield ": still here\n\n"
            await asyncio.sleep(_LOOK_S)
            silent += _LOOK_S

    def _html(self, page: str | None, missing: str = "") -> "Response":
        from starlette.responses import HTMLResponse

        return HTMLResponse(page if page is not None else self._pages.missing(missing), 200 if page else 404)

    def _png(self, data: bytes | None) -> "Response":
        from starlette.responses import Response

        return (
            Response(data, media_type="image/png") if data else self._html(None, "There is no such picture")
        )

"""What the page may do where it was started with `--allow-actions`, and who may have it do that.

A request acts only if it comes from the page itself, and brings the token that was shown to whoever started
the dashboard. Another site can do neither: a browser says where a request comes from, the token is in no
cookie that it would send along, and the header that carries it is one that other origins may not set.
"""

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl

from fleetctl.dashboard.snapshot import Watch
from fleetctl.errors import FleetError, LockHeld, UsageError
from fleetctl.listed import listed
from fleetctl.report.units import plural
from fleetctl.report.web.fleet_view import Choice, fleet_view, names_digest
from fleetctl.steering import Word

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_MOST = 16 << 10  # bytes of a request
_WORKERS = 8  # a rollback waits for boards, and a word to a rollout does not wait for it


class Acts(Protocol):
    """What `fleetctl pause`, `resume`, `abort` and `rollback` do, for the page.

    Each writes down that it was asked for, and raises `FleetError` where the verb would.
    """

    def steer(self, word: Word, rollout: str) -> None: ...

    def roll_back(self, boards: Sequence[str]) -> Mapping[str, bool]:
        """Which boards went back."""
        ...


class Refusal(Exception):
    """Why a request is not obeyed, as HTTP has it."""

    def __init__(self, status: int, why: str, hint: str = "") -> None:
        super().__init__(why)
        self.status = status
        self.why = why
        self.hint = hint


def new_token() -> str:
    """A secret of 256 bits, to be shown to one person."""
    return secrets.token_urlsafe(32)


def demand_own_page(headers: Mapping[str, str], token: str) -> None:
    """Let only the page itself pass, with the token.

    Raises:
        Refusal: it comes from elsewhere, or brings no token or another.
    """
    own = f"http://{headers.get('host', '')}"
    if headers.get("origin") != own or headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise Refusal(403, "only the page itself may act")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "a request is JSON")
    kind, _, said = headers.get("authorization", "").partition(" ")
    if kind != "Bearer" or not secrets.compare_digest(said.encode(), token.encode()):
        raise Refusal(401, "the token is not that of this dashboard", "open the address that it printed")


class Desk:
    """Takes requests to act; one method for each address."""

    def __init__(self, watch: Watch, acts: Acts, token: str) -> None:
        self._watch = watch
        self._acts = acts
        self._token = token
        self._workers = ThreadPoolExecutor(_WORKERS)  # of its own, for what is begun here must also end
        self._begun: set[Future[str]] = set()

    @property
    def is_at_work(self) -> bool:
        return not all(each.done() for each in tuple(self._begun))

    def close(self) -> None:
        """Begin nothing more, and wait for what is under way."""
        self._workers.shutdown(cancel_futures=True)

    async def act(self, request: "Request") -> "Response":
        from starlette.responses import JSONResponse

        try:
            demand_own_page(request.headers, self._token)
            work = self._work(request.path_params["verb"], await _body(request))
            return JSONResponse({"said": await asyncio.wrap_future(self._begin(work))})
        except Refusal as no:
            return JSONResponse({"error": no.why, "hint": no.hint}, no.status)
        except FleetError as error:
            status = 409 if isinstance(error, UsageError | LockHeld) else 500
            return JSONResponse({"error": error.message, "hint": error.hint}, status)

    def _begin(self, work: Callable[[], str]) -> "Future[str]":
        begun = self._workers.submit(work)
        self._begun.add(begun)
        begun.add_done_callback(self._begun.discard)
        return begun

    def _work(self, verb: str, asked: Mapping[str, Any]) -> Callable[[], str]:
        if verb == "rollback":
            names = self._meant(asked)
            return lambda: self._roll_back(names)
        if verb not in set(Word):
            raise Refusal(404, "there is no such action")
        rollout = asked.get("rollout")
        if not isinstance(rollout, str) or not rollout:
            raise Refusal(400, "which rollout is meant?")
        return lambda: self._steer(Word(verb), rollout)

    def _steer(self, word: Word, rollout: str) -> str:
        self._acts.steer(word, rollout)
        return {
            Word.PAUSE: "It holds before its next wave.",
            Word.RESUME: "It goes on.",
            Word.ABORT: "It ends after the boards that are at work.",
        }[word]

    def _roll_back(self, names: Sequence[str]) -> str:
        try:
            went = self._acts.roll_back(names)
        finally:
            self._watch.hurry()
        stayed = [name for name, back in went.items() if not back]
        if stayed:
            raise Refusal(
                500,
                f"{len(stayed)} of {len(went)} did not go back: {listed(stayed)}",
                "`fleetctl logs` says why",
            )
        return f"{plural(len(went), 'board')} went back."

    def _meant(self, asked: Mapping[str, Any]) -> tuple[str, ...]:
        """One board, or those of a choice, if they still are those that somebody saw and said yes to."""
        known = self._watch.snapshot
        board, query = asked.get("board"), asked.get("choice")
        if isinstance(board, str):
            names = tuple(name for name in known.source.boards if name == board)
        elif isinstance(query, str):
            names = fleet_view(known.source.fleet, known.statuses, Choice.parse(dict(parse_qsl(query)))).names
        else:
            raise Refusal(400, "which boards are meant?")
        if not names or asked.get("digest") != names_digest(names):
            now = plural(len(names), "board")
            raise Refusal(409, f"these are no longer the boards that you saw: {now} now", "look again")
        return names


async def _body(request: "Request") -> Mapping[str, Any]:
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > _MOST:
            raise Refusal(413, "a request is short")
    try:
        said = json.loads(data)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise Refusal(400, "a request is a JSON object")
    return said

"""The service's paths for twins, queries over them, and direct methods."""

import base64
import binascii
import itertools
from typing import Any

from fleetctl.lab.iothub.language import Query, parse_query
from fleetctl.lab.iothub.limits import Operation
from fleetctl.lab.iothub.refusal import bad_argument
from fleetctl.lab.iothub.service import Answer, Call, Route

_DEVICE = "/twins/{device}"
_MODULE = "/twins/{device}/modules/{module}"
_DEFAULT_PAGE, _LARGEST_PAGE = 100, 1000


def routes() -> list[Route]:
    read, write, method = Operation.TWIN_READ, Operation.TWIN_WRITE, Operation.METHOD
    both = [
        route
        for path in (_DEVICE, _MODULE)
        for route in (
            Route("GET", path, read, _get),
            Route("PATCH", path, write, _patch),
            Route("PUT", path, write, _replace),
            Route("POST", f"{path}/methods", method, _invoke),
        )
    ]
    return [*both, Route("POST", "/devices/query", Operation.QUERY, _query)]


def _get(call: Call) -> Answer:
    return Answer(call.hub.find(call.device, call.module).twin_document())


def _patch(call: Call) -> Answer:
    return _update(call, replace=False)


def _replace(call: Call) -> Answer:
    return _update(call, replace=True)


def _update(call: Call, *, replace: bool) -> Answer:
    identity = call.hub.find(call.device, call.module)
    call.hub.update_twin(identity, call.document, call.etag, replace=replace)
    return Answer(identity.twin_document())


async def _invoke(call: Call) -> Answer:
    identity = call.hub.find(call.device, call.module)
    return Answer(await call.service.methods.invoke(identity, call.document))


def _query(call: Call) -> Answer:
    text = call.document.get("query")
    if not isinstance(text, str):
        raise bad_argument("the body has no query")
    query = parse_query(text)
    size = _page_size(call.request.headers.get("x-ms-max-item-count"))
    page, rest = _page(call, query, size, _decoded(call.request.headers.get("x-ms-continuation", "")))
    kind = "raw" if query.columns else "twin"
    return Answer(page, headers={"x-ms-item-type": kind, **({"x-ms-continuation": rest} if rest else {})})


def _page(call: Call, query: Query, size: int, after: str) -> tuple[list[Any], str]:
    """The rows that follow the place `after`, and where the next page begins; empty where there is none."""
    if query.group or any(column.value is None for column in query.columns):
        documents = (document for _, document in call.hub.documents(of_modules=query.of_modules))
        return list(query.rows(documents)), ""
    found = (
        (place, row)
        for place, document in call.hub.documents(of_modules=query.of_modules, after=after)
        for row in query.rows([document])
    )
    page = list(itertools.islice(found, size))
    is_more = len(page) == size and next(found, None) is not None
    return [row for _, row in page], _encoded(page[-1][0]) if is_more else ""


def _page_size(text: str | None) -> int:
    if not text:
        return _DEFAULT_PAGE
    if not text.isdecimal() or int(text) < 1:
        raise bad_argument("x-ms-max-item-count is no number from 1")
    return min(int(text), _LARGEST_PAGE)


def _encoded(place: str) -> str:
    return base64.b64encode(place.encode()).decode()


def _decoded(token: str) -> str:
    try:
        return base64.b64decode(token, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise bad_argument("x-ms-continuation is none that this hub gave") from error

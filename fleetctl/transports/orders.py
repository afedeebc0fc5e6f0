"""Work and replies as JSON: what fleetctl and an Ansible worker say to each other."""

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from msgspec import Struct, convert, to_builtins
from msgspec.structs import asdict, replace

from fleetctl.manifest.schema import Board
from fleetctl.paths_as_text import path_to_text, text_to_path
from fleetctl.signing.statement import Signed
from fleetctl.transports.base import Order, Reply, ReplyStatus


class Goal(StrEnum):
    """What a board is to be brought to."""

    RELEASED = "released"
    CONFIRMED = "confirmed"
    REVERTED = "reverted"
    PREPARED = "prepared"
    LEFT = "left"


class Preparation(Struct, frozen=True):
    """What makes a board fit to take releases: the request of the board verb `prepare`, and its wheels."""

    request: Mapping[str, Any]
    wheels: tuple[Path, ...] = ()


class Work(Struct, frozen=True):
    """One board's share of a run.

    `order` comes with `RELEASED`, `preparation` with `PREPARED`.
    `release` is the digest to confirm, or to go back to (None: the one before); `signed` lets it go there.
    """

    board: Board
    goal: Goal
    deadline: float  # seconds for everything said to this board
    known_hosts: Path
    order: Order | None = None
    release: str | None = None
    reason: str = ""
    preparation: Preparation | None = None
    signed: Signed | None = None


def work_to_json(work: Work) -> dict[str, Any]:
    """`work` as plain JSON values; without an order's `undo`, for no board hears of it with an order."""
    if work.order and work.order.undo:
        work = replace(work, order=replace(work.order, undo=None))
    plain: dict[str, Any] = to_builtins(work, enc_hook=path_to_text)
    return plain


def work_from_json(data: Mapping[str, Any]) -> Work:
    """The work that `work_to_json` wrote."""
    return convert(data, Work, dec_hook=text_to_path)


def reply_to_json(reply: Reply) -> str:
    """`reply` as ASCII text: what a board said may hold anything, halves of surrogate pairs too."""
    return json.dumps({**asdict(reply), "data": dict(reply.data)})


def reply_from_json(text: str) -> Reply:
    """The reply that `reply_to_json` wrote."""
    fields = json.loads(text)
    return Reply(**{**fields, "status": ReplyStatus(fields["status"])})

"""Orders, work and replies as JSON: what fleetctl and an Ansible worker say to each other."""

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from msgspec import Struct, convert
from msgspec.structs import asdict

from fleetctl.artifact import BlobRef
from fleetctl.manifest.schema import Board
from fleetctl.release import Release
from fleetctl.signing.statement import Signed
from fleetctl.transports.base import Holding, Order, Reply, ReplyStatus


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
    """`work` as plain JSON values."""
    return {
        "board": board_to_json(work.board),
        "goal": work.goal.value,
        "deadline": work.deadline,
        "known_hosts": str(work.known_hosts),
        "order": order_to_json(work.order) if work.order else None,
        "release": work.release,
        "reason": work.reason,
        "preparation": _preparation_to_json(work.preparation) if work.preparation else None,
        "signed": _signed_to_json(work.signed),
    }


def work_from_json(data: Mapping[str, Any]) -> Work:
    """The work that `work_to_json` wrote."""
    return Work(
        board=board_from_json(data["board"]),
        goal=Goal(data["goal"]),
        deadline=data["deadline"],
        known_hosts=Path(data["known_hosts"]),
        order=order_from_json(data["order"]) if data["order"] else None,
        release=data["release"],
        reason=data["reason"],
        preparation=_preparation_from_json(data["preparation"]) if data["preparation"] else None,
        signed=_signed_from_json(data["signed"]),
    )


def _signed_to_json(signed: Signed | None) -> dict[str, str] | None:
    return signed.request if signed else None


def _signed_from_json(data: Mapping[str, str] | None) -> Signed | None:
    return Signed(data["statement"], data["signature"]) if data else None


def _preparation_to_json(preparation: Preparation) -> dict[str, Any]:
    return {"request": dict(preparation.request), "wheels": [str(path) for path in preparation.wheels]}


def _preparation_from_json(data: Mapping[str, Any]) -> Preparation:
    return Preparation(data["request"], tuple(Path(path) for path in data["wheels"]))


def order_to_json(order: Order) -> dict[str, Any]:
    """`order` as plain JSON values; `undo` is no part of it, for no board hears of it with an order."""
    return {
        "board": board_to_json(order.board),
        "release": {path: [ref.sha256, ref.size] for path, ref in order.release.files.items()},
        "blobs": str(order.blobs),
        "commit": order.commit,
        "confirm_timeout": order.confirm_timeout,
        "deadline": order.deadline,
        "signed": _signed_to_json(order.signed),
        "holding": _holding_to_json(order.holding),
    }


def order_from_json(data: Mapping[str, Any]) -> Order:
    """The order that `order_to_json` wrote."""
    return Order(
        board=board_from_json(data["board"]),
        release=Release({path: BlobRef(sha256, size) for path, (sha256, size) in data["release"].items()}),
        blobs=Path(data["blobs"]),
        commit=data["commit"],
        confirm_timeout=data["confirm_timeout"],
        deadline=data["deadline"],
        signed=_signed_from_json(data["signed"]),
        holding=Holding(**data["holding"]) if data["holding"] else None,
    )


def _holding_to_json(holding: Holding | None) -> dict[str, Any] | None:
    return {"release": holding.release, "files": dict(holding.files)} if holding else None


def board_to_json(board: Board) -> dict[str, Any]:
    """`board` as plain JSON values."""
    return {
        **asdict(board),
        "runtime": dict(board.runtime),
        "labels": dict(board.labels),
        "config": dict(board.config),
        "groups": list(board.groups),
    }


def board_from_json(data: Mapping[str, Any]) -> Board:
    """The board that `board_to_json` wrote."""
    return convert(data, Board)


def reply_to_json(reply: Reply) -> str:
    """`reply` as ASCII text: what a board said may hold anything, halves of surrogate pairs too."""
    return json.dumps({**asdict(reply), "data": dict(reply.data)})


def reply_from_json(text: str) -> Reply:
    """The reply that `reply_to_json` wrote."""
    fields = json.loads(text)
    return Reply(**{**fields, "status": ReplyStatus(fields["status"])})

"""What is worth telling somebody who is not looking: waves, gates, boards that fall ill or recover. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct

from fleetctl import events
from fleetctl.events import Event
from fleetctl.status import COOLED_C, HOT, HOT_C, BoardStatus, Standing, heat
from fleetctl.store import canonical_json, sha256

NOTIFICATION_SCHEMA = "fleetctl.notification/v1"

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


class Occasion(StrEnum):
    """Why somebody is told."""

    WAVE_DONE = "wave-done"  # its gate opened
    GATE_PAUSED = "gate-paused"  # a person has to decide
    GATE_FAILED = "gate-failed"  # boards go back
    ROLLOUT_FINISHED = "rollout-finished"
    BOARD_UNHEALTHY = "board-unhealthy"
    BOARD_RECOVERED = "board-recovered"


class Notification(Struct, frozen=True):
    """One message. `subject` is a wave's number, a board's name or a commit."""

    occasion: Occasion
    fleet: str
    subject: str
    text: str  # one sentence for people
    details: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The same for the same occasion, however often it is told: receivers may drop repeats by it."""
        told = [self.occasion.value, self.fleet, self.subject, self.text, dict(self.details)]
        return sha256(canonical_json(told))[:32]

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": NOTIFICATION_SCHEMA,
            "id": self.key,
            "occasion": self.occasion.value,
            "fleet": self.fleet,
            "subject": self.subject,
            "text": self.text,
            "details": dict(self.details),
        }


_GATES = {"open": Occasion.WAVE_DONE, "pause": Occasion.GATE_PAUSED, "fail": Occasion.GATE_FAILED}


class RolloutTeller(Struct, frozen=True):
    """Turns the events of one rollout into notifications.

    `began` tells one rollout from the next: the same, rolled out again and failed again, is told of again.
    """

    fleet: str
    commit: str
    plan: str  # its digest
    began: str

    def tell(self, event: Event) -> Notification | None:
        """What to say of an event; None for those that nobody has to be told of."""
        about = {"commit": self.commit, "plan": self.plan, "began": self.began}
        match event:
            case events.GateDecided(number, decision, reason):
                text = f"{self.fleet}: gate of wave {number}: {decision}: {reason}"
                details = {**about, "wave": number, "decision": decision, "reason": reason}
                occasion = _GATES.get(decision, Occasion.GATE_FAILED)
                return Notification(occasion, self.fleet, str(number), text, details)
            case events.RolloutFinished(outcome, verdicts) if verdicts:
                counts = ", ".join(f"{count} {word.replace('_', ' ')}" for word, count in verdicts.items())
                text = f"{self.fleet}: rollout {outcome}: {counts}"
                details = {**about, "outcome": outcome, "verdicts": dict(verdicts)}
                return Notification(Occasion.ROLLOUT_FINISHED, self.fleet, self.commit, text, details)
            case _:
                return None


def ailments(statuses: Iterable[BoardStatus], before: Mapping[str, str]) -> dict[str, str]:
    """What each unhealthy board has, by name, in words; `before` is what somebody was told last.

    A board that was hot then is so until it has cooled well down: around the limit, each look would find it
    ill or well by turns.
    """
    found = {}
    for status in statuses:
        complaints = [*status.complaints, *_still_hot(status, before.get(status.board, ""))]
        if complaints:
            standing = Standing.STRAINED if status.healthy else status.standing
            found[status.board] = f"{standing}: {'; '.join(complaints)}"
    return found


def _still_hot(status: BoardStatus, before: str) -> list[str]:
    was_hot = any(part.startswith(f"{HOT}: ") for part in _parts(before))
    is_hot = bool(heat(status.observed, HOT_C))
    return heat(status.observed, COOLED_C) if was_hot and not is_hot else []


def changes(
    fleet: str, before: Mapping[str, str], now: Mapping[str, str], asked: Sequence[str], at: str
) -> list[Notification]:
    """What to say of boards that fell ill, have something else than before, or recovered.

    `before` and `now` are `ailments`; of boards that were not asked this time nothing is said. `at` is the
    time of asking: a board that falls ill again is told of again. One that is a degree hotter, or has a MiB
    less, has what it had.
    """
    fallen = [
        _of_board(Occasion.BOARD_UNHEALTHY, fleet, board, what, {"what": what, "at": at})
        for board, what in now.items()
        if board not in before or _kind(before[board]) != _kind(what)
    ]
    recovered = [
        _of_board(Occasion.BOARD_RECOVERED, fleet, board, "is well", {"was": was, "at": at})
        for board, was in before.items()
        if board in asked and board not in now
    ]
    return fallen + recovered


def _kind(ailment: str) -> frozenset[str]:
    """What a board has, in whatever order, without how much of it."""
    return frozenset(_NUMBER.sub("", part) for part in (ailment.partition(": ")[0], *_parts(ailment)))


def _parts(ailment: str) -> list[str]:
    return ailment.partition(": ")[2].split("; ")


def _of_board(
    occasion: Occasion, fleet: str, board: str, what: str, details: Mapping[str, str]
) -> Notification:
    return Notification(occasion, fleet, board, f"{fleet}: {board}: {what}", details)

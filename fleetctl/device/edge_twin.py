"""The twin of an IoT Edge module, as it writes it: the board's last answer and what it observes.

`edge_report` is the form of that, which a controller reads as well; here is what a twin has room for.
"""

from __future__ import annotations

import random
import time
from typing import Any, Dict, List, Mapping

from .edge_client import HubClient
from .edge_report import SECTION, has_room, pack, standing
from .talk import complain

_SAME_AGAIN_S = 600.0  # until what has not changed is told again: a hub counts reports, and has a quota a day
_BUSY_WAITS_S = (1.0, 2.0, 4.0)  # a proof waits for its confirmation meanwhile


class Reports:
    """The reported properties of one module."""

    def __init__(self, hub: HubClient) -> None:
        self._hub = hub
        # Which pieces the twin may have: those that are left over have to go when fewer are told.
        self._pieces: Dict[str, List[str]] = {"reply": [], "observation": []}
        self._told: Dict[str, Any] = {}  # last, but for what changes all the time
        self._stale_at = 0.0  # on the monotonic clock

    def remember(self, said: Mapping[str, Any]) -> None:
        """What the twin has, as it was read."""
        self._told = {}  # somebody may have written it
        for part in self._pieces:
            self._pieces[part] = sorted(said.get(part) or {})

    def say(self, head: Mapping[str, Any], seen: Mapping[str, Any]) -> None:
        """Tell what the board observes, beside its last answer, unless it is the same as a moment ago.

        Raises whatever the hub's SDK raises.
        """
        lasting = dict(head, seen=_lasting(seen))
        if lasting == self._told and time.monotonic() < self._stale_at and self._hub.is_connected:
            return
        self._write(self._beside(head, dict.fromkeys(self._pieces["reply"], ""), seen))
        self._told, self._stale_at = lasting, time.monotonic() + _SAME_AGAIN_S

    def insist(self, head: Mapping[str, Any], seen: Mapping[str, Any]) -> None:
        """The same, to a hub that may be too busy for a moment."""
        self._insist(self._beside(head, dict.fromkeys(self._pieces["reply"], ""), seen))

    def answer(self, head: Mapping[str, Any], reply: Mapping[str, Any], seen: Mapping[str, Any]) -> None:
        """Tell how a release went; what has no room in a twin is said to have none."""
        packed = pack(reply, self._pieces["reply"])
        state = str(reply.get("state") or reply.get("code") or "failed") if packed else "too-large"
        self._insist(self._beside(dict(head, state=state, reply=packed), packed or {}, seen))

    def _beside(
        self, head: Mapping[str, Any], reply: Mapping[str, Any], seen: Mapping[str, Any]
    ) -> Dict[str, Any]:
        """What is observed goes without the answers in its receipt where a reply leaves them no room."""
        packed = pack(seen, self._pieces["observation"])
        if not has_room(packed, reply):
            receipt = dict(seen.get("receipt") or {}, answers=[])
            packed = pack(dict(seen, receipt=receipt), self._pieces["observation"])
        return dict(head, observation=packed)

    def _insist(self, said: Mapping[str, Any]) -> None:
        """The SDK does not try again what the hub refused."""
        for wait in _BUSY_WAITS_S:
            try:
                return self._write(said)
            except Exception as error:  # noqa: BLE001 - whatever the SDK raises
                complain("report: %s: %s" % (type(error).__name__, error))
                time.sleep(wait * random.uniform(0.5, 1.5))
        return self._write(said)

    def _write(self, said: Mapping[str, Any]) -> None:
        self._told = {}
        told = [part for part in self._pieces if part in said]
        for part in told:
            self._pieces[part] = sorted(said[part] or {})
        self._hub.report({SECTION: dict(said)})
        for part in told:
            self._pieces[part] = standing(said[part])


def _lasting(seen: Mapping[str, Any]) -> Dict[str, Any]:
    """What is observed, without what is another at every look and means nothing by itself."""
    return dict(seen, time=None, health=(seen.get("health") or {}).get("throttled"))

"""Direct methods when whoever waits for them gives up: nobody is kept, and nothing more is asked for."""

import threading
import time
from typing import Any

from contract_worlds import generic_board

from fleetctl.transports.iothub import IotHubTransport


class SlowHub:
    """A hub where one board answers at once, and the others when they are let."""

    host = "hub.invalid"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go_on = threading.Event()

    def invoke(self, device: str, *_: Any, **__: Any) -> dict[str, Any]:
        self.asked.append(device)
        if device != "b00":
            self.go_on.wait(20.0)
        return {"ok": True}


def test_who_gives_up_waits_for_nobody() -> None:
    """After Ctrl-C no further board is told anything, and those that are silent hold nobody up."""
    hub = SlowHub()
    boards = [generic_board(f"b{number:02d}") for number in range(60)]
    transport = IotHubTransport(hub, images=None)  # type: ignore[arg-type]
    replies = transport.revert(boards, {}, reason="gate", deadline=300.0)
    assert next(iter(replies)).board == "b00"
    begun = time.monotonic()
    replies.close()  # type: ignore[attr-defined]
    took = time.monotonic() - begun
    asked = len(hub.asked)
    hub.go_on.set()
    time.sleep(0.2)

    assert took < 5.0
    assert asked == len(hub.asked) < len(boards)

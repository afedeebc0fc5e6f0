"""What a board behind a hub is said to be while its module is silent: its last words are not the present."""

from collections.abc import Iterator
from typing import Any

import pytest

from fleetctl.device.edge_report import pack
from fleetctl.manifest.schema import Board, BoardKind, VariantName, Via
from fleetctl.observation import Observed
from fleetctl.observing import observe
from fleetctl.status import Standing, assess
from fleetctl.transports.iothub import IotHubTransport
from fleetctl.transports.iothub_client import NotThere

DIGEST = "a" * 64
LAST = {
    "ok": True,
    "current": DIGEST,
    "good": DIGEST,
    "service": {"state": "running", "loaded": {"release": DIGEST}},
    "time": "2026-01-01T00:00:00Z",
}
BOARD = Board(
    name="luxor-01",
    board=BoardKind.RASPBERRYPI4,
    model="quadrants",
    variant=VariantName.INT8,
    via=Via.IOTHUB,
)


class HubOnPaper:
    """One board that was healthy when it was heard of last; its module is back after `away` looks."""

    def __init__(
        self, away: int, agent: dict[str, Any], *, edge_hub: bool = True, answers: bool = False
    ) -> None:
        self.away, self.agent, self.looks = away, agent, 0
        self.edge_hub, self.answers, self.asked = edge_hub, answers, 0
        self.overwritten: dict[str, str] = {}

    def invoke(self, device: str, module: str, method: str, *_: Any) -> None:
        assert (BOARD.name, "$edgeAgent", "ping") == (device, module, method)
        self.asked += 1
        if not self.answers:
            raise NotThere("DeviceNotOnline")

    def rows(self, query: str) -> Iterator[dict[str, Any]]:
        name = {"deviceId": BOARD.name}
        if "devices.modules" not in query:
            yield {**name, "edge": True, "etag": "1"}
            return
        state = "Connected" if self.looks >= self.away else "Disconnected"
        self.looks += 1
        yield {**name, "moduleId": "$edgeAgent", "connectionState": "Disconnected", "module": self.agent}
        shown = "Connected" if self.edge_hub else "Disconnected"
        yield {**name, "moduleId": "$edgeHub", "connectionState": shown}
        said = {"observation": pack(LAST)}
        yield {**name, "moduleId": "fleetctl", "connectionState": state, "said": said}


def seen(away: int, **agent: str) -> Observed:
    hub: Any = HubOnPaper(away, agent)
    images: Any = None
    transport = IotHubTransport(hub, images, sleep=lambda _: None)
    return observe(transport, [BOARD], deadline=60.0)[BOARD.name]


@pytest.mark.parametrize("agent", [{}, {"runtimeStatus": "running"}, {"runtimeStatus": "unknown"}])
def test_nobody_knows_how_a_board_is_whose_module_is_away(agent: dict[str, str]) -> None:
    """It is not as healthy as it said it was when it was heard of last, and when that was is said."""
    found = seen(99, **agent)

    assert Standing.OFFLINE is assess(BOARD, DIGEST, found).standing
    assert "2026-01-01T00:00:00Z" in found.error


def test_a_module_that_its_agent_cannot_keep_running_is_down() -> None:
    """The board can be reached, its service is down for the agent's reason, and a rollout may mend it."""
    found = seen(99, runtimeStatus="backoff", statusDescription="exited with 1")
    status = assess(BOARD, DIGEST, found)

    assert (Standing.WRONG, ("service is down: exited with 1",)) == (status.standing, status.troubles)
    assert DIGEST == found.current


def test_a_module_that_is_away_for_a_moment_is_waited_for() -> None:
    """As one is that was started anew, or that connects with another token."""
    assert Standing.HEALTHY is assess(BOARD, DIGEST, seen(2, runtimeStatus="running")).standing


@pytest.mark.parametrize(
    ("edge_hub", "answers", "is_there", "asked"),
    [(True, False, True, 0), (False, True, True, 1), (False, False, False, 1)],
)
def test_a_board_is_there_whatever_azure_shows_of_its_agent(
    *, edge_hub: bool, answers: bool, is_there: bool, asked: int
) -> None:
    """That is disconnected always: its edgeHub tells, and before there is one, the agent's answer."""
    hub: Any = HubOnPaper(0, {}, edge_hub=edge_hub, answers=answers)
    images: Any = None
    (reply,) = IotHubTransport(hub, images, sleep=lambda _: None).observe([BOARD], deadline=60.0)

    assert (is_there, asked) == (reply.ok, hub.asked)

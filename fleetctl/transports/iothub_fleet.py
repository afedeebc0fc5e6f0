"""What a hub knows of boards: where each stands, read in a few queries however many there are."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from fleetctl.device.edge_report import SECTION, unpack
from fleetctl.transports.base import Reply, ReplyStatus
from fleetctl.transports.iothub_client import QUERY_LIMIT, HubClient, NotThere, Row
from fleetctl.transports.iothub_content import AGENT, HUB, MODULE
from fleetctl.transports.wire import printable, tamed

TAG = "fleetctl"  # {"now", "before": deployments, "was": the release that `before` means}
KEPT = ("confirmed", "unchanged")  # states of a board that goes on with what it was sent
_CONNECTED = "Connected"
_UNREADABLE, _FAILED = (400, 412), 500  # codes of an agent for a deployment that it cannot read, or carry out
_HOPELESS = re.compile("manifest unknown|no matching manifest|denied|unauthorized|no basic auth")
_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")


class Standing(Struct, frozen=True):
    """One board, as the hub knows it. What its module and agent say is untrusted."""

    board: str
    is_registered: bool = False
    is_edge: bool = False
    etag: str = ""
    tags: Mapping[str, Any] = field(default_factory=dict)
    agent: Mapping[str, Any] = field(
        default_factory=dict
    )  # what it says of the last deployment and of our module
    is_online: bool = False  # as far as the hub shows it: an agent alone may be there all the same
    said: Mapping[str, Any] = field(default_factory=dict)  # by our module
    is_connected: bool = False  # our module

    @property
    def observation(self) -> dict[str, Any]:
        """What the board last told of itself; a board without our module runs nothing of ours."""
        told = tamed(unpack(self.said.get("observation"))) or {"ok": True, "current": None}
        if self.is_mute and (why := self._why_down()):
            told["service"] = {"state": f"down: {why}", "loaded": None}
        return told

    @property
    def is_mute(self) -> bool:
        """Whether nothing says that what its module told last still holds."""
        return self.is_online and bool(self.said) and not self.is_connected

    @property
    def answer(self) -> tuple[str, Any]:
        """Which consignment the module answered last, and at which version of its twin."""
        return str(self.said.get("consignment") or ""), self.said.get("answered")

    def refusal(self) -> Reply | None:
        """Why a person has to act before this board can be worked with."""
        if not self.is_registered:
            return Reply(
                self.board,
                ReplyStatus.REFUSED,
                error="it is not registered in the hub",
                hint=f"az iot hub device-identity create --edge-enabled --device-id {self.board} -n ...",
            )
        if not self.is_edge:
            return Reply(
                self.board,
                ReplyStatus.REFUSED,
                error="it is registered without edge capability",
                hint="register it anew with --edge-enabled: deployments are for edge devices alone",
            )
        return None

    def absence(self) -> Reply | None:
        """A reply for a board that is not there."""
        if self.is_online:
            return None
        return Reply(self.board, ReplyStatus.UNREACHABLE, error="its edge agent is not connected to the hub")

    def silence(self) -> Reply | None:
        """A reply for a board whose module is away, and its agent does not know why."""
        if not self.is_mute or self._why_down():
            return None
        last = printable(self.observation.get("time")) or "an unknown time"
        error = f"its module is not connected to the hub; it told of itself last at {last}"
        return Reply(
            self.board, ReplyStatus.UNREACHABLE, error=error, hint=f"on the board: iotedge logs {MODULE}"
        )

    def _why_down(self) -> str:
        """Why our module does not run, by the agent's account; empty where it runs, or nobody says."""
        module = _object(self.agent.get("module"))
        state = printable(module.get("runtimeStatus"))
        return (
            "" if state in ("", "running", "unknown") else printable(module.get("statusDescription")) or state
        )

    def complaint(self, image: str) -> str:
        """Why the agent will never run our module from `image`, by its own account; empty where it may yet.

        An agent waits for an image a minute, says that it has failed, and fetches on; and it says more while
        it is updated itself. So only what no other try changes is a complaint.
        """
        code, said = self._outcome
        is_about_image = image in said and bool(_HOPELESS.search(said))
        return said if code in _UNREADABLE or (code == _FAILED and is_about_image) else ""

    def trouble(self) -> str:
        """What is wrong by the agent's account, whether or not it may pass; empty where nothing is."""
        code, said = self._outcome
        return said if code in (*_UNREADABLE, _FAILED) else self._why_down()

    @property
    def _outcome(self) -> tuple[Any, str]:
        """The agent's code for the last deployment, and its words."""
        status = _object(self.agent.get("outcome"))
        code = status.get("code")
        return code, printable(status.get("description")) or f"the agent's status is {printable(code)}"


def standings(hub: HubClient, names: Sequence[str]) -> dict[str, Standing]:
    """Where each of these boards stands."""
    devices = {row.get("deviceId"): _up_to_date(hub, row) for row in _rows(hub, _DEVICES, names)}
    return _standings(names, devices, _rows(hub, _MODULES, names))


def answers(hub: HubClient, names: Sequence[str]) -> dict[str, Standing]:
    """The same without devices' own twins, and without what boards observe: enough for who waits for answers.

    That would be most of the bytes, again with every look, and a hub counts them.
    """
    rows = (
        {**row, "said": {key: row[key] for key in _ANSWER if row.get(key) is not None}}
        for row in _rows(hub, _ANSWERS, names)
    )
    return _standings(names, {}, rows)


def as_it_is(hub: HubClient, board: Standing) -> Standing:
    """A board with what its module says now, which a query may tell half an hour later."""
    try:
        return replace(board, said=_object(hub.reported(board.board, MODULE).get(SECTION)))
    except NotThere:
        return board


def answered(hub: HubClient, consignment: str) -> int:
    """How many modules have answered a consignment, whichever way."""
    where = f"moduleId = '{MODULE}' AND properties.reported.{SECTION}.consignment = {literal(consignment)}"
    where += f" AND is_defined(properties.reported.{SECTION}.answered)"
    rows = list(hub.rows(f"SELECT COUNT() AS n FROM devices.modules WHERE {where}"))
    number = rows[0].get("n") if rows else 0
    return number if isinstance(number, int) else 0


# What others write has names here that no twin has: the SDK would hold a twin's own to their types, and give
# up all rows of a query for the one board that reports something else.
_DEVICES = f"SELECT deviceId, etag, tags.{TAG} AS ours, capabilities.iotEdge AS edge FROM devices"
_DEVICES += " WHERE deviceId IN ["
_OF_MODULES = (
    "SELECT deviceId, moduleId, connectionState, {said}, "
    f"properties.reported.lastDesiredStatus AS outcome, properties.reported.modules.{MODULE} AS module, "
    "properties.reported.lastDesiredVersion AS followed "
    "FROM devices.modules WHERE moduleId IN [{modules}] AND deviceId IN ["
)
_MODULES = _OF_MODULES.format(
    said=f"properties.reported.{SECTION} AS said", modules=f"'{AGENT}', '{HUB}', '{MODULE}'"
)
_ANSWER = ("consignment", "answered", "state", "reply")  # of what our module says
_ANSWERS = _OF_MODULES.format(
    said=", ".join(f"properties.reported.{SECTION}.{key} AS {key}" for key in _ANSWER),
    modules=f"'{AGENT}', '{MODULE}'",
)


def literal(name: str) -> str:
    """A name as a text of the hub's query language. Those of boards and of our deployments need no escapes.

    Raises:
        ValueError: the name has a character that only an escape could bring in, which Microsoft does not
            define the same everywhere.
    """
    if not _PLAIN.match(name):
        raise ValueError(f"{name!r} cannot be asked for in a query")
    return f"'{name}'"


def _rows(hub: HubClient, head: str, names: Sequence[str]) -> Iterator[Row]:
    for share in _shares(names, QUERY_LIMIT - len(head)):
        yield from hub.rows(f"{head}{share}]")


def _up_to_date(hub: HubClient, device: Row) -> Row | None:
    """A device as a query gave it, unless we wrote its twin since: queries lag, by minutes at times."""
    name = str(device.get("deviceId"))
    if device.get("etag") != hub.overwritten.get(name):
        return device
    try:
        etag, tags = hub.device_twin(name)
    except NotThere:
        return None
    return {**device, "etag": etag, "ours": tags.get(TAG)}


def _shares(names: Iterable[str], room: int) -> Iterator[str]:
    """Names as literals with commas between, in lines no longer than `room`."""
    line = ""
    for name in names:
        quoted = literal(name)
        if line and len(line) + len(quoted) + 1 > room:
            yield line
            line = ""
        line += f",{quoted}" if line else quoted
    if line:
        yield line


def _standings(
    names: Sequence[str], devices: Mapping[Any, Row | None], rows: Iterable[Row]
) -> dict[str, Standing]:
    """Boards by name, of their devices and of rows of their modules."""
    modules: dict[Any, dict[Any, Row]] = {}
    for row in rows:
        modules.setdefault(row.get("deviceId"), {})[row.get("moduleId")] = row
    return {name: _standing(name, devices.get(name) or {}, modules.get(name, {})) for name in names}


def _standing(name: str, device: Row, modules: Mapping[Any, Row]) -> Standing:
    agent, hub, module = (modules.get(each, {}) for each in (AGENT, HUB, MODULE))
    return Standing(
        board=name,
        is_registered=bool(device),
        is_edge=device.get("edge") is True,
        etag=str(device.get("etag") or ""),
        tags=_object(device.get("ours")),
        agent={key: agent.get(key) for key in ("outcome", "followed", "module")},
        # Azure shows Microsoft's agent as disconnected always, for it sends no messages; edgeHub does.
        is_online=_CONNECTED in (agent.get("connectionState"), hub.get("connectionState")),
        said=_object(module.get("said")),
        is_connected=module.get("connectionState") == _CONNECTED,
    )


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}

"""Boards on Azure IoT Edge: the same promises as over ssh, without a route to the board.

A release goes out as a deployment that many boards share; each board proves it by itself, keeps it once its
proof is in the hub, and its proof is judged here again. What a deployment is said to have "applied" opens
nothing. Nothing here has to live for a board to end on one whole, proved release.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from fleetctl.device.edge_report import unpack
from fleetctl.device.judge import PASSED, judge
from fleetctl.errors import BuildError, TransportError
from fleetctl.manifest.schema import Board
from fleetctl.signing.statement import Signed
from fleetctl.store import BlobStore
from fleetctl.transports.base import NOTHING_SIGNED, Order, Reply, ReplyStatus
from fleetctl.transports.dialogue import terms
from fleetctl.transports.fan_out import fan_out
from fleetctl.transports.iothub_client import HubClient, NoAnswer, NotThere
from fleetctl.transports.iothub_consignment import Consignment, check_whole, consignments
from fleetctl.transports.iothub_content import AGENT, MODULE, Surroundings
from fleetctl.transports.iothub_deploy import Deployer, Wanted, fall_back, follow, wanted
from fleetctl.transports.iothub_fleet import KEPT, Standing, answered, answers, as_it_is, standings
from fleetctl.transports.iothub_images import Images, machine_of
from fleetctl.transports.iothub_quota import Hub, Need, estimate
from fleetctl.transports.iothub_twin import twin_size
from fleetctl.transports.wire import BoardFault, BoardSaidNo, printable, tamed

_AT_ONCE = 16  # direct methods under way
_PING_S = 5.0
_LOOK_ANYWAY = 5  # polls after which answers are read though their number is the same


class Pace(Struct, frozen=True):
    """How often a hub is asked, and how long a board may take. Seconds."""

    poll: float = 5.0
    fetch: float = 600.0  # an image
    restart: float = 15.0  # to start the module anew, or to connect it again with another token


class _Sent(Struct, frozen=True):
    """An order that is on its way, with how its board stood before."""

    order: Order
    consignment: Consignment
    image: str
    before: Standing
    give_up: float

    def is_answered(self, now: Standing) -> bool:
        """Whether the module has answered this very order, and not the same one at another time."""
        consignment, version = now.answer
        is_ours = consignment == self.consignment.digest and version is not None
        is_ours = is_ours and now.said.get("state") != "held"
        return is_ours and now.answer != self.before.answer

    @property
    def bytes(self) -> int:
        """What it takes to bring it to the board."""
        has_image = self.before.said.get("image") == self.consignment.image_digest
        image = 0 if has_image else sum(ref["size"] for ref in self.consignment.files.values())
        return image + twin_size(self.consignment.desired())


class IotHubTransport(Struct):
    """Reaches boards through a hub.

    Raises, from every method: TransportError, Refused, OverQuota, where the hub itself cannot be worked with.
    """

    hub: HubClient
    images: Images
    size: Hub = field(default_factory=Hub)
    around: Surroundings = field(default_factory=Surroundings)
    pace: Pace = field(default_factory=Pace)
    sleep: Callable[[float], None] = time.sleep
    say: Callable[[str], None] = lambda _: None  # hears what a wave will cost
    name: str = "iothub"

    def observe(self, boards: Sequence[Board], *, deadline: float) -> Iterator[Reply]:
        known = self._standings([board.name for board in boards])
        patience = min(self.pace.restart, deadline)
        while (mute := [name for name, each in known.items() if each.is_mute]) and patience > 0:
            self.sleep(self.pace.poll)
            patience -= self.pace.poll
            known |= self._standings(mute)
        for name, standing in known.items():
            fault = standing.refusal() or standing.absence() or standing.silence()
            yield fault or Reply(name, ReplyStatus.OK, standing.observation)

    def release(self, orders: Sequence[Order]) -> Iterator[Reply]:
        known = self._standings([order.board.name for order in orders])
        ready: list[Order] = []
        whole: set[str] = set()
        for order in orders:
            fault = _unfit(order, whole) or known[order.board.name].refusal()
            if fault is not None:
                yield fault
            else:
                ready.append(order)
        if not ready:
            return
        deployer = Deployer(self.hub, self.size)
        sent, settled = self._send(deployer, ready, known)
        yield from settled
        yield from self._await(sent)
        try:
            deployer.collect()
        except TransportError as error:  # the next wave does: this one is over, and its boards are proved
            self.say(f"deployments that no board follows are left in the hub: {error.message}")

    def confirm(
        self, boards: Sequence[Board], releases: Mapping[str, str], *, deadline: float
    ) -> Iterator[Reply]:
        return self._invoke(boards, "confirm", lambda name: {"release": releases[name]}, deadline)

    def revert(
        self,
        boards: Sequence[Board],
        to: Mapping[str, str | None],
        *,
        reason: str,
        deadline: float,
        signed: Mapping[str, Signed] = NOTHING_SIGNED,
    ) -> Iterator[Reply]:
        del signed  # boards that trust keys are not released to over a hub
        wishes = lambda name: {"to": to.get(name), "reason": reason}  # noqa: E731
        left: list[str] = []
        for reply in self._invoke(boards, "revert", wishes, deadline):
            # Also where the board is away: it is not to begin again with what it was to leave.
            if reply.ok or reply.status is ReplyStatus.UNREACHABLE:
                left.append(reply.board)
            yield reply
        # Only now: a board that followed its former deployment before it was told to go back goes too far.
        if left:
            deployer, standing = Deployer(self.hub, self.size), standings(self.hub, left).values()
            # Before it is lowered: what nobody else follows puts back all that are away, in one call.
            self._put_back(deployer.waiting_with(standing), {})
            deployer.lower(standing)
        self._put_back(left, to)

    def probe(self, boards: Sequence[Board], *, deadline: float) -> Iterator[Reply]:
        return self._invoke(boards, "smoke", lambda _: {}, deadline)

    def logs(self, boards: Sequence[Board], *, lines: int, deadline: float) -> Iterator[Reply]:
        return self._invoke(boards, "logs", lambda _: {"lines": lines}, deadline)

    def history(self, boards: Sequence[Board], *, last: int, deadline: float) -> Iterator[Reply]:
        return self._invoke(boards, "history", lambda _: {"last": last}, deadline)

    # -- releasing

    def _send(
        self, deployer: Deployer, orders: Sequence[Order], known: Mapping[str, Standing]
    ) -> tuple[dict[str, _Sent], list[Reply]]:
        """Write deployments and tags; gives what is on its way, and what needs no waiting for."""
        sent: dict[str, _Sent] = {}
        settled: list[Reply] = []
        loads = _loads(orders)
        wishes = [self._wanted(consignment, group, known) for consignment, group in loads]
        cost = estimate(Need(len(orders), len(orders), len(wishes)), self.size)
        self.say(
            f"about {cost.calls} calls to hub {self.hub.host} for this wave, "
            f"{max(1, math.ceil(cost.minutes))} min at least at {self.size.tier}, {self.size.units} units"
        )
        deployed = deployer.deploy(wishes, len(orders))
        for (consignment, group), wish, deployment in zip(loads, wishes, deployed.names, strict=True):
            again = [order for order in group if _has(order, known[order.board.name], deployment)]
            settled += self._prove_again(again)
            rest = [order for order in group if order not in again]
            tags = follow(deployment, deployed.brings)
            deployer.tag([order.board.name for order in rest], tags, known)
            for order in rest:
                before = known[order.board.name]
                if (absence := before.absence()) is not None:
                    settled.append(absence)  # its tag is set: it joins when it comes back
                else:
                    give_up = order.deadline + self.pace.fetch
                    sent[order.board.name] = _Sent(order, consignment, wish.image, before, give_up)
        return sent, settled

    def _wanted(
        self, consignment: Consignment, group: Sequence[Order], known: Mapping[str, Standing]
    ) -> Wanted:
        """The deployment that brings a consignment to boards that stand so."""
        blobs = BlobStore(group[0].blobs)
        image = self.images.ensure(consignment, blobs.get, machine_of(group[0].board))
        wish = wanted(consignment, image, [order.board for order in group], self.around)
        stand = {order.board.name: known[order.board.name] for order in group}
        spent = (_spent(order, stand[order.board.name], consignment) for order in group)
        return replace(wish, floor=_floor(stand.values()), spent=frozenset(name for name in spent if name))

    def _await(self, sent: dict[str, _Sent]) -> Iterator[Reply]:
        """Replies of boards as their answers come in, and of those that give none."""
        waited, seen, polls, begun = 0.0, -1, 0, time.monotonic()
        while sent:
            self.sleep(self.pace.poll)
            # A hub that throttles takes minutes over a look, and those are the board's, too.
            waited = max(waited + self.pace.poll, time.monotonic() - begun)
            polls += 1
            number = sum(answered(self.hub, each) for each in {s.consignment.digest for s in sent.values()})
            late = [name for name, each in sent.items() if waited >= each.give_up]
            if number == seen and polls % _LOOK_ANYWAY and not late:
                continue
            seen = number
            stand = answers(self.hub, list(sent))
            stand |= {name: as_it_is(self.hub, stand[name]) for name in late}
            heard = [
                reply
                for name, now in stand.items()
                if (reply := self._heard(sent[name], now) or (self._silent(now) if name in late else None))
            ]
            self._put_back([reply.board for reply in heard if not _is_kept(reply)], {})
            for reply in heard:
                del sent[reply.board]
                yield reply

    def _heard(self, sent: _Sent, now: Standing) -> Reply | None:
        """What came of an order, if anything has."""
        if sent.is_answered(now):
            return self._judged(sent, now)
        if now.agent != sent.before.agent and (complaint := now.complaint(sent.image)):
            error = f"its edge agent cannot run the module: {complaint}"
            hint = "is the image in the registry, and may the board fetch it?"
            return Reply(now.board, ReplyStatus.FAILED, error=error, hint=hint)
        return None

    def _judged(self, sent: _Sent, now: Standing) -> Reply:
        """A module's answer, judged by the bytes that were sent."""
        if now.said.get("state") == "too-large":
            error = "what it has to say does not fit into its twin (32 KiB)"
            return Reply(now.board, ReplyStatus.FAILED, error=error, hint="take fewer golden samples")
        data = tamed(unpack(now.said.get("reply")))
        if data.get("ok") is not True:
            fault = BoardSaidNo("activate", printable(data.get("code")), printable(data.get("error")))
            return fault.reply(now.board)
        ordered, contract, smoke = terms(sent.order)
        receipt = data.get("receipt")
        judgement = judge(contract, smoke, receipt if isinstance(receipt, dict) else {}, ordered)
        data |= {"sent": sent.bytes, "judgement": judgement}
        if data.get("state") in KEPT and judgement["outcome"] != PASSED:
            data |= self._overrule(sent.order, "; ".join(judgement["reasons"]))
        return Reply(now.board, ReplyStatus.OK, data)

    def _overrule(self, order: Order, reason: str) -> dict[str, Any]:
        """Have a board leave what it was content with and we are not."""
        (reply,) = self._invoke(
            [order.board], "revert", lambda _: {"to": None, "reason": reason}, order.deadline
        )
        if not reply.ok:
            return {"state": "revert_failed"}
        return {key: reply.data.get(key) for key in ("state", "current")}

    def _prove_again(self, orders: Sequence[Order]) -> list[Reply]:
        """Fresh evidence of boards that run what they are to run."""
        by_name = {order.board.name: order for order in orders}
        deadline = max((order.deadline for order in orders), default=0.0)
        found = []
        for reply in self.probe([order.board for order in orders], deadline=deadline):
            if reply.ok:
                ordered, contract, smoke = terms(by_name[reply.board])
                judgement = judge(contract, smoke, reply.data.get("receipt") or {}, ordered)
                more = {"state": "unchanged", "sent": 0, "judgement": judgement}
                reply = Reply(reply.board, reply.status, {**reply.data, **more})
            found.append(reply)
        return found

    def _put_back(self, boards: Sequence[str], to: Mapping[str, str | None]) -> None:
        if boards:
            known = standings(self.hub, boards)
            Deployer(self.hub, self.size).tag(boards, fall_back(to), known)

    # -- direct methods

    def _standings(self, names: Sequence[str]) -> dict[str, Standing]:
        """Where boards stand; those that do not show whether they are there are asked."""
        known = standings(self.hub, names)
        quiet = [each.board for each in known.values() if each.is_edge and not each.is_online]
        for name, is_there in fan_out(quiet, lambda name: (name, self._is_there(name)), _AT_ONCE):
            known[name] = replace(known[name], is_online=is_there)
        return known

    def _is_there(self, board: str) -> bool:
        """Whether its agent answers: before anything is deployed, nothing else of a board is connected."""
        try:
            self.hub.invoke(board, AGENT, "ping", {}, _PING_S)
        except (NotThere, NoAnswer):
            return False
        return True

    def _silent(self, now: Standing) -> Reply:
        """The reply of a board that said nothing until its time was up."""
        if not (now.is_online or self._is_there(now.board)):
            return Reply(now.board, ReplyStatus.TIMED_OUT, error="lost half-way: its edge agent is gone")
        if now.said.get("state") == "held":
            error = "it holds what it has: it was sent back at a time that lies ahead of the clock here"
            return Reply(
                now.board, ReplyStatus.TIMED_OUT, error=error, hint="set that clock, or wait until then"
            )
        hint = f"on the board: iotedge logs {MODULE}"
        error = "its module never reported"
        if trouble := now.trouble():
            error += f"; its edge agent says: {trouble}"
        return Reply(now.board, ReplyStatus.TIMED_OUT, error=error, hint=hint)

    def _invoke(
        self,
        boards: Sequence[Board],
        method: str,
        payload: Callable[[str], Mapping[str, Any]],
        deadline: float,
    ) -> Iterator[Reply]:
        def ask(board: Board) -> Reply:
            return self._ask(board.name, method, payload(board.name), deadline)

        return fan_out(boards, ask, _AT_ONCE)

    def _ask(self, board: str, method: str, payload: Mapping[str, Any], deadline: float) -> Reply:
        # Told twice, a board that went back to the release before would go back to the one that it left.
        once = method == "revert" and payload.get("to") is None
        try:
            said = self.hub.invoke(board, MODULE, method, payload, deadline, once=once)
            return Reply(board, ReplyStatus.OK, _checked(method, said))
        except NotThere as error:
            return Reply(board, ReplyStatus.UNREACHABLE, error=f"its module is not connected ({error.code})")
        except NoAnswer:
            return Reply(board, ReplyStatus.TIMED_OUT, error=f"{method}: its module does not answer")
        except BoardFault as fault:
            return fault.reply(board)


def _is_kept(reply: Reply) -> bool:
    """Whether a board goes on with what it was sent."""
    return reply.ok and reply.data.get("state") in KEPT


def _loads(orders: Sequence[Order]) -> list[tuple[Consignment, list[Order]]]:
    """Orders that one deployment serves: the same consignment, for one kind of machine and accelerator."""
    found: list[tuple[Consignment, list[Order]]] = []
    for consignment, group in consignments(orders).values():
        kinds: dict[tuple[Any, ...], list[Order]] = {}
        for order in group:
            board = order.board
            kinds.setdefault((machine_of(board), board.board.has_edge_tpu, board.attached), []).append(order)
        found += [(consignment, each) for each in kinds.values()]
    return found


def _unfit(order: Order, whole: set[str]) -> Reply | None:
    """A reply for an order that cannot be sent as it is."""
    if order.signed is not None:
        return Reply(
            order.board.name,
            ReplyStatus.FAILED,
            error="its release is signed for it by name, and over IoT Hub boards share what they get",
            hint="reach it via ansible, or leave it out with --on",
        )
    try:
        check_whole(order, whole)
    except BuildError as error:
        return Reply(order.board.name, ReplyStatus.FAILED, error=error.message, hint=error.hint)
    return None


def _has(order: Order, standing: Standing, deployment: str) -> bool:
    """Whether the board follows the deployment and has proved that very release."""
    return standing.tags.get("now") == deployment and standing.is_online and _runs(order, standing)


def _runs(order: Order, standing: Standing) -> bool:
    seen = standing.observation
    return seen.get("good") == seen.get("current") == order.release.digest


def _spent(order: Order, standing: Standing, consignment: Consignment) -> str:
    """The deployment that the board follows, if it has answered it and does not run what it brings.

    Nothing changes in its twin where that one is used again, and so it would say nothing more.
    """
    answered_to, version = standing.answer
    has_answered = answered_to == consignment.digest and version is not None
    return str(standing.tags.get("now") or "") if has_answered and not _runs(order, standing) else ""


def _floor(boards: Iterable[Standing]) -> int:
    """The latest time up to which one of these boards follows nothing: somebody sent it back."""
    said = (board.said.get("floor") for board in boards)
    return max((each for each in said if isinstance(each, int)), default=0)


def _checked(method: str, said: Any) -> Mapping[str, Any]:
    """A module's reply to a method, of the form that boards' replies have."""
    said = tamed(said) if isinstance(said, dict) else said
    if not isinstance(said, dict) or not isinstance(said.get("ok"), bool):
        excerpt = printable(json.dumps(said))[:120]
        raise BoardFault(ReplyStatus.FAILED, f"{method}: the module's answer is not a reply: {excerpt}")
    if not said["ok"]:
        raise BoardSaidNo(method, printable(said.get("code")), printable(said.get("error")))
    return said

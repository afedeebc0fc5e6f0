"""Writing to a hub: deployments that bring consignments, and the tags that say which board follows which.

A board's tag names the deployment it follows and the one it followed before; a deployment is for the boards
whose tag names it either way, and a later one has the higher priority. So another tag, or a lower priority of
the deployment, puts a board back, and nothing else has to be written.
"""

import copy
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from fleetctl.errors import TransportError
from fleetctl.manifest.schema import Board
from fleetctl.store import canonical_json, sha256
from fleetctl.transports.iothub_client import HubClient, NotThere
from fleetctl.transports.iothub_consignment import Consignment
from fleetctl.transports.iothub_content import LABEL, MODULE, Surroundings, content
from fleetctl.transports.iothub_fleet import KEPT, TAG, Standing, literal, standings
from fleetctl.transports.iothub_quota import DEPLOYMENTS, Hub, Need, check

_FIRST_PRIORITY = 1000  # above what people give theirs, and with room below
_TRIES = 6
_YOUNG_MS = 45 * 60 * 1000  # queries may lag by 30 minutes, as Microsoft has it
_DAY_MS = 24 * 60 * 60 * 1000
_DESIRED = "properties.desired"
_OURS = re.compile(r"fleetctl-[0-9a-f]{24}-[0-9]{1,9}\Z")  # names of our deployments; Azure takes no dots


class Wanted(Struct, frozen=True):
    """A deployment to have; its name tells its content.

    `floor` is when one of its boards was sent back last: what was issued by then moves that board no more.
    `spent` names deployments that one of its boards follows, has answered and does not run: that board says
    nothing more about them.
    """

    consignment: Consignment
    modules: Mapping[str, Any]  # modulesContent
    image: str = ""  # that they name
    floor: int = 0
    spent: frozenset[str] = frozenset()

    @property
    def stem(self) -> str:
        return f"fleetctl-{sha256(canonical_json(self.modules))[:24]}"

    def can_use(self, deployment: Any) -> bool:
        """Whether one that has this content brings it to every board."""
        return _issued(deployment) > self.floor and deployment.id not in self.spent


class Deployed(Struct, frozen=True):
    """Names of the deployments that were wanted, in order; and of every one in the hub, what it brings."""

    names: Sequence[str]
    brings: Mapping[str, str]  # the digest of its consignment


def wanted(consignment: Consignment, image: str, boards: Sequence[Board], around: Surroundings) -> Wanted:
    """The deployment that brings a consignment in that image."""
    return Wanted(consignment, content(consignment, image, boards, around), image)


class Deployer:
    """Deployments and tags of one hub."""

    def __init__(self, hub: HubClient, size: Hub) -> None:
        self._hub = hub
        self._size = size
        self._in_use: set[str] = set()  # names that were given out: tags are about to name them

    def deploy(self, wishes: Sequence[Wanted], boards: int) -> Deployed:
        """Have these deployments.

        What is on top of all of ours is used again: by later waves, or after a controller that was killed.
        What is not is made anew above them, since to raise it would turn boards that went on from it. So is
        what one of its boards would not move for.

        Raises:
            OverQuota: the hub has no room for them; nothing has been written.
        """
        present = self._hub.deployments()
        ours = [each for each in present if LABEL in (each.labels or {})]
        top = max((_rank(each) for each in ours), default=_FIRST_PRIORITY)
        # One that was lowered is not used again, and its name not either.
        on_top = {_stem(each): each for each in ours if _rank(each) == top == each.priority}
        usable = {
            wish.stem: str(on_top[wish.stem].id)
            for wish in wishes
            if wish.stem in on_top and wish.can_use(on_top[wish.stem])
        }
        fresh = [wish for wish in wishes if wish.stem not in usable]
        issued = _later_than(present, [wish.floor for wish in wishes])
        contents = tuple(wish.modules for wish in wishes)
        brings = {str(each.id): str(_desired(each).get("consignment") or "") for each in present}
        if fresh and len(present) + len(fresh) > DEPLOYMENTS[self._size.tier]:
            present = self._roomier(present, len(fresh), set(usable.values()))
        check(Need(boards, boards, len(fresh), contents), self._sized(len(present)))
        for wish in fresh:
            usable[wish.stem] = self._create(wish, top + 1, issued)
        self._in_use |= set(usable.values())
        return Deployed([usable[wish.stem] for wish in wishes], brings)

    def _roomier(self, present: list[Any], needed: int, keep: set[str]) -> list[Any]:
        """Those of `present` that stay once there is room; what is young goes only where it has to."""
        keep |= self._tagged_with()
        left = self._collected(present, keep | {each.id for each in present if _is_young(each)})
        if len(left) + needed <= DEPLOYMENTS[self._size.tier]:
            return left
        return self._collected(left, keep)

    def _tagged_with(self) -> set[str]:
        """What boards follow that we tagged: a query of all boards may not know it yet."""
        boards = standings(self._hub, list(self._hub.overwritten)).values()
        return {str(board.tags.get(part)) for board in boards for part in ("now", "before")}

    def collect(self) -> None:
        """Delete deployments of ours that no board's tag names, unless they are new, or were given out here.

        Queries lag behind what was written, and another controller may be about to tag.
        """
        old = (each for each in self._hub.deployments() if each.priority == 0 or not _is_young(each))
        self._collected(old, self._in_use)

    def tag(
        self,
        names: Sequence[str],
        tags: Callable[[Standing], Mapping[str, Any] | None],
        known: Mapping[str, Standing],
    ) -> None:
        """Give each board the tags that `tags` works out; boards that have them are left alone.

        A board whose twin somebody else wrote meanwhile is read again, and tried again.
        """
        left = {name: known[name] for name in names}
        for _ in range(_TRIES):
            differing = {name: patch for name, each in left.items() if (patch := _patch(tags(each), each))}
            if not differing:
                return
            wishes = [(name, left[name].etag, {TAG: patch}) for name, patch in differing.items()]
            late = self._hub.tag(wishes)
            if not late:
                return
            left = {name: reread for name in late if (reread := self._reread(left[name]))}
        raise TransportError(f"the tags of {', '.join(sorted(left)[:5])} change all the time")

    def _reread(self, board: Standing) -> Standing | None:
        """A board with its twin as it is now, which queries tell later; None where it is gone."""
        try:
            etag, tags = self._hub.device_twin(board.board)
        except NotThere:
            return None
        ours = tags.get(TAG)
        return replace(board, etag=etag, tags=ours if isinstance(ours, dict) else {})

    def waiting_with(self, boards: Iterable[Standing]) -> list[str]:
        """Boards that follow what these do, and have not answered it: they were away, or still are."""
        named = {
            now for board in boards if isinstance(now := board.tags.get("now"), str) and _OURS.match(now)
        }
        return [
            follower.board
            for deployment in (self._hub.deployments() if named else [])
            if deployment.id in named
            for follower in self._followers(str(deployment.id))
            if follower.answer[0] != _desired(deployment).get("consignment")
        ]

    def _followers(self, deployment: str) -> Iterable[Standing]:
        rows = self._hub.rows(f"SELECT deviceId FROM devices WHERE tags.{TAG}.now = {literal(deployment)}")
        names = [str(row["deviceId"]) for row in rows if row.get("deviceId")]
        return standings(self._hub, names).values()

    def lower(self, boards: Iterable[Standing]) -> None:
        """Give deployments that nobody but these boards follows the lowest priority.

        One call each puts all of them back, also those that are away, however many they are. A board that has
        nothing to fall back on might lose its module to a deployment of others.
        """
        followers: dict[str, int] = {}
        for board in boards:
            now = board.tags.get("now")
            # Anybody may write tags: others' are none of ours.
            if isinstance(now, str) and _OURS.match(now) and board.tags.get("before"):
                followers[now] = followers.get(now, 0) + 1
        for name, number in followers.items():
            where = f"tags.{TAG}.now = {literal(name)}"
            rows = list(self._hub.rows(f"SELECT COUNT() AS n FROM devices WHERE {where}"))
            if rows and rows[0].get("n") == number:
                self._hub.set_priority(name, 0)

    def _sized(self, deployments: int) -> Hub:
        return Hub(self._size.tier, self._size.units, deployments)

    def _create(self, wish: Wanted, priority: int, issued: int) -> str:
        from azure.iot.hub.models import Configuration, ConfigurationContent

        name = f"{wish.stem}-{priority}"
        modules = copy.deepcopy(dict(wish.modules))
        modules[MODULE][_DESIRED]["issued"] = issued
        self._hub.create_deployment(
            Configuration(
                id=name,
                schema_version="1.0",
                labels={LABEL: wish.consignment.digest[:12]},
                content=ConfigurationContent(modules_content=modules),
                target_condition=f"tags.{TAG}.now = {literal(name)} OR tags.{TAG}.before = {literal(name)}",
                priority=priority,
            )
        )
        return name

    def _collected(self, present: Iterable[Any], keep: Iterable[str] = ()) -> list[Any]:
        """Those of `present` that stay: what tags name, and what is about to be named."""
        followed = self._followed() | set(keep)
        ours = [each for each in present if LABEL in (each.labels or {})]
        gone = {each.id for each in ours if each.id not in followed}
        for name in gone:
            self._hub.delete_deployment(name)
        return [each for each in present if each.id not in gone]

    def _followed(self) -> set[str]:
        """Names of the deployments that boards' tags name."""
        found: set[str] = set()
        for part in ("now", "before"):
            query = f"SELECT tags.{TAG}.{part} AS name, COUNT() AS n FROM devices GROUP BY tags.{TAG}.{part}"
            found |= {str(row["name"]) for row in self._hub.rows(query) if row.get("name")}
        return found


def _stem(deployment: Any) -> str:
    return str(deployment.id).rpartition("-")[0]


def _rank(deployment: Any) -> int:
    """The priority that a deployment of ours was made with, as its name tells."""
    number = str(deployment.id).rpartition("-")[2]
    return int(number) if number.isdecimal() else _FIRST_PRIORITY


def _issued(deployment: Any) -> int:
    """When a deployment of ours was made, in milliseconds; 0 for others."""
    issued = _desired(deployment).get("issued")
    return issued if isinstance(issued, int) else 0


def _is_young(deployment: Any) -> bool:
    """Whether tags that name it may have been written, and a query not know of them yet."""
    return _issued(deployment) >= time.time_ns() // 1_000_000 - _YOUNG_MS


def _later_than(present: Iterable[Any], floors: Iterable[int]) -> int:
    """A time of issue, in milliseconds, that is above all these, whatever clocks they were taken from.

    A floor is a board's word: one that lies a day ahead moves nothing, for the others would be held to it.
    """
    now = time.time_ns() // 1_000_000
    believed = (floor for floor in floors if floor < now + _DAY_MS)
    return max(now, *(1 + _issued(each) for each in present), *(1 + floor for floor in believed))


def _desired(deployment: Any) -> Mapping[str, Any]:
    """The desired properties of our module in a deployment; empty in others."""
    modules = (deployment.content.modules_content or {}) if deployment.content else {}
    found: Mapping[str, Any] = modules.get(MODULE, {}).get(_DESIRED, {})
    return found


def follow(deployment: str, brings: Mapping[str, str]) -> Callable[[Standing], Mapping[str, Any]]:
    """Tags of a board that is to follow `deployment`, and to fall back on what it has proved before.

    That is what it follows now only if its last answer was to what that one brings: a board that was away,
    or whose controller died, has not answered it, and never ran it.
    """

    def tags(board: Standing) -> Mapping[str, Any]:
        now = board.tags.get("now")
        if now == deployment:
            return board.tags
        if not isinstance(now, str) or now not in brings:
            return {"now": deployment}  # there is nothing left to fall back on
        if brings[now] == board.answer[0] and board.said.get("state") in KEPT:
            return {"now": deployment, "before": now, "was": board.said.get("release")}
        return {"now": deployment, **{key: board.tags.get(key) for key in ("before", "was")}}

    return tags


def fall_back(to: Mapping[str, str | None]) -> Callable[[Standing], Mapping[str, Any]]:
    """Tags of a board that goes back to the release named (None: the one before).

    Where that is what its former deployment brings it follows that again. Else it keeps the tags it has, and
    moves for them no more, since it answered or was told to go back: a board that no deployment of ours is
    for loses its module, and what that serves, where one of others lies below. One that serves nothing yet
    has none.
    """

    def tags(board: Standing) -> Mapping[str, Any]:
        was = board.tags.get("was")
        is_former = bool(was) and to.get(board.board) in (None, was)
        if is_former:
            return {"now": board.tags.get("before")}
        return board.tags if board.observation.get("current") else {}

    return tags


def _patch(wanted_tags: Mapping[str, Any] | None, board: Standing) -> dict[str, Any]:
    """What has to be written so that the board has these tags, with null for what goes."""
    new = {key: value for key, value in (wanted_tags or {}).items() if value}
    old = {key: value for key, value in board.tags.items() if value}
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    return {**patch, **{key: value for key, value in new.items() if old.get(key) != value}}

"""What git says each board should run: lock, templates and runtime put together into releases."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from fleetctl import lockfile
from fleetctl.artifact import Artifact
from fleetctl.build.resolve import resolve
from fleetctl.compatibility.offer import Reported
from fleetctl.compatibility.requirements import Requirements
from fleetctl.compatibility.verdict import Judge, Refusals, refuse
from fleetctl.manifest.schema import Board, Fleet
from fleetctl.observation import Observed, Reach
from fleetctl.plan import Plan, make_plan
from fleetctl.project import Project
from fleetctl.release import Release
from fleetctl.render import kept
from fleetctl.signing.signing import UNSIGNED, Barred, Signing, open_signing
from fleetctl.smoke import BUDGET, CONTRACT, MODEL, Judgement, Ordered, judge
from fleetctl.store import BlobStore
from fleetctl.transports.base import Holding, Order

if TYPE_CHECKING:
    from fleetctl.render.renderer import Renderer


class Desired(Struct, frozen=True):
    """The releases of some boards, known by digest; `order` puts their bytes into the store."""

    project: Project
    fleet: Fleet
    rendering: "Callable[[], Renderer]"  # compiles templates when it is first called
    artifacts: Mapping[str, Artifact]
    releases: Mapping[str, Release]
    configs: Mapping[str, Mapping[str, Any]]  # the parsed config/serve.json of each
    needs: Mapping[str, Requirements]  # what loading the model of each takes

    @property
    def renderer(self) -> "Renderer":
        """What renders releases, one and the same each time."""
        return self.rendering()

    def plan(
        self,
        observed: Mapping[str, Observed],
        signing: Signing | None = None,
        strangers: Mapping[str, Barred] | None = None,
    ) -> Plan:
        """What would have to change on the boards observed; which could not load, or take, their release.

        `strangers` run what must not be overwritten in passing, and why.
        """
        refusals = self.refusals({name: seen.platform for name, seen in observed.items()})
        bars = {name: self._bar(seen, signing) for name, seen in observed.items()}
        barred = {**(strangers or {}), **{name: bar for name, bar in bars.items() if bar}}
        return make_plan(self.fleet, self.releases, observed, self.configs, refusals, barred)

    def _bar(self, seen: Observed, signing: Signing | None) -> Barred | None:
        if signing is None:
            return UNSIGNED if seen.trust else None
        return signing.bar(seen, self.releases[seen.board].digest)

    def refusals(self, reported: Mapping[str, Reported | None]) -> dict[str, Refusals]:
        """The boards that could not load their release, with what speaks against it."""
        judge = Judge()
        found = {
            name: judge.refusals(self.needs[name], self.fleet.boards[name], said)
            for name, said in reported.items()
        }
        return {name: refusals for name, refusals in found.items() if refusals}

    def orders(
        self, boards: Collection[str], commit: str, seal: Callable[[Order], Order] = lambda order: order
    ) -> dict[str, Order]:
        """Orders for these boards, their bytes in the store and checked; `seal` signs each, or leaves it.

        Raises:
            BuildError: a file of an artifact is absent or was altered; nothing was sent.
        """
        return {name: seal(self._order(name, commit)) for name in boards}

    def judge(self, name: str, evidence: Mapping[str, Any]) -> Judgement:
        """Hold a receipt against what git says that the board should run; the store is only read.

        Raises:
            BuildError: the contract is not in the store, or was altered.
        """
        board, files = self.fleet.boards[name], self.releases[name].files
        rendered = self.renderer.render(board, self.artifacts[name], self.fleet.models[board.model].smoke)
        contract = BlobStore(self.project.store).get(files[CONTRACT].sha256)
        ordered = Ordered(name, self.releases[name].digest, files[MODEL].sha256)
        return judge(contract, json.loads(rendered[BUDGET]), evidence, ordered)

    def _order(self, name: str, commit: str) -> Order:
        board = self.fleet.boards[name]
        store = BlobStore(self.project.store)
        return Order(
            board=board,
            release=self.renderer.keep(
                board, self.artifacts[name], self.fleet.models[board.model].smoke, store
            ),
            blobs=store.root,
            commit=commit,
            confirm_timeout=self.fleet.rollout.confirm_timeout,
            deadline=self.fleet.rollout.deadline,
        )


def desired_fleet(
    project: Project, fleet: Fleet, boards: Collection[str], *, to_look: bool = False
) -> Desired:
    """Work out what these boards should run.

    A verb that changes no board says `to_look`: then what was rendered of the very same is not rendered anew.

    Raises:
        LockStale: a model was not built as the manifest now says.
        ManifestError: a template fails.
    """
    rendering = cache(lambda: _renderer(project))
    artifacts = resolve(fleet, project, boards)
    wanted = [
        (board, artifacts[name], fleet.models[board.model].smoke)
        for name in artifacts
        if (board := fleet.boards[name])
    ]
    made = _kept_or_made(project, rendering, wanted) if to_look else _made(rendering, wanted)
    releases, configs = {}, {}
    for (board, _, _), (release, config) in zip(wanted, made, strict=True):
        releases[board.name] = release
        configs[board.name] = json.loads(config)
    needs = _needs(project, [fleet.boards[name] for name in boards])
    return Desired(project, fleet, rendering, artifacts, releases, configs, needs)


def _renderer(project: Project) -> "Renderer":
    from fleetctl.render.renderer import Renderer

    return Renderer.of(project.templates)


def _made(rendering: "Callable[[], Renderer]", wanted: kept.Wanted) -> Iterable[tuple[Release, bytes]]:
    from fleetctl.render import many

    return many.releases(rendering(), [many.Wanted(*each) for each in wanted])


def _kept_or_made(
    project: Project, rendering: "Callable[[], Renderer]", wanted: kept.Wanted
) -> Iterable[tuple[Release, bytes]]:
    if not 0 < len(wanted) <= kept.MOST:
        return _made(rendering, wanted)
    key = kept.key_of(project.templates, wanted)
    found = kept.recall_releases(project.manifest, key)
    if found is None:
        found = list(_made(rendering, wanted))
        kept.keep_releases(project.manifest, key, found)
    return found


def _needs(project: Project, boards: Iterable[Board]) -> dict[str, Requirements]:
    """What each board's model needs; of a lock that does not say, what its variant needs in any case."""
    models = lockfile.read(project.lockfile).models
    found = {}
    for board in boards:
        locked = models[board.model].variants[board.variant].requires
        found[board.name] = locked or Requirements.of_variant(board.variant)
    return found


def sealed_by(signing: Signing | None, observed: Mapping[str, Observed]) -> Callable[[Order], Order]:
    """Signs orders, and the way back to what each board was seen to run; notes what it was seen to have.

    Raises:
        SigningError: they have to be signed, and nothing can be signed here.
    """
    if signing is None:
        return lambda order: replace(order, holding=holding_of(observed[order.board.name]))
    signing.require_key()

    def seal(order: Order) -> Order:
        seen = observed[order.board.name]
        order = replace(order, holding=holding_of(seen))
        undo = signing.permission(seen, seen.current) if seen.current else None
        return replace(order, signed=signing.order(seen, order.release.digest), undo=undo)

    return seal


def holding_of(seen: Observed) -> Holding | None:
    """What a board has, if it answered."""
    if not seen.time or seen.reach is not Reach.REACHED:
        return None
    return Holding(seen.current, seen.files, seen.spare, seen.begun, seen.modules)


def desired_orders(
    project: Project,
    fleet: Fleet,
    boards: Collection[str],
    commit: str,
    environment: Mapping[str, str],
) -> list[Order]:
    """Orders for these boards: what plain `ansible-playbook playbooks/release.yml` carries out.

    Raises:
        Incompatible: by its kind and the manifest, one of them could not load its release.
        SigningError: they have to be signed, and cannot be.
    """
    desired = desired_fleet(project, fleet, boards)
    refuse(desired.refusals(dict.fromkeys(boards)), "nothing was sent")
    seal = sealed_by(open_signing(project, fleet, environment), {name: Observed(name) for name in boards})
    return list(desired.orders(boards, commit, seal).values())

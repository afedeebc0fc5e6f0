"""One side of a comparison: a fleet as a commit, or the working tree, describes it."""

import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from fleetctl import lockfile
from fleetctl.commits import as_of
from fleetctl.errors import ManifestError
from fleetctl.lockfile import FleetLock, LockedModel, LockedVariant
from fleetctl.manifest.loader import load
from fleetctl.manifest.schema import Board, Fleet, Via
from fleetctl.observation import Loaded, Observed
from fleetctl.project import Project
from fleetctl.proposal.beside import Beside, read_beside
from fleetctl.release import Release
from fleetctl.render.renderer import SERVE_CONFIG, Renderer
from fleetctl.render.sources import read_templates

ELSEWHERE = "another address: what it runs is not known, so all is counted"
UNKNOWN = "what it ran cannot be said, so all is counted"


class Side(Struct, frozen=True):
    """A manifest with its lock, its templates and what lies beside them.

    `name` is how a person calls it: a commit, the working tree.
    """

    name: str
    project: Project
    fleet: Fleet
    lock: FleetLock = field(default_factory=FleetLock)
    templates: Mapping[str, str] = field(default_factory=dict)
    beside: Beside = field(default_factory=Beside)

    def model(self, board: Board) -> LockedModel | None:
        return self.lock.models.get(board.model)

    def variant(self, board: Board) -> LockedVariant | None:
        """What is locked of a board's model, as its build left it."""
        model = self.model(board)
        return model.variants.get(board.variant.value) if model else None


def read_side(name: str, project: Project) -> Side:
    """Read what lies in a project's folder.

    Raises:
        ManifestError: the manifest, the lock or a template is not one.
    """
    fleet = load(project.manifest)
    lock, templates = lockfile.read(project.lockfile), read_templates(project.templates)
    return Side(name, project, fleet, lock, templates, read_beside(project))


def same_release(board: str, base: Side, head: Side) -> bool:
    """Whether a board of both gets the same bytes, as far as can be told without rendering them."""
    old, new = base.fleet.boards[board], head.fleet.boards[board]
    smokes = base.fleet.models[old.model].smoke, head.fleet.models[new.model].smoke
    return (
        old == new
        and base.templates == head.templates
        and smokes[0] == smokes[1]
        and base.variant(old) == head.variant(new)
    )


class Ran(NamedTuple):
    """What boards run as far as a base tells. `unknown` is why it cannot, by board.

    `broken` is what is wrong with the base's templates, if that is why.
    """

    observed: Mapping[str, Observed]
    unknown: Mapping[str, str]
    broken: str


def is_same_address(board: str, base: Side, head: Side) -> bool:
    """Whether a board of both is sure to be the very machine and folder that it was."""
    return _address(base.fleet, board) == _address(head.fleet, board)


def _address(fleet: Fleet, name: str) -> tuple[object, ...]:
    board = fleet.boards[name]
    if board.via is Via.IOTHUB:
        return board.via, fleet.iothub.host
    return board.via, board.host, board.port, board.root


def ran_at(base: Side, head: Side, boards: Collection[str]) -> Ran:
    """Boards as they are where they do what `base` says; one it does not describe runs nothing of ours.

    The lock is taken at its word: it was reviewed when it was merged. Templates of the base that fail, in all
    or for some boards, are not the fault of who changes them.
    """
    observed = {name: Observed(name) for name in boards}
    unknown, broken = {}, ""
    renderer = _renderer(base)
    for name in boards:
        board = base.fleet.boards.get(name)
        locked = base.variant(board) if board else None
        if board is not None and not is_same_address(name, base, head):
            unknown[name] = ELSEWHERE
        elif board is None or locked is None or locked.pending:
            continue
        elif isinstance(ran := _observed(board, locked, base, renderer), Observed):
            observed[name] = ran
        else:
            unknown[name], broken = UNKNOWN, broken or str(replace(ran.problems[0], hint=""))
    return Ran(observed, unknown, broken)


def _renderer(base: Side) -> Renderer | ManifestError:
    from fleetctl.render.sources import board_runtime

    folder = f"{base.project.inventory.name}/{base.project.templates.name}"
    try:
        return Renderer(base.templates, board_runtime(), place=as_of(base.name, folder))
    except ManifestError as error:
        return error


def _observed(
    board: Board, locked: LockedVariant, base: Side, renderer: Renderer | ManifestError
) -> Observed | ManifestError:
    if isinstance(renderer, ManifestError):
        return renderer
    try:
        rendered = renderer.render(board, locked.artifact, base.fleet.models[board.model].smoke)
    except ManifestError as error:
        return error
    release = renderer.assemble(locked.artifact, rendered)
    return _running(board.name, release, json.loads(rendered[SERVE_CONFIG]))


def _running(name: str, release: Release, config: Mapping[str, Any]) -> Observed:
    digest = release.digest
    return Observed(
        name,
        current=digest,
        good=digest,
        files={path: ref.sha256 for path, ref in release.files.items()},
        config=config,
        service="running",
        loaded=Loaded(digest),
    )

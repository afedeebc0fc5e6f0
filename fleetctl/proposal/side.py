"""One side of a comparison: a fleet as a commit, or the working tree, describes it."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from msgspec import Struct, field

from fleetctl import lockfile
from fleetctl.lockfile import FleetLock, LockedModel, LockedVariant
from fleetctl.manifest.loader import load
from fleetctl.manifest.schema import Board, Fleet
from fleetctl.observation import Loaded, Observed
from fleetctl.project import Project
from fleetctl.release import Release
from fleetctl.render.renderer import SERVE_CONFIG, Renderer
from fleetctl.render.sources import read_templates


class Side(Struct, frozen=True):
    """A manifest with its lock and templates. `name` is how a person calls it: a commit, the working tree."""

    name: str
    project: Project
    fleet: Fleet
    lock: FleetLock = field(default_factory=FleetLock)
    templates: Mapping[str, str] = field(default_factory=dict)

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
    return Side(name, project, fleet, lockfile.read(project.lockfile), read_templates(project.templates))


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


def observed_at(base: Side, boards: Collection[str]) -> dict[str, Observed]:
    """Boards as they are where they do what `base` says; one it does not describe runs nothing of ours.

    The lock is taken at its word: it was reviewed when it was merged.

    Raises:
        ManifestError: a template of the base fails.
    """
    renderer = Renderer(base.templates, _runtime())
    return {name: _observed(name, base, renderer) for name in boards}


def _runtime() -> Mapping[str, bytes]:
    from fleetctl.render.sources import board_runtime

    return board_runtime()


def _observed(name: str, base: Side, renderer: Renderer) -> Observed:
    board = base.fleet.boards.get(name)
    locked = base.variant(board) if board else None
    if board is None or locked is None or locked.pending:
        return Observed(name)
    rendered = renderer.render(board, locked.artifact, base.fleet.models[board.model].smoke)
    release = renderer.assemble(locked.artifact, rendered)
    return _running(name, release, json.loads(rendered[SERVE_CONFIG]))


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

"""`load`: from a path to a valid `Fleet`, or to every problem at once."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from fleetctl.errors import ManifestError
from fleetctl.manifest import plain_fleet
from fleetctl.manifest.boards import Boards, check_references
from fleetctl.manifest.buildable import obstacles
from fleetctl.manifest.collector import collector_paused
from fleetctl.manifest.complaints import INVALID, Complaint
from fleetctl.manifest.compounds import Entry
from fleetctl.manifest.files import Manifest, read
from fleetctl.manifest.known_differences import check_rules
from fleetctl.manifest.membership import Membership
from fleetctl.manifest.remembered import FLEET, VALID, remember
from fleetctl.manifest.schema import (
    DriftPolicy,
    Fleet,
    FolderDataset,
    IotHub,
    Model,
    RolloutPolicy,
    WallsDataset,
)
from fleetctl.manifest.tree import Node, Pairs
from fleetctl.manifest.waves import check_waves


def load(path: Path) -> Fleet:
    """Read the manifest at `path` with everything it includes.

    Raises:
        ManifestError: with every problem found; files are shown relative to the current folder, as `path` is.
    """
    with collector_paused():
        return resolve(read(path))[0]


def load_and_remember(path: Path, said: Callable[[Fleet], str]) -> Fleet:
    """`load`, and keep what is `said` of the fleet, for `recall(path, VALID)` to tell as long as it holds.

    Raises:
        ManifestError: as `load`.
    """
    with collector_paused():
        manifest = read(path)
        fleet = resolve(manifest)[0]
    remember(str(path), VALID, manifest.sources, fleet.digest, said(fleet))
    return fleet


def load_and_keep(path: Path) -> Fleet:
    """`load`, and keep the fleet for `looking.load_to_look`.

    Raises:
        ManifestError: as `load`.
    """
    with collector_paused():
        manifest = read(path)
        fleet = resolve(manifest)[0]
        if (text := plain_fleet.to_text(fleet)) is not None:
            remember(str(path), FLEET, manifest.sources, fleet.digest, text)
    return fleet


def resolve(manifest: Manifest) -> tuple[Fleet, Boards]:
    """The fleet that `manifest` describes, and where its boards' settings come from.

    Raises:
        ManifestError: with every problem found.
    """
    models = {
        name: model
        for name, entry in manifest.models.items()
        if (model := _model(name, entry, manifest.complaints)) is not None
    }
    found = _groups(manifest)
    groups = {name: members or () for name, members in found.items()}
    resolver = Boards(manifest, groups)
    boards = resolver.resolve(models)
    if manifest.is_whole:  # else what is missing may be in a file that could not be read
        check_references(manifest, manifest.complaints)
        _check_fleet(manifest, found)
    if problems := manifest.all_problems():
        raise ManifestError(problems)
    fleet = Fleet(
        name=manifest.fleet["metadata"]["name"],
        path=manifest.path,
        models=models,
        groups=groups,
        boards=boards,
        rollout=manifest.fleet.get("rollout", RolloutPolicy()),
        digest=manifest.digest,
        drift=manifest.fleet.get("drift", DriftPolicy()),
        iothub=manifest.fleet.get("iothub", IotHub()),
    )
    return fleet, resolver


def _model(name: str, entry: Entry, complaints: list[Complaint]) -> Model | None:
    values = entry.value
    if not isinstance(values, dict) or not {"task", "dataset"} <= values.keys() or _has_invalid(values):
        return None
    folder = Path(entry.key.mark.name).absolute().parent
    model = Model(name=name, **{**values, "dataset": _beside(folder, values["dataset"])})
    complaints += (Complaint(_place(entry, setting), what, hint) for setting, what, hint in obstacles(model))
    return model


def _place(entry: Entry, setting: str) -> Node:
    """Where a model says `setting`, such as `training.epochs`; its name, where it does not."""
    node = entry.node
    for word in setting.split("."):
        said = {key.text: child for key, child in node.pairs} if isinstance(node, Pairs) else {}
        if word not in said:
            return entry.key
        node = said[word]
    return node


def _has_invalid(values: Mapping[str, Any]) -> bool:
    return any(
        value is INVALID or (isinstance(value, tuple) and INVALID in value) for value in values.values()
    )


def _beside(folder: Path, dataset: Any) -> Any:
    """`dataset` with its paths made absolute: they are relative to the file that says them."""
    match dataset:
        case FolderDataset():
            evaluation = None if dataset.evaluation is None else folder / dataset.evaluation
            return replace(dataset, path=folder / dataset.path, evaluation=evaluation)
        case WallsDataset():
            plates = None if dataset.plates is None else folder / dataset.plates
            crops = None if dataset.crops is None else folder / dataset.crops
            return replace(dataset, plates=plates, crops=crops)
        case _:
            return dataset


def _groups(manifest: Manifest) -> dict[str, tuple[str, ...] | None]:
    """Members by group; None where they could not all be resolved, which has been complained about."""
    defaults = manifest.fleet.get("defaults")
    membership = Membership(manifest.boards, defaults if isinstance(defaults, dict) else {}, manifest.models)
    # Without all boards, a name that is nowhere is not a mistake.
    complaints = manifest.complaints if manifest.is_whole else []
    groups: dict[str, tuple[str, ...] | None] = {}
    for name, entry in manifest.groups.items():
        before = len(complaints)
        members = membership.members(entry, complaints) if isinstance(entry.value, dict) else None
        groups[name] = members if len(complaints) == before else None
    return groups


def _check_fleet(manifest: Manifest, groups: Mapping[str, tuple[str, ...] | None]) -> None:
    if not manifest.boards and manifest.fleet:
        hint = "write at least one under `boards`"
        manifest.complaints.append(Complaint(manifest.roots[0], "the fleet has no boards", hint))
    rollout = manifest.fleet.get("rollout")
    if isinstance(rollout, RolloutPolicy):
        check_waves(manifest.roots[0], rollout.waves, groups, manifest.boards, manifest.complaints)
    drift = manifest.fleet.get("drift")
    if isinstance(drift, DriftPolicy):
        check_rules(manifest.roots[0], drift.ignore, manifest.boards, manifest.complaints)

"""Which module images a fleet needs, which of them the lock has, and making the others."""

from collections.abc import Collection, Iterable, Iterator
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from fleetctl.errors import LockStale
from fleetctl.images.base import DEFAULT
from fleetctl.images.module_image import Files
from fleetctl.lockfile import FleetLock, ModuleImage
from fleetctl.manifest.schema import Fleet, Via
from fleetctl.render.renderer import Renderer
from fleetctl.transports.iothub_consignment import content_digest, image_files
from fleetctl.transports.iothub_images import Read, machine_of, platform_of


class Wanted(Struct, frozen=True):
    """An image that boards need: for whose model, for which machine, with which files, from which base."""

    model: str
    variant: str
    machine: str
    files: Files
    base: str
    board: str  # one of those that need it

    @property
    def platform(self) -> str:
        return platform_of(self.machine)

    @property
    def content(self) -> str:
        return content_digest(self.files)

    def locked(self, lock: FleetLock) -> ModuleImage | None:
        """The image that the lock has, if it carries these very files and is made from that base.

        A tag is the same base, wherever it has moved to since: what it stands for is nobody's change here.
        """
        found = self.before(lock)
        if found is None or found.content != self.content:
            return None
        return found if self.base in (found.base, found.base.partition("@")[0]) else None

    def before(self, lock: FleetLock) -> ModuleImage | None:
        """The image that the lock has in its place."""
        return lock.images.get(self.model, {}).get(self.variant, {}).get(self.platform)


class Makes(Protocol):
    """What makes images: `ImageMaker`."""

    def make(self, files: Files, read: Read, machine: str, commit: str) -> ModuleImage: ...


def wanted_images(fleet: Fleet, lock: FleetLock, boards: Collection[str], renderer: Renderer) -> list[Wanted]:
    """The images that those of these boards need that are reached over IoT Hub, each once.

    Boards whose model is not locked, or still to be compiled, need none yet.

    Raises:
        FleetError: IoT Edge does not run on one of them.
    """
    found: dict[tuple[str, str, str], Wanted] = {}
    base = fleet.iothub.base or DEFAULT
    for board in (fleet.boards[name] for name in boards):
        if board.via is not Via.IOTHUB:
            continue
        model = lock.models.get(board.model)
        variant = model.variants.get(board.variant.value) if model else None
        if variant is None or variant.pending:
            continue
        key = (board.model, board.variant.value, machine_of(board))
        if key not in found:
            platform_of(key[2])
            found[key] = Wanted(*key, image_files(renderer.common(variant.artifact)), base, board.name)
    return list(found.values())


def demand_images(wanted: Iterable[Wanted], lock: FleetLock) -> None:
    """Raise `LockStale` where the lock lacks an image, or has one with other files or from another base."""
    for each in wanted:
        if each.locked(lock) is None:
            before = each.before(lock)
            is_other = before is not None and before.content == each.content
            raise LockStale(
                f"fleet.lock has no module image of {each.model} {each.variant} for {each.platform}"
                f"{f' from {each.base}' if is_other else ''}, as {each.board} needs it",
                hint="`fleetctl build` makes it; commit the lock",
            )


def make_images(
    wanted: Iterable[Wanted],
    lock: FleetLock,
    maker: Makes,
    read: Read,
    commit: str,
    *,
    anew: bool = False,
) -> Iterator[tuple[Wanted, ModuleImage, bool]]:
    """Each image with whether it was made now: those that the lock has are left alone, unless `anew`.

    Raises:
        FleetError: as the maker's `make`.
    """
    for each in wanted:
        kept = None if anew else each.locked(lock)
        yield each, kept or maker.make(each.files, read, each.machine, commit), kept is None


def with_images(
    lock: FleetLock, made: Iterable[tuple[Wanted, ModuleImage]], models: Collection[str]
) -> FleetLock:
    """The lock with these images, and without others of these models."""
    images = {name: dict(variants) for name, variants in lock.images.items() if name not in models}
    for each, image in made:
        variants = images.setdefault(each.model, {})
        variants[each.variant] = {**variants.get(each.variant, {}), each.platform: image}
    return replace(lock, images=images)

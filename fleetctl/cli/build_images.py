"""The second half of `fleetctl build`: images for boards `via: iothub`, pushed and locked by digest."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import asdict, replace

from fleetctl.manifest.schema import Fleet, IotHub, Via
from fleetctl.project import Project

if TYPE_CHECKING:
    from fleetctl.images.fleet_images import Wanted


class BuiltImages(Struct, frozen=True):
    """What became of a fleet's images, as JSON has it: by model, variant and platform."""

    images: Mapping[str, Any] = field(default_factory=dict)
    lock_changed: bool = False


def bring_images(
    fleet: Fleet,
    project: Project,
    models: Collection[str],
    environment: Mapping[str, str],
    *,
    check: bool = False,
    anew: bool = False,
) -> BuiltImages:
    """Have the images that boards over IoT Hub need of these models, and lock them.

    Args:
        check: make nothing; demand that the lock has them.
        anew: make them again, with the base that its name stands for today.

    Raises:
        LockStale: the lock lacks one, with `check`.
        UsageError: a board's accelerator needs another base.
        BuildError, TransportError: an image cannot be made, or pushed.
    """
    from fleetctl import lockfile
    from fleetctl.cli.over_iothub import settings
    from fleetctl.images.fleet_images import demand_images, wanted_images, with_images
    from fleetctl.images.module_board import refuse_accelerated
    from fleetctl.render.renderer import Renderer
    from fleetctl.report.console import talk
    from fleetctl.store import Lock

    boards = _over_hub(fleet, models)
    hub, lock = settings(fleet.iothub, environment), lockfile.read(project.lockfile)
    fleet = replace(fleet, iothub=hub)
    if not lock.images and not boards:
        return BuiltImages()
    wanted = wanted_images(fleet, lock, boards, Renderer.of(project.templates))
    if check:
        if hub.registry:  # else nobody could make them
            demand_images(wanted, lock)
        return BuiltImages()
    if wanted and (why := _why_not(hub, environment)):
        talk.warn(f"no module images are made: {why}")
        return BuiltImages()
    if wanted and not hub.base:
        refuse_accelerated(fleet.boards[name] for name in boards)
    with Lock(project.state / "build.lock", f"module images of {fleet.name}"):
        made = _made(wanted, project, hub, environment, anew=anew)
        after = with_images(
            lockfile.read(project.lockfile), [(each, image) for each, image, _ in made], models
        )
        if changed := after != lock:
            lockfile.write(project.lockfile, after)
    images: dict[str, Any] = {}
    for each, image, is_new in made:
        variants = images.setdefault(each.model, {}).setdefault(each.variant, {})
        variants[each.platform] = {**asdict(image), "built": is_new}
    return BuiltImages(images, changed)


def missing_images(
    fleet: Fleet, project: Project, models: Collection[str], environment: Mapping[str, str]
) -> "list[Wanted]":
    """The images that boards over IoT Hub need of these models as they are locked, and the lock lacks.

    Empty where nothing says where images go: nobody could make them.

    Raises:
        FleetError: IoT Edge does not run on one of the boards.
    """
    from fleetctl import lockfile
    from fleetctl.cli.over_iothub import settings
    from fleetctl.images.fleet_images import wanted_images
    from fleetctl.render.renderer import Renderer

    boards, hub = _over_hub(fleet, models), settings(fleet.iothub, environment)
    if not boards or not hub.registry:
        return []
    fleet, lock = replace(fleet, iothub=hub), lockfile.read(project.lockfile)
    wanted = wanted_images(fleet, lock, boards, Renderer.of(project.templates))
    return [each for each in wanted if each.locked(lock) is None]


def _over_hub(fleet: Fleet, models: Collection[str]) -> list[str]:
    """The boards with these models that are reached over IoT Hub."""
    return [name for name, board in fleet.boards.items() if board.model in models and board.via is Via.IOTHUB]


def _why_not(hub: IotHub, environment: Mapping[str, str]) -> str:
    """Why images cannot be pushed from here; empty where they can."""
    from fleetctl.remotes.places import READ_ONLY

    if not hub.registry:
        return "nothing says where they go; write `iothub: {registry: ...}` in fleet.yaml"
    if environment.get(READ_ONLY, "") not in ("", "0"):
        return f"{READ_ONLY} is set"
    return ""


def _made(
    wanted: list[Any],
    project: Project,
    hub: IotHub,
    environment: Mapping[str, str],
    *,
    anew: bool,
) -> list[tuple[Any, Any, bool]]:
    from fleetctl import lockfile
    from fleetctl.cli.over_iothub import images_remote
    from fleetctl.images.fleet_images import make_images
    from fleetctl.images.module_image import ImageMaker
    from fleetctl.report.console import talk
    from fleetctl.revision import working_commit
    from fleetctl.store import BlobStore

    if not wanted:
        return []
    maker = ImageMaker(
        images_remote(hub, environment),
        project.state / "images",
        project.state / "wheelhouse",
        hub.base,
        talk.step,
    )
    lock, read = lockfile.read(project.lockfile), _reader(BlobStore(project.store))
    made = []
    for each, image, is_new in make_images(wanted, lock, maker, read, working_commit(project), anew=anew):
        if is_new:
            name = f"{each.model} {each.variant} for {each.platform}"
            talk.done(f"module image of {name} pushed: {hub.registry}@sha256:{image.digest}")
        made.append((each, image, is_new))
    return made


def _reader(store: Any) -> Any:
    """Bytes of a release's files: of artifacts from the store, of the board's runtime from this package."""
    from fleetctl.render.sources import board_runtime
    from fleetctl.store import sha256

    ours = {sha256(data): data for data in board_runtime().values()}
    return lambda digest: ours[digest] if digest in ours else store.get(digest)

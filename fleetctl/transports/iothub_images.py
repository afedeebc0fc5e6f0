"""Where boards get module images: what `build` pushed and the lock names, or a folder of the lab."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from fleetctl.errors import FleetError, LockStale
from fleetctl.lockfile import FleetLock, ModuleImage
from fleetctl.manifest.schema import Board, BoardKind
from fleetctl.remotes.base import BlobMissing, RemoteError
from fleetctl.remotes.oci import OciRemote
from fleetctl.store import atomic_write, canonical_json
from fleetctl.transports.iothub_consignment import Consignment

Read = Callable[[str], bytes]  # the bytes of a blob
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def machine_of(board: Board) -> str:
    """The instruction set of a board's container, as `uname -m` names it."""
    by_kind = "x86_64" if board.board is BoardKind.GENERIC else "aarch64"
    return board.runtime.get("machine") or by_kind


def platform_of(machine: str) -> str:
    """`linux/arm64` for a machine as `uname -m` names it.

    Raises:
        FleetError: IoT Edge does not run there.
    """
    architecture = _ARCHITECTURES.get(machine)
    if architecture is None:
        raise FleetError(f"there are no module images for {machine}", hint="IoT Edge wants 64 bits")
    return f"linux/{architecture}"


class Images(Protocol):
    """Where module images go."""

    def ensure(self, consignment: Consignment, read: Read, machine: str) -> str:
        """Have an image that carries the consignment, for a machine as `uname -m` names it.

        Returns the reference that pins it by digest.

        Raises:
            LockStale, BlobMissing: nobody made it, or the registry lost it; nothing is made here.
        """
        ...


class LockedImages:
    """The images that the lock names, in a repository of a registry."""

    def __init__(
        self, lock: FleetLock, repository: str, remote: OciRemote, say: Callable[[str], None]
    ) -> None:
        self._lock, self._repository, self._remote, self._say = lock, repository, remote, say

    def ensure(self, consignment: Consignment, read: Read, machine: str) -> str:  # noqa: ARG002 - they are made
        platform = platform_of(machine)
        image = self._image(consignment.image_digest, platform)
        if image is None:
            raise LockStale(
                f"fleet.lock has no module image for {platform} with what these boards are to run",
                hint="`fleetctl build` makes it; commit the lock",
            )
        self._demand(f"sha256:{image.digest}")
        return f"{self._repository}@sha256:{image.digest}"

    def _image(self, content: str, platform: str) -> ModuleImage | None:
        every = (platforms for variants in self._lock.images.values() for platforms in variants.values())
        found = (platforms.get(platform) for platforms in every)
        return next((image for image in found if image is not None and image.content == content), None)

    def _demand(self, digest: str) -> None:
        """Raise `BlobMissing` where the registry has no such image; whom it does not let in cannot know."""
        try:
            found = self._remote.manifest(digest)
        except RemoteError as error:
            self._say(f"whether the module image is there cannot be seen from here: {error.message}")
            return
        if found is None:
            raise BlobMissing(
                f"{self._remote.name} does not have the module image {digest[:19]} that fleet.lock names",
                hint="`fleetctl build --images` makes it again",
            )


class FolderImages:
    """Images as folders, for boards that run modules as plain processes: the lab's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ensure(self, consignment: Consignment, read: Read, machine: str) -> str:  # noqa: ARG002 - python is python
        """A folder that is whole once its `image.json` is there."""
        digest = consignment.image_digest
        folder = self.folder / digest
        if not (folder / "image.json").exists():
            for path, ref in consignment.files.items():
                atomic_write(folder / path, read(ref["sha256"]))
            atomic_write(folder / "image.json", canonical_json(consignment.record))
        return f"{folder}@sha256:{digest}"

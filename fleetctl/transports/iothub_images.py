"""Module images, and the folder that stands for a registry in the process lab."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from fleetctl.store import atomic_write, canonical_json
from fleetctl.transports.iothub_consignment import Consignment

Read = Callable[[str], bytes]  # the bytes of a blob


class Images(Protocol):
    """Where module images go."""

    def ensure(self, consignment: Consignment, read: Read, machine: str) -> str:
        """Have an image that carries the consignment, for a machine as `uname -m` names it.

        Returns the reference that pins it by digest.
        """
        ...


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

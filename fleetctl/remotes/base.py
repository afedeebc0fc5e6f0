"""What every place that keeps artifacts offers. Bytes are named by their sha256, as in the store."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from fleetctl.artifact import Artifact, BlobRef
from fleetctl.errors import TransportError


class RemoteError(TransportError):
    """A place that keeps artifacts did not answer, or not as it should."""


class RemoteRefused(RemoteError):
    """It wants other credentials, may only be read from here, or leads where all could read what is sent."""

    exit_code = 31


class Remote(Protocol):
    """A place that keeps artifacts. Raises `RemoteError` where it cannot."""

    name: str

    def has(self, ref: BlobRef) -> bool:
        """Whether it holds this blob: a folder goes by its bytes, a registry by name and size."""
        ...

    def read(self, ref: BlobRef, offset: int) -> Iterator[bytes]:
        """The bytes of a blob from `offset` on; of an absent one, `BlobMissing`."""
        ...

    def write(self, ref: BlobRef, path: Path) -> None:
        """Keep the blob that lies at `path`."""
        ...

    def publish(self, artifact: Artifact, annotations: Mapping[str, str]) -> None:
        """Say that these blobs, all of which it has, belong together, so that they are kept."""
        ...


class BlobMissing(RemoteError):
    """A blob is not there: nobody pushed it, or it was deleted."""

    exit_code = 20

"""A folder that keeps artifacts: a disk that several machines mount, or what CI hands from job to job."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from fleetctl.artifact import Artifact, BlobRef
from fleetctl.errors import WriteError
from fleetctl.remotes.base import BlobMissing, RemoteError
from fleetctl.store import BlobStore, naming, sha256_file

_CHUNK = 1 << 18


class FolderRemote:
    """Blobs lie as in `model_artifacts/store`, so one may be copied over the other."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._store = BlobStore(folder)

    def has(self, ref: BlobRef) -> bool:
        # Of a damaged blob the size may be right: who took it for the blob could never push it again.
        path = self._store.path(ref.sha256)
        try:
            return path.stat().st_size == ref.size and sha256_file(path) == ref.sha256
        except OSError:
            return False

    def read(self, ref: BlobRef, offset: int) -> Iterator[bytes]:
        path = self._store.path(ref.sha256)
        try:
            with path.open("rb") as stream:
                stream.seek(offset)
                while chunk := stream.read(_CHUNK):
                    yield chunk
        except FileNotFoundError:
            raise BlobMissing(
                f"{self.name} has no blob {ref.sha256[:12]}", hint="push it from where it was built"
            ) from None
        except OSError as error:
            raise RemoteError(f"{path} cannot be read: {error.strerror}") from error

    def write(self, ref: BlobRef, path: Path) -> None:
        try:
            with naming(self._store.path(ref.sha256)):
                self._store.put(path.read_bytes())
        except WriteError as error:  # not of this machine's own files: a place, as a registry is
            hint = error.hint or "name a folder that can be written to"
            raise RemoteError(error.message, hint=hint) from error

    def publish(self, artifact: Artifact, annotations: Mapping[str, str]) -> None:
        """Nothing to do: a folder forgets nothing by itself."""

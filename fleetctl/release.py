"""What one board gets: named files by digest. The release's own digest is a pure function of them."""

from collections.abc import Mapping
from dataclasses import dataclass

from fleetctl.artifact import BlobRef
from fleetctl.store import canonical_json, sha256

RELEASE_SCHEMA = "fleetctl.release/v1"


@dataclass(frozen=True, slots=True)
class Release:
    """Files relative to the release folder on the board, such as `model/model.tflite` or `config/serve.json`.

    The bytes lie in a `BlobStore`; `manifest` is the text of `release.json`, whose sha256 is the digest.
    """

    files: Mapping[str, BlobRef]

    @property
    def manifest(self) -> bytes:
        files = {path: {"sha256": ref.sha256, "size": ref.size} for path, ref in self.files.items()}
        return canonical_json({"schema": RELEASE_SCHEMA, "files": files})

    @property
    def digest(self) -> str:
        return sha256(self.manifest)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(ref.size for ref in self.files.values())

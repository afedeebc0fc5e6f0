"""What one board gets: named files by digest. The release's own digest is a pure function of them."""

import json
from collections.abc import Mapping
from functools import cached_property, lru_cache

from msgspec import Struct

from fleetctl.artifact import BlobRef
from fleetctl.store import sha256

RELEASE_SCHEMA = "fleetctl.release/v1"


class Release(Struct, frozen=True, dict=True):
    """Files relative to the release folder on the board, such as `model/model.tflite` or `config/serve.json`.

    The bytes lie in a `BlobStore`; `manifest` is the text of `release.json`, whose sha256 is the digest.
    """

    files: Mapping[str, BlobRef]

    @property
    def manifest(self) -> bytes:
        """`canonical_json` of the files, put together from entries that most releases share."""
        files = ",".join([_entry(path, ref.sha256, ref.size) for path, ref in sorted(self.files.items())])
        return f'{{"files":{{{files}}},"schema":"{RELEASE_SCHEMA}"}}\n'.encode()

    @cached_property
    def digest(self) -> str:
        return sha256(self.manifest)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(ref.size for ref in self.files.values())


@lru_cache(maxsize=4096)
def _entry(path: str, digest: str, size: int) -> str:
    ref = json.dumps({"sha256": digest, "size": size}, separators=(",", ":"), ensure_ascii=False)
    return f"{json.dumps(path, ensure_ascii=False)}:{ref}"

"""A repository of an OCI registry that keeps artifacts, each as a manifest over the very blobs of the store.

A blob's digest is the same in the registry, in the store and on boards. Uploads are in chunks and go on where
a connection broke; who may do what is between `oras` and the registry.
"""

import io
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urljoin

from msgspec import Struct

from fleetctl.artifact import Artifact, BlobRef
from fleetctl.errors import UsageError
from fleetctl.remotes.base import BlobMissing, RemoteError, RemoteRefused
from fleetctl.remotes.identity import CREDULITY, LOG_IN, client, request
from fleetctl.remotes.sessions import demand_address, nonsense, origin
from fleetctl.store import canonical_json, sha256

if TYPE_CHECKING:
    import requests

ARTIFACT_TYPE = "application/vnd.fleetctl.artifact.v1"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_IMAGE_TYPES = (MANIFEST_TYPE, "application/vnd.docker.distribution.manifest.v2+json", *INDEX_TYPES)
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_EMPTY = b"{}"
_CHUNK = 4 << 20  # bytes of an upload that a broken connection may cost
_LARGEST = 64 << 20  # bytes of a chunk, whatever a registry demands: it lies in memory
_READ = 1 << 18
_TRIES = 5
_TAKEN = (400, 409, 412)  # what registries say of a tag that is immutable, among other things
_PATIENCE = 60.0  # seconds that a registry may ask to be left alone, each time
_STALLS = 5  # times that nothing more of an upload has arrived

_ADDRESS = re.compile(r"oci://([A-Za-z0-9.-]+(?::[0-9]{1,5})?)/([a-z0-9]+(?:(?:[._/]|__|-+)[a-z0-9]+)*)\Z")
_AS_IT_IS = {"Accept-Encoding": "identity"}  # else the length may be of what is sent, not of what is kept
_LENGTH = re.compile(r"[0-9]{1,18}")


class Manifest(Struct, frozen=True):
    """What a registry keeps under a tag or a digest, as it is."""

    body: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """What pins it: `sha256:...`."""
        return f"sha256:{sha256(self.body)}"

    def keeps_the_same(self, other: "Manifest") -> bool:
        """Whether both keep the same bytes together, whoever pushed them and from which commit."""
        return self.digest == other.digest or _kept_together(self.body) == _kept_together(other.body)


class OciRemote:
    """`oci://host/repository`. Plain http is spoken on loopback only, wherever its registry leads."""

    def __init__(
        self,
        address: str,
        credentials: tuple[str, str] | None = None,
        *,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """`credentials` are user and password; without, those of `docker login` are used, if there are any.

        Raises:
            UsageError: the address is not one.
        """
        match = _ADDRESS.match(address)
        if not match:
            raise UsageError(
                f"{address!r} is not oci://HOST/REPOSITORY", hint="such as oci://ghcr.io/team/fleet"
            )
        self.name = address
        host, self._repository = match.groups()
        self._base = f"{origin(host)}/v2/{self._repository}"
        self._pause = pause
        self._who = host, self._repository, credentials
        self._client: Any = None  # until the first request, which asks how the registry wants to be asked

    def has(self, ref: BlobRef) -> bool:
        url = f"/blobs/sha256:{ref.sha256}"
        reply = self._ask("HEAD", url, headers=_AS_IT_IS, expect=(200, 404))
        return reply.status_code == 200 and self._size(reply, ref.size) == ref.size

    def read(self, ref: BlobRef, offset: int) -> Iterator[bytes]:
        headers = {**_AS_IT_IS, **({"Range": f"bytes={offset}-"} if offset else {})}
        url = f"/blobs/sha256:{ref.sha256}"
        expect = (200, 206, 404, 416) if offset else (200, 404)
        with self._ask("GET", url, headers=headers, stream=True, expect=expect) as reply:
            if reply.status_code == 404:
                raise BlobMissing(
                    f"{self.name} has no blob {ref.sha256[:12]}", hint="push it from where it was built"
                )
            if reply.status_code == 416:  # it knows no ranges, or has too little: whoever counts sees
                yield from _from(self.read(ref, 0), offset)
                return
            skip = 0 if reply.status_code == 206 else offset  # a registry need not know Range
            yield from _from(self._chunks(reply), skip)

    def write(self, ref: BlobRef, path: Path) -> None:
        with path.open("rb") as stream:
            self.upload(ref, stream)

    def publish(self, artifact: Artifact, annotations: Mapping[str, str]) -> None:
        empty = BlobRef(sha256(_EMPTY), len(_EMPTY))
        if not self.has(empty):
            self.upload(empty, io.BytesIO(_EMPTY))
        ours = Manifest(canonical_json(_manifest(artifact, empty, annotations)), MANIFEST_TYPE)
        kept = self.manifest(tag(artifact))
        if kept is None or not kept.keeps_the_same(ours):  # a tag may be immutable
            self.put_manifest(tag(artifact), ours)

    def manifest(self, reference: str) -> Manifest | None:
        """What a tag or a digest names: an image, or an index of images; None where it names nothing."""
        headers = {"Accept": ", ".join(_IMAGE_TYPES)}
        reply = self._ask("GET", f"/manifests/{reference}", headers=headers, expect=(200, 404))
        if reply.status_code == 404:
            return None
        found = Manifest(reply.content, reply.headers.get("Content-Type", "").partition(";")[0])
        if ":" in reference and found.digest != reference:
            raise RemoteError(f"{self.name} gives another manifest for {reference[:19]} than its name says")
        return found

    def put_manifest(self, reference: str, manifest: Manifest) -> None:
        """Keep a manifest under a tag or its digest; what it names has to be there.

        Raises:
            RemoteError: the tag is that of another manifest, and immutable; or the registry is away.
        """
        headers, expect = {"Content-Type": manifest.media_type}, (201, *_TAKEN)
        reply = self._ask(
            "PUT", f"/manifests/{reference}", headers=headers, data=manifest.body, expect=expect
        )
        if reply.status_code != 201:
            self._demand_kept(reference, manifest, reply)

    def _demand_kept(self, reference: str, manifest: Manifest, refusal: "requests.Response") -> None:
        """Raise unless a registry that refuses a manifest has the same under that tag already."""
        kept = self.manifest(reference)
        if kept is None:
            self._refuse_final(refusal)
        elif not kept.keeps_the_same(manifest):
            raise RemoteError(
                f"{self.name} keeps another manifest, {kept.digest[:19]}, under the tag {reference}, "
                f"and answers {refusal.status_code} {refusal.reason}{_said(refusal)}",
                hint="where tags are immutable, delete that one there, or push to another repository",
            )

    def upload(self, ref: BlobRef, stream: IO[bytes]) -> None:
        """Keep the bytes of a stream that can be sought in.

        Raises:
            RemoteError: the registry is away, or does not say that more and more of them arrive.
        """
        begun = self._ask("POST", "/blobs/uploads/", expect=(202,))
        place, size = self._location(begun), _chunk(begun)
        offset = furthest = stalls = 0
        while offset < ref.size:
            stream.seek(offset)
            before = offset
            place, offset = self._send(place, offset, stream.read(size))
            if offset > furthest:  # less than that is no way on: it could go to and fro for ever
                furthest, stalls = offset, 0
            elif offset <= before:
                stalls += 1
                self._bear(stalls, offset, ref)
        joint = "&" if "?" in place else "?"
        url = f"{place}{joint}digest=sha256:{ref.sha256}"
        reply = self._ask("PUT", url, expect=(201, 404), headers={"Content-Length": "0"})
        # An upload that ended is known no more: of one whose end was told to nobody, the blob is there.
        if reply.status_code == 404 and not self.has(ref):
            raise RemoteError(f"{self.name} lost what was sent of blob {ref.sha256[:12]}", hint="run again")

    def _send(self, place: str, offset: int, chunk: bytes) -> tuple[str, int]:
        """Send a chunk; returns where to send the next, and from which offset on."""
        headers = {
            "Content-Range": f"{offset}-{offset + len(chunk) - 1}",
            "Content-Type": "application/octet-stream",
        }
        reply = self._ask("PATCH", place, headers=headers, data=chunk, expect=(202, 416), once=True)
        if reply is None or reply.status_code == 416:  # what has arrived, only the registry knows
            reply = self._ask("GET", place, expect=(204, 202))
        return self._location(reply), _end(reply, offset, len(chunk))

    def _bear(self, stalls: int, offset: int, ref: BlobRef) -> None:
        """Wait, ever longer, for a registry that acknowledges nothing; raise once that is hopeless."""
        if stalls == _STALLS:
            raise RemoteError(
                f"{self.name} takes no more of blob {ref.sha256[:12]} than {offset} of {ref.size} bytes",
                hint="run again; if it stays so, ask who runs the registry",
            )
        self._pause(2.0 ** (stalls - 1))

    def _size(self, reply: "requests.Response", unsaid: int) -> int:
        """How long a blob is by the head of a reply."""
        said = reply.headers.get("Content-Length", str(unsaid))
        if not _LENGTH.fullmatch(said):
            raise nonsense(self.name, f"a blob of {said[:40]!r} bytes")
        return int(said)

    def _location(self, reply: "requests.Response") -> str:
        place = reply.headers.get("Location")
        if not place:
            raise RemoteError(f"{self.name} does not say where to send a blob")
        demand_address(place, self.name)
        return urljoin(reply.url, place)

    def _chunks(self, reply: "requests.Response") -> Iterator[bytes]:
        import requests

        try:
            yield from reply.iter_content(_READ)
        except requests.RequestException as error:
            raise RemoteError(f"{self.name}: the connection broke", hint="run again: it goes on") from error

    def _ask(
        self,
        method: str,
        place: str,
        *,
        expect: tuple[int, ...],
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        stream: bool = False,
        once: bool = False,
    ) -> Any:
        """One request, tried again while the registry is busy or the line is bad.

        `once` gives None instead of trying again: a chunk must not be sent twice unasked.
        """
        import requests
        from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema

        url = place if "://" in place else f"{self._base}{place}"
        why, asked = "", 0.0
        for attempt in range(_TRIES):
            if attempt:
                self._pause(max(2.0 ** (attempt - 1), asked))
            try:
                self._client = self._client or client(*self._who)
                reply = request(
                    self._client, url, method, headers=dict(headers or {}), data=data, stream=stream
                )
            except (InvalidURL, InvalidSchema, MissingSchema) as error:  # which no second try would mend
                raise self._unreachable(str(error)[:100], "look at the address, and at a proxy's") from error
            except requests.RequestException as error:
                why = type(error).__name__
            except ValueError as error:  # no answer to a demand for credentials
                raise self._refused() from error
            except CREDULITY as error:
                raise nonsense(self.name, "a demand for credentials that leads nowhere") from error
            else:
                if reply.status_code in expect:
                    return reply
                self._refuse_final(reply)
                why, asked = f"{reply.status_code} {reply.reason}", _patience(reply)
                reply.close()
            if once:
                return None
        raise self._unreachable(why, "run again: what arrived is kept")

    def _refuse_final(self, reply: "requests.Response") -> None:
        """Raise unless trying again may help."""
        if reply.status_code in (401, 403):
            raise self._refused()
        if reply.status_code < 500 and reply.status_code not in (408, 429):
            raise RemoteError(f"{self.name} answers {reply.status_code} {reply.reason}{_said(reply)}")

    def _unreachable(self, why: str, hint: str) -> RemoteError:
        return RemoteError(f"{self.name} cannot be reached: {why}", hint=hint)

    def _refused(self) -> RemoteRefused:
        return RemoteRefused(f"{self.name} refuses: it wants other credentials", hint=LOG_IN)


def tag(artifact: Artifact) -> str:
    """The tag of an artifact's manifest: its digest in a form that a tag may have."""
    return f"sha256-{artifact.digest}"


def _manifest(artifact: Artifact, empty: BlobRef, annotations: Mapping[str, str]) -> dict[str, Any]:
    layers = [
        {
            "mediaType": "application/octet-stream",
            "digest": f"sha256:{ref.sha256}",
            "size": ref.size,
            "annotations": {"org.opencontainers.image.title": name},
        }
        for name, ref in sorted(artifact.files.items())
    ]
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "config": {"mediaType": _EMPTY_TYPE, "digest": f"sha256:{empty.sha256}", "size": empty.size},
        "layers": layers,
        "annotations": {
            "fleetctl.model": artifact.model,
            "fleetctl.variant": artifact.variant,
            "fleetctl.artifact": artifact.digest,
            **annotations,
        },
    }


def _kept_together(body: bytes) -> Any:
    """A manifest without its annotations, as plain data; the bytes themselves where they are no manifest."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return body
    return {key: found[key] for key in found if key != "annotations"} if isinstance(found, dict) else body


def _from(chunks: Iterator[bytes], skip: int) -> Iterator[bytes]:
    for chunk in chunks:
        if skip < len(chunk):
            yield chunk[skip:]
        skip = max(0, skip - len(chunk))


def _end(reply: "requests.Response", unchanged: int, sent: int) -> int:
    """Up to which offset an upload has arrived. `Range` is `0-N`, N included; of nothing, none or `0-0`.

    Where one byte was `sent`, `0-0` is taken for it: the digest decides in the end.
    """
    match = re.match(r"(?:bytes=)?0-([0-9]{1,18})\Z", reply.headers.get("Range", ""))
    if not match:
        return unchanged
    last = int(match.group(1))
    return last + 1 if last or (unchanged, sent) == (0, 1) else 0


def _chunk(begun: "requests.Response") -> int:
    """In how large pieces to send a blob: some registries take none but the last that are smaller than so."""
    said = begun.headers.get("OCI-Chunk-Min-Length", "")
    return max(_CHUNK, min(int(said), _LARGEST)) if _LENGTH.fullmatch(said) else _CHUNK


def _patience(reply: "requests.Response") -> float:
    """For how many seconds a registry asks to be left alone; of a date, and of none, 0."""
    said = reply.headers.get("Retry-After", "")
    return min(float(said), _PATIENCE) if _LENGTH.fullmatch(said) else 0.0


def _said(reply: "requests.Response") -> str:
    try:
        errors = json.loads(reply.content[:10_000])["errors"]
        return f": {' '.join(str(errors[0].get('message')).split())[:200]}"
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return ""

"""The image that module images are made from: found in its registry, fetched by digest, and looked into.

Nothing of it is run: that it is for the right processor its config says, that it has Python its files do.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from fleetctl.artifact import BlobRef
from fleetctl.checked_json import Malformed, Node, parse
from fleetctl.errors import BuildError
from fleetctl.images.base_files import looked_into
from fleetctl.remotes.oci import INDEX_TYPES, Manifest, OciRemote
from fleetctl.remotes.transfer import fetch
from fleetctl.store import BlobStore

DEFAULT = "python:3.11-slim-bookworm"  # Debian 12 with its libraries, for every processor that boards have
_HUB = "registry-1.docker.io"
_HOST = re.compile(r"[^/]*[.:][^/]*\Z|localhost\Z")

Say = Callable[[str], None]


class Base(Struct, frozen=True):
    """An image for one processor, whose layers are in a store."""

    name: str  # with the digest that its tag had
    config: Mapping[str, Any]
    layers: tuple[BlobRef, ...]  # compressed with gzip, from the bottom
    python: str  # absolute path of the interpreter
    packages: Mapping[str, str] = field(default_factory=dict)  # Debian's, with versions

    @property
    def diff_ids(self) -> list[str]:
        return [str(each) for each in self.config["rootfs"]["diff_ids"]]


def address(image: str) -> tuple[str, str]:
    """Repository, and tag or digest, of an image's name; it may leave out Docker Hub and `latest`."""
    name, _, digest = image.partition("@")
    path, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        path, tag = name, "latest"
    host, _, rest = path.partition("/")
    if not rest or not _HOST.match(host):
        host, rest = _HUB, path if rest else f"library/{path}"
    return f"oci://{host}/{rest}", digest or tag


def find_base(
    image: str,
    architecture: str,
    python: tuple[int, int],
    folder: Path,
    open_remote: Callable[[str], OciRemote] = OciRemote,
    say: Say = lambda _: None,
) -> Base:
    """The image, fetched into `folder`, which may be lost.

    Args:
        image: as the manifest writes it.
        architecture: Debian's name of the processor.
        python: the version that it has to have.

    Raises:
        BuildError: there is no such image, none for that processor, it has no such Python, what its
            registry says of it is not an image, or one of its layers is damaged.
        RemoteError: its registry does not answer, or not with what it should.
    """
    where, reference = address(image)
    remote = open_remote(where)
    top = remote.manifest(reference)
    if top is None:
        raise BuildError(f"there is no image {image}", hint="look at `iothub.base` in fleet.yaml")
    store = BlobStore(folder / "blobs")
    with _understood(image):
        document = parse(_of_platform(remote, top, image, architecture).body)
        own = _descriptor(document.key("config"))
        layers = tuple(_descriptor(each) for each in document.key("layers").elements())
        _fetch(own, store, remote, folder)
        config = _config(parse(store.get(own.sha256)), len(layers))
    if config.get("architecture") != architecture or config.get("os") != "linux":
        platform = f"{config.get('os')}/{config.get('architecture')}"
        raise BuildError(
            f"the image {image} is for {platform}, not linux/{architecture}",
            hint="name one that is for every processor of the fleet as `iothub.base` in fleet.yaml",
        )
    say(f"fetching {image} for {architecture}")
    for ref in layers:
        _fetch(ref, store, remote, folder)
    paths = [store.path(ref.sha256) for ref in layers]
    found, packages = looked_into(zip(paths, config["rootfs"]["diff_ids"], strict=True), image, python)
    if not found:
        raise BuildError(
            f"the image {image} has no Python {python[0]}.{python[1]}, which modules run on",
            hint=f"name one that has as `iothub.base` in fleet.yaml, such as {DEFAULT}",
        )
    name = image.partition("@")[0]
    return Base(f"{name}@{top.digest}", config, layers, found, packages)


def _of_platform(remote: OciRemote, top: Manifest, image: str, architecture: str) -> Manifest:
    """The manifest for one processor: what a name stands for may be an index of many."""
    if top.media_type not in INDEX_TYPES:
        return top
    offered: dict[str, str] = {}
    for each in parse(top.body).key("manifests").elements():
        said = each.optional("platform")
        platform = said.mapping() if said else {}
        name = f"{platform.get('os')}/{platform.get('architecture')}"
        offered.setdefault(name, f"sha256:{_descriptor(each).sha256}")
    digest = offered.get(f"linux/{architecture}")
    found = remote.manifest(digest) if digest else None
    if found is None:
        known = ", ".join(sorted(name for name in offered if "unknown" not in name))
        raise BuildError(
            f"the image {image} is not there for linux/{architecture}, but for {known}",
            hint="name one that is for every processor of the fleet as `iothub.base` in fleet.yaml",
        )
    return found


@contextlib.contextmanager
def _understood(image: str) -> Iterator[None]:
    """Whatever is `Malformed` inside is an image's fault."""
    try:
        yield
    except Malformed as error:
        raise BuildError(
            f"what the registry says of {image} is not an image: {error}",
            hint="look at `iothub.base` in fleet.yaml, and at what was pushed there",
        ) from error


def _descriptor(said: Node) -> BlobRef:
    """The blob that a descriptor names: its digest becomes a file's name, so nothing else may be in it."""
    return BlobRef(_digest(said.key("digest")), said.key("size").integer(least=0))


def _digest(said: Node) -> str:
    """The hex digits of a `sha256:...`; there are no other digests in the store."""
    algorithm, _, digits = said.text().partition(":")
    if algorithm != "sha256":
        said.refuse("expected sha256: and a digest")
    return Node(digits, said.place).digest()


def _config(said: Node, layers: int) -> dict[str, Any]:
    """An image's config, with all of it checked that module images take over."""
    diff_ids = [_digest(each) for each in said.key("rootfs").key("diff_ids").elements()]
    if len(diff_ids) != layers:
        said.refuse(f"it tells of {len(diff_ids)} layers, and there are {layers}")
    if variant := said.optional("variant"):
        variant.text()
    given = said.optional("config") or Node({})
    for each in (given.optional("Env") or Node([])).elements():
        each.text()
    (given.optional("Labels") or Node({})).mapping()
    return said.mapping()


def _fetch(ref: BlobRef, store: BlobStore, remote: OciRemote, folder: Path) -> None:
    if not store.path(ref.sha256).exists():
        fetch(ref, store, remote, folder / f"{ref.sha256}.part", lambda _: None)
